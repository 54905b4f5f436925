//! The IRQL at which routines may be called.

use super::{c4, c4_with, c9, rule};
use crate::{Group, Rule};

const ALWAYS: &str = "automatic checks";
const IRQL: &str = "force IRQL checking";
const DDI: &str = "DDI compliance";
const GATE: &str = "gate/dispatch.rs";

pub(super) const GROUP: Group = Group {
    subject: "IRQL of calls",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("irql_raised_downwards", "`KeRaiseIrql` to a lower level", c4_with(0x30, [Some(2), Some(1), None]), ALWAYS, "irql/mod.rs"),
    rule("irql_lowered_upwards", "`KeLowerIrql` to a higher level", c4_with(0x31, [Some(0), Some(2), None]), ALWAYS, "irql/mod.rs"),
    rule("irql_fast_mutex_acquire", "`ExAcquireFastMutex` above `APC_LEVEL`", c4(0x33), ALWAYS, "dispatcher/mutex.rs"),
    rule("irql_fast_mutex_release", "`ExReleaseFastMutex` at another level than `APC_LEVEL`", c4(0x34), ALWAYS, "dispatcher/mutex.rs"),
    rule("irql_lock_release", "`KeReleaseSpinLock` below `DISPATCH_LEVEL`", c4(0x32), ALWAYS, "irql/spin_lock.rs"),
    rule("irql_lock_acquire", "`KeAcquireSpinLock` above `DISPATCH_LEVEL`", c4(0x42), ALWAYS, "irql/spin_lock.rs"),
    rule("irql_dpc_lock_acquire", "`KeAcquireSpinLockAtDpcLevel` below `DISPATCH_LEVEL`", c4(0x40), ALWAYS, "irql/spin_lock.rs"),
    rule("irql_dpc_lock_release", "`KeReleaseSpinLockFromDpcLevel` below `DISPATCH_LEVEL`", c4(0x41), ALWAYS, "irql/spin_lock.rs"),
    rule("irql_probe_and_lock", "`MmProbeAndLockPages` above `DISPATCH_LEVEL`", c4_with(0x70, [Some(3), None, None]), ALWAYS, "mm/mod.rs"),
    rule("irql_map", "`MmMapLockedPagesSpecifyCache` above `DISPATCH_LEVEL`", c4_with(0x76, [Some(3), None, None]), ALWAYS, "mm/mod.rs"),
    rule("irql_map_old", "`MmMapLockedPages` above `DISPATCH_LEVEL`", c4_with(0x74, [Some(3), None, None]), ALWAYS, "mm/mod.rs"),
    rule("irql_unmap", "`MmUnmapLockedPages` above `DISPATCH_LEVEL`", c4_with(0x79, [Some(3), None, None]), ALWAYS, "mm/mod.rs"),
    rule("irql_unlock", "`MmUnlockPages` above `DISPATCH_LEVEL`", c4_with(0x7C, [Some(3), None, None]), ALWAYS, "mm/mod.rs"),
    rule("irql_set_event", "`KeSetEvent` above `DISPATCH_LEVEL`", c4_with(0x80, [Some(3), None, None]), IRQL, "dispatcher/event.rs"),
    rule("irql_set_event_and_wait", "`KeSetEvent` with Wait TRUE above `APC_LEVEL`", c4(0x20016), DDI, "dispatcher/event.rs"),
    rule("irql_clear_event", "`KeResetEvent` above `DISPATCH_LEVEL`", c4_with(0x20011, [Some(3), None, None]), DDI, "dispatcher/event.rs"),
    rule("irql_release_semaphore", "`KeReleaseSemaphore` above `DISPATCH_LEVEL`", c4(0x20011), DDI, "dispatcher/semaphore.rs"),
    rule("irql_set_timer", "`KeSetTimer` above `DISPATCH_LEVEL`", c4(0x20011), DDI, "dispatcher/timer.rs"),
    rule("irql_release_mutex", "`KeReleaseMutex` above `DISPATCH_LEVEL`", c4(0x20011), DDI, "dispatcher/mutex.rs"),
    rule("irql_flush_dpcs", "`KeFlushQueuedDpcs` above `PASSIVE_LEVEL`", c4(0xE5), IRQL, "dispatcher/dpc.rs"),
    rule("irql_delay", "`KeDelayExecutionThread` above `APC_LEVEL`", c4(0x2000F), DDI, "dispatcher/routines.rs"),
    rule("irql_guarded_mutex", "`KeAcquireGuardedMutex` above `APC_LEVEL`", c4(0x2000F), DDI, "dispatcher/mutex.rs"),
    rule("irql_guarded_region", "`KeEnterGuardedRegion` above `APC_LEVEL`", c4(0x20010), DDI, "dispatcher/routines.rs"),
    rule("irql_critical_region", "`KeEnterCriticalRegion` above `APC_LEVEL`", c4_with(0x11A, [Some(2), None, None]), IRQL, "dispatcher/routines.rs"),
    rule("irql_probe", "`ProbeForRead` above `APC_LEVEL`", c4(0x20006), DDI, "mm/mod.rs"),
    rule("irql_compare_strings", "`RtlCompareUnicodeString` above `PASSIVE_LEVEL`", c4(0xE5), IRQL, "rtl/mod.rs"),
    rule("irql_etw_register", "`EtwRegister` above `PASSIVE_LEVEL`", c4(0xE5), IRQL, "etw/routines.rs"),
    rule("irql_delete_device", "`IoDeleteDevice` above `APC_LEVEL`", c4(0x20009), DDI, "io/device.rs"),
    rule("irql_create_device", "`IoCreateDevice` above `PASSIVE_LEVEL`", c4(0x2000A), DDI, "io/device.rs"),
    rule("irql_io_create_file", "`IoCreateFile` above `PASSIVE_LEVEL`", c4(0x2000B), DDI, "io/create.rs"),
    rule("irql_device_pointer", "`IoGetDeviceObjectPointer` above `PASSIVE_LEVEL`", c4(0x2000C), DDI, "io/device.rs"),
    rule("irql_symbolic_link", "`IoCreateSymbolicLink` above `PASSIVE_LEVEL`", c4(0x2000D), DDI, "io/device.rs"),
    rule("irql_system_routine", "`MmGetSystemRoutineAddress` above `PASSIVE_LEVEL`", c4(0xE5), IRQL, "mm/mod.rs"),
    rule("irql_reference_by_handle", "`ObReferenceObjectByHandle` above `PASSIVE_LEVEL`", c4(0x2001B), DDI, "ob/routines.rs"),
    rule("irql_system_thread", "`PsCreateSystemThread` above `PASSIVE_LEVEL`", c4(0x2001C), DDI, "ps.rs"),
    rule("irql_close", "`ZwClose` above `PASSIVE_LEVEL`", c4(0x2001F), DDI, "ob/routines.rs"),
    rule("irql_create_file", "`ZwCreateFile` above `PASSIVE_LEVEL`", c4(0x20023), DDI, "io/create.rs"),
    rule("irql_zw_in_a_guarded_region", "a Zw routine with special kernel APCs disabled", c4(0xE6), DDI, GATE),
    rule("irql_allocate_irp", "`IoAllocateIrp` above `DISPATCH_LEVEL`; the same for everything else with a limit", c4_with(0xE5, [Some(3), None, None]), IRQL, "io/irp.rs"),
    rule("irql_call_driver", "`IoCallDriver` above `DISPATCH_LEVEL`", c9(0x10), "I/O verification", "io/call.rs"),
    rule("irql_complete", "`IoCompleteRequest` above `DISPATCH_LEVEL`", c9(0x0E), "I/O verification", "io/complete.rs"),
    rule("irql_wait_above_dispatch", "any wait above `DISPATCH_LEVEL`", c4_with(0x120, [Some(3), None, None]), IRQL, "dispatcher/routines.rs"),
    rule("irql_wait_for_ever", "a wait without limit at `DISPATCH_LEVEL`", c4_with(0x121, [Some(2), None, None]), IRQL, "dispatcher/routines.rs"),
    rule("irql_wait_with_limit", "a wait with a limit at `DISPATCH_LEVEL`", c4_with(0x122, [Some(2), None, None]), IRQL, "dispatcher/routines.rs"),
];
