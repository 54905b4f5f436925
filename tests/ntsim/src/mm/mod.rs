//! The memory manager as drivers see it: memory descriptor lists and address queries.
//!
//! There is one address space, so that "mapping" memory that is already in system space yields its own address; user
//! buffers get a real second mapping.

pub mod mdl;
mod query;

use crate::arena;
use crate::gate::{Call, Datum, IrqlRule, Routine};
use crate::stop::Stop;

/// Routines of this module.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "IoAllocateMdl",
        args: 5,
        irql: AT_DISPATCH,
        run: mdl::io_allocate_mdl,
    },
    Routine {
        name: "IoFreeMdl",
        args: 1,
        irql: AT_DISPATCH,
        run: mdl::io_free_mdl,
    },
    Routine {
        name: "MmBuildMdlForNonPagedPool",
        args: 1,
        irql: AT_DISPATCH,
        run: mdl::mm_build_mdl_for_non_paged_pool,
    },
    Routine {
        name: "IoBuildPartialMdl",
        args: 4,
        irql: AT_DISPATCH,
        run: mdl::io_build_partial_mdl,
    },
    Routine {
        name: "MmMapLockedPagesSpecifyCache",
        args: 6,
        irql: IrqlRule::Max(2, Stop::verifier(0x76)),
        run: mdl::mm_map_locked_pages_specify_cache,
    },
    Routine {
        name: "MmMapLockedPages",
        args: 2,
        irql: IrqlRule::Max(2, Stop::verifier(0x74)),
        run: mdl::mm_map_locked_pages_specify_cache,
    },
    Routine {
        name: "MmUnmapLockedPages",
        args: 2,
        irql: IrqlRule::Max(2, Stop::verifier(0x79)),
        run: mdl::mm_unmap_locked_pages,
    },
    Routine {
        name: "MmProbeAndLockPages",
        args: 3,
        irql: IrqlRule::Max(2, Stop::verifier(0x70)),
        run: mdl::mm_probe_and_lock_pages,
    },
    Routine {
        name: "MmUnlockPages",
        args: 1,
        irql: IrqlRule::Max(2, Stop::verifier(0x7C)),
        run: mdl::mm_unlock_pages,
    },
    Routine {
        name: "MmGetSystemRoutineAddress",
        args: 1,
        // The page: PASSIVE_LEVEL. No class of Driver Verifier names it.
        irql: IrqlRule::Max(0, Stop::verifier(0xe5)),
        run: query::mm_get_system_routine_address,
    },
    Routine {
        name: "MmIsAddressValid",
        args: 1,
        irql: AT_DISPATCH,
        run: query::mm_is_address_valid,
    },
    Routine {
        name: "MmSizeOfMdl",
        args: 2,
        irql: IrqlRule::Any,
        run: mdl::mm_size_of_mdl,
    },
    Routine {
        name: "ProbeForRead",
        args: 3,
        irql: PROBE,
        run: query::probe_for_read,
    },
    Routine {
        name: "ProbeForWrite",
        args: 3,
        irql: PROBE,
        run: query::probe_for_read,
    },
    Routine {
        name: "MmLockPagableDataSection",
        args: 1,
        irql: AT_APC,
        run: query::lock_section,
    },
    Routine {
        name: "MmUnlockPagableImageSection",
        args: 1,
        irql: AT_APC,
        run: query::unlock_section,
    },
    Routine {
        name: "MmPageEntireDriver",
        args: 1,
        irql: AT_APC,
        run: query::image_handle,
    },
    Routine {
        name: "MmResetDriverPaging",
        args: 1,
        irql: AT_APC,
        run: nothing,
    },
];

/// Variables of this module.
pub const DATA: &[Datum] = &[
    Datum {
        name: "MmSystemRangeStart",
        value: || arena::SYSTEM_RANGE_START as u64,
    },
    Datum {
        name: "MmHighestUserAddress",
        value: || (arena::SYSTEM_RANGE_START - 0x1_0001) as u64,
    },
    Datum {
        name: "MmUserProbeAddress",
        value: || (arena::SYSTEM_RANGE_START - 0x1_0000) as u64,
    },
];

const AT_DISPATCH: IrqlRule = IrqlRule::Max(2, Stop::verifier(0xe5));
/// The two halves of spec/verifier.md §3: probes, and what else the memory manager does up to `APC_LEVEL`.
const PROBE: IrqlRule = IrqlRule::Max(1, Stop::verifier(0x20006));
const AT_APC: IrqlRule = IrqlRule::Max(1, Stop::verifier(0x20019));

fn nothing(_: &Call) -> u64 {
    0
}
