//! Memory and code.

use super::{alone, c4, on, plain, rule, stop};
use crate::{Group, Machine, Rule};

const EXCEPTION: &str = "bug check 0x1E";

pub(super) const GROUP: Group = Group {
    subject: "Memory and code",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("null_write", "a NULL pointer", stop(0x1E, 0xC000_0005), EXCEPTION, "signal/fault.rs"),
    rule("bad_pointer_for_the_kernel", "a NULL pointer in an argument of a kernel routine", stop(0x1E, 0xC000_0005), EXCEPTION, "signal/fault.rs"),
    alone("not_canonical", "an address that is not canonical", stop(0x1E, 0xC000_0005), EXCEPTION, "signal/fault.rs"),
    alone("never_mapped", "system space where nothing ever was", plain(0x50), "bug check 0x50", "signal/fault.rs"),
    rule("paged_pool_at_dispatch", "paged pool touched at `DISPATCH_LEVEL`", plain(0xD1), "force IRQL checking", "pageable.rs"),
    rule("pageable_code_at_dispatch", "code of a section named `PAGE…` run at `DISPATCH_LEVEL`", plain(0xD1), "force IRQL checking", "pageable.rs"),
    rule("paged_pool_for_the_kernel_at_dispatch", "paged pool given to a kernel routine at `DISPATCH_LEVEL`", plain(0x0A), "force IRQL checking", "pageable.rs"),
    on(Machine::LowResources, rule("allocation_taken_for_granted", "an allocation that fails, and nobody looked", stop(0x1E, 0xC000_0005), "low resources simulation", "fault.rs")),
    alone("endless_loop", "a driver runs without a call of a kernel routine for too much processor time", plain(0xEA), "bug check 0xEA", "burn.rs"),
    rule("endless_loop_at_dispatch", "the same at `DISPATCH_LEVEL`", stop(0x133, 0), "bug check 0x133", "burn.rs"),
    rule("write_to_code", "a write to code", plain(0xBE), "bug check 0xBE", "signal/fault.rs"),
    rule("execution_of_data", "execution of data", plain(0xFC), "bug check 0xFC", "signal/fault.rs"),
    alone("illegal_instruction", "an illegal instruction (a panic of compiled code ends in one)", stop(0x1E, 0xC000_001D), EXCEPTION, "signal/fault.rs"),
    alone("breakpoint", "a break point, with no debugger", stop(0x1E, 0x8000_0003), EXCEPTION, "rtl/debug.rs"),
    alone("assertion", "an assertion that fails", stop(0x1E, 0xC000_0420), EXCEPTION, "rtl/debug.rs"),
    rule("division_by_zero", "a division by zero", stop(0x1E, 0xC000_0094), EXCEPTION, "signal/fault.rs"),
    alone("fast_fail", "fast fail (`int 29h`: `/GS`, list checks)", plain(0x139), "bug check 0x139", "signal/fault.rs"),
    rule("stack_overflow", "more than the kernel stack of 24 KiB", stop(0x7F, 0x8), "Using the Kernel Stack", "signal/fault.rs"),
    rule("overlapping_copy", "`memcpy` with overlapping blocks", c4(0xF0), "miscellaneous checks", "rtl/memory.rs"),
    rule("probe_of_system_space", "`ProbeForRead` of system space, in a driver without a handler", stop(0x1E, 0xC000_0005), "ProbeForRead", "mm/query.rs"),
    rule("probe_misaligned", "`ProbeForRead` of a misaligned address, in a driver without a handler", stop(0x1E, 0x8000_0002), "ProbeForRead", "mm/query.rs"),
    alone("bug_check_by_driver", "a driver asks for the stop itself", stop(0x27, 0x1), "KeBugCheckEx", "stop.rs"),
];
