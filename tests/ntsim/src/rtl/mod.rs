//! The run-time library: strings, memory, debug output.

mod crt;
pub mod debug;
mod memory;
mod string;

use crate::gate::{IrqlRule, Routine};
use crate::stop::Stop;

pub use crt::ROUTINES as CRT_ROUTINES;
pub use string::text;

const PASSIVE: IrqlRule = IrqlRule::Max(0, Stop::verifier(0xe5));
const ANY: IrqlRule = IrqlRule::Any;

/// Routines of this module. The comparing string routines are pageable ("RtlCompareUnicodeString": `PASSIVE_LEVEL`).
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "RtlInitUnicodeString",
        args: 2,
        irql: ANY,
        run: string::rtl_init_unicode_string,
    },
    Routine {
        name: "RtlInitAnsiString",
        args: 2,
        irql: ANY,
        run: string::rtl_init_ansi_string,
    },
    Routine {
        name: "RtlInitString",
        args: 2,
        irql: ANY,
        run: string::rtl_init_ansi_string,
    },
    Routine {
        name: "RtlCopyUnicodeString",
        args: 2,
        irql: ANY,
        run: string::rtl_copy_unicode_string,
    },
    Routine {
        name: "RtlAppendUnicodeToString",
        args: 2,
        irql: ANY,
        run: string::rtl_append_unicode_to_string,
    },
    Routine {
        name: "RtlAppendUnicodeStringToString",
        args: 2,
        irql: ANY,
        run: string::rtl_append_unicode_string_to_string,
    },
    Routine {
        name: "RtlCompareUnicodeString",
        args: 3,
        irql: PASSIVE,
        run: string::rtl_compare_unicode_string,
    },
    Routine {
        name: "RtlEqualUnicodeString",
        args: 3,
        irql: PASSIVE,
        run: string::rtl_equal_unicode_string,
    },
    Routine {
        name: "RtlPrefixUnicodeString",
        args: 3,
        irql: PASSIVE,
        run: string::rtl_prefix_unicode_string,
    },
    Routine {
        name: "RtlUpcaseUnicodeChar",
        args: 1,
        irql: PASSIVE,
        run: string::rtl_upcase_unicode_char,
    },
    Routine {
        name: "RtlCompareMemory",
        args: 3,
        irql: ANY,
        run: memory::rtl_compare_memory,
    },
    Routine {
        name: "memcpy",
        args: 3,
        irql: ANY,
        run: memory::memcpy,
    },
    Routine {
        name: "memmove",
        args: 3,
        irql: ANY,
        run: memory::memmove,
    },
    Routine {
        name: "memset",
        args: 3,
        irql: ANY,
        run: memory::memset,
    },
    Routine {
        name: "memcmp",
        args: 3,
        irql: ANY,
        run: memory::memcmp,
    },
    Routine {
        name: "RtlMoveMemory",
        args: 3,
        irql: ANY,
        run: memory::memmove,
    },
    Routine {
        name: "RtlCopyMemory",
        args: 3,
        irql: ANY,
        run: memory::memcpy,
    },
    Routine {
        name: "RtlZeroMemory",
        args: 2,
        irql: ANY,
        run: memory::rtl_zero_memory,
    },
    Routine {
        name: "RtlFillMemory",
        args: 3,
        irql: ANY,
        run: memory::rtl_fill_memory,
    },
    Routine {
        name: "DbgPrint",
        args: 5,
        irql: ANY,
        run: debug::dbg_print,
    },
    Routine {
        name: "DbgPrintEx",
        args: 6,
        irql: ANY,
        run: debug::dbg_print_ex,
    },
    Routine {
        name: "RtlAssert",
        args: 4,
        irql: ANY,
        run: debug::rtl_assert,
    },
    Routine {
        name: "DbgBreakPoint",
        args: 0,
        irql: ANY,
        run: debug::dbg_break_point,
    },
    Routine {
        name: "__C_specific_handler",
        args: 4,
        irql: ANY,
        run: debug::c_specific_handler,
    },
];
