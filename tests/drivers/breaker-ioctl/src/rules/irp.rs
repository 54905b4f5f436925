//! I/O requests.

use super::{alone, c4, c9, on, own, plain, rule};
use crate::{Group, Machine, Rule, Stop};

const IO: &str = "I/O verification";
const CALL: &str = "io/call.rs";
const COMPLETE: &str = "io/complete.rs";
const IRP: &str = "io/irp.rs";
const OWN: &str = "ntsim's own";

pub(super) const GROUP: Group = Group {
    subject: "I/O requests",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("irp_freed_twice", "`IoFreeIrp` of one that is not alive", c9(0x01), IO, IRP),
    rule("irp_reused_after_free", "`IoReuseIrp` of one that is not alive", own(0x1), OWN, IRP),
    rule("irp_cancelled_after_free", "`IoCancelIrp` of one that is not alive", own(0x1), OWN, "io/cancel.rs"),
    rule("irp_touched_after_free", "a touch of a freed IRP", plain(0xD5), "special pool", "signal/fault.rs"),
    rule("irp_touched_beyond_its_end", "a touch beyond the stack locations of an IRP", plain(0xD6), "special pool", "signal/fault.rs"),
    on(Machine::ForcePending, rule("irp_touched_while_below", "a touch of an IRP between `IoCallDriver` and its completion routine", plain(0xD5), "force pending I/O requests", "io/surrogate.rs")),
    on(Machine::ForcePending, rule("irp_touched_after_completion", "a driver below touches an IRP that it completed", plain(0xD5), "force pending I/O requests", "io/surrogate.rs")),
    on(Machine::ForcePending, rule("irp_sent_again_while_hidden", "an IRP sent again after `IoCallDriver` returned `STATUS_PENDING`", c9(0x205), "force pending I/O requests", "io/call.rs")),
    on(Machine::InvariantMdl, rule("irp_buffer_changed", "the buffer of a write changed while a driver below has the request", c4(0x1011), "invariant MDL checking", "io/invariant.rs")),
    on(Machine::InvariantMdl, rule("irp_send_buffer_changed", "the same for `TDI_SEND`", c4(0x1011), "invariant MDL checking", "io/invariant.rs")),
    rule("irp_cancelled_for_ever", "a cancelled request that is not completed in five minutes", c4(0x135), IO, "io/cancel.rs"),
    alone("irp_of_a_thread_freed", "`IoFreeIrp` of a request of `IoBuildDeviceIoControlRequest`", c9(0x02), IO, IRP),
    rule("irp_sent_after_free", "`IoCallDriver` with a freed IRP", c9(0x03), IO, CALL),
    alone("irp_sent_to_no_device", "`IoCallDriver` to what is no device", c9(0x04), IO, CALL),
    alone("irp_sent_to_null", "`IoCallDriver` to a NULL device", c9(0x204), IO, CALL),
    rule("irp_freed_while_below", "`IoFreeIrp` while a driver below has it", c9(0x20A), IO, IRP),
    rule("irp_reused_while_below", "`IoReuseIrp` while a driver below has it", own(0xB), OWN, IRP),
    rule("irp_sent_while_below", "`IoCallDriver` while a driver below has it", c9(0x205), IO, CALL),
    rule("irp_freed_by_its_completion_routine", "a completion routine frees the IRP and lets it go on", c9(0x20B), IO, COMPLETE),
    alone("irp_initialised_again", "`IoInitializeIrp` of an IRP from `IoAllocateIrp`", c9(0x20D), IO, IRP),
    rule("irp_without_a_location", "no stack location left", c9(0x208), IO, CALL),
    rule("irp_of_no_locations", "`IoAllocateIrp` of no stack location", own(0xA), OWN, IRP),
    rule("irp_sent_with_a_cancel_routine", "sent with the cancel routine still set", c9(0x203), IO, CALL),
    rule("irp_completed_with_a_cancel_routine", "completed with the cancel routine still set", c9(0x07), IO, COMPLETE),
    rule("irp_completed_before_its_cancel_routine", "completed by another than its cancel routine, which `IoCancelIrp` has taken", own(0x15), OWN, "io/cancel.rs"),
    rule("irp_with_a_user_buffer", "a request of `KernelMode` with a buffer of user space", c4(0xE2), "security checks", CALL),
    rule("irp_with_a_status_block_gone", "the status block of a thread's request on a stack frame that is gone", c9(0x0C), IO, "io/build.rs"),
    rule("irp_with_an_event_gone", "the event of a thread's request on a stack frame that is gone", c9(0x0D), IO, "io/build.rs"),
    rule("irp_copied_with_control_bits", "a stack location passed on with its control bits", c9(0x206), IO, CALL),
    rule("irp_copied_with_a_routine", "a stack location passed on with its completion routine", c9(0x207), IO, CALL),
    rule("irp_pending_not_propagated", "a completion routine that does not propagate `PendingReturned`", c9(0x228), IO, COMPLETE),
    rule("irp_read_at_dispatch", "another request than internal control sent at `DISPATCH_LEVEL`", c9(0x23A), IO, CALL),
    rule("irp_completion_routine_pageable", "a completion routine in a pageable section", c9(0x227), IO, CALL),
    rule("completion_routine_changes_irql", "a completion routine returns at another IRQL", c4(0xFA), IO, "irql/mod.rs"),
    rule("completion_routine_changes_apcs", "a completion routine returns with other APC counts", c4(0xFB), IO, "irql/mod.rs"),
    rule("irp_nobody_keeps", "an IRP of `IoAllocateIrp` completed to the end: nobody kept it", own(0xC), OWN, COMPLETE),
    rule("irp_completed_as_pending", "completed with `STATUS_PENDING`", c9(0x06), IO, COMPLETE),
    rule("irp_completed_twice", "completed twice", plain(0x44), "bug check 0x44", COMPLETE),
    rule("irp_completed_by_its_owner", "completed by the driver that allocated it and sent it to nobody", c9(0x239), IO, COMPLETE),
    rule("irp_pending_unmarked", "`STATUS_PENDING` returned without `IoMarkIrpPending`", c9(0x23D), IO, CALL),
    rule("irp_marked_not_pending", "marked pending, but another status returned", c9(0x23E), IO, CALL),
    rule("irp_another_status", "a dispatch routine returns another status than it completed with", c9(0x224), IO, CALL),
    rule("irp_minus_one", "a dispatch routine returns -1", c9(0x225), IO, CALL),
    rule("irp_forgotten", "a dispatch routine neither completes nor forwards", c9(0x226), IO, CALL),
    rule("dispatch_default_above_dispatch", "a request passed on above `DISPATCH_LEVEL` to the kernel's routine for what a driver does not support, past `IoCallDriver`", c9(0x12), IO, "driver/object.rs"),
    rule("dispatch_changes_irql", "a dispatch routine returns at another IRQL", c9(0x05), IO, CALL),
    rule("dispatch_changes_apcs", "a dispatch routine returns with other APC counts", c4(0xC5), IO, CALL),
    alone("irp_of_a_direct_method", "a direct method in `IoBuildDeviceIoControlRequest` (not simulated)", own(0xE), OWN, "io/build.rs"),
    rule("irp_of_a_thread_at_apc_level", "a wait at `APC_LEVEL` for a request whose completion is posted by an APC", Stop::Hang(1), "IoBuildDeviceIoControlRequest", "dispatcher/apc.rs"),
    rule("entry_at_raised_irql", "`DriverUnload` (or `DriverEntry`) returns at another IRQL", own(0xD), OWN, "driver/mod.rs"),
];
