//! The way down: IoCallDriver.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::describe::{self, major_name};
use super::device;
use super::invariant;
use super::irp::{self, Life, Outcome, Packet, Phase, Sending};
use super::status;
use super::surrogate;
use crate::gate::{self, IrqlRule, Routine};
use crate::image;
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::{
    Device, DriverObject, Irp, MJ_INTERNAL_DEVICE_CONTROL, SL_PENDING_RETURNED, Stack,
};
use crate::rules::Rules;
use crate::stop::{self, Stop};
use crate::trace::{self, EventKind};

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[routine("IofCallDriver"), routine("IoCallDriver")];

/// Headers turn one name into the other; the kernel exports both.
const fn routine(name: &'static str) -> Routine {
    Routine {
        name,
        args: 2,
        irql: IrqlRule::Max(DISPATCH_LEVEL, Stop::io(0x10)),
        run: |call| {
            u64::from(
                call_driver(Device(call.addr(0)), Irp(call.addr(1)), call.caller()).cast_unsigned(),
            )
        },
    }
}

fn violation(sub: u64, irp: Irp, text: impl Into<String>) -> ! {
    stop::violation(Stop::io(sub), [irp.0 as u64, 0, 0], text)
}

/// As [`violation`], for what a kernel without Driver Verifier does not notice.
fn enforce(sub: u64, irp: Irp, text: impl Into<String>) {
    stop::enforce(Stop::io(sub), [irp.0 as u64, 0, 0], text);
}

/// Takes the IRP from its holder: the allocator if it is idle, else the driver that owns the current location.
fn take(irp: Irp, life: &mut Life, caller: usize) {
    match life.phase {
        Phase::Freed => violation(0x03, irp, "IoCallDriver with a freed IRP"),
        Phase::Idle => {
            life.phase = Phase::Sent;
            life.was_sent = true;
            life.sendings.clear();
        }
        Phase::Sent => {
            if irp.current_location().get() > irp.stack_count().get() {
                // A completion routine of the top level is sending it again: that is allowed without IoReuseIrp as long as
                // the location is prepared anew.
                life.sendings.clear();
                return;
            }
            let holder = Device(irp.current().device().get());
            let host_has_it = device::find(holder).is_some_and(device::Known::is_host);
            let image_of_holder = image::find(DriverObject(holder.driver().get()).start().get());
            let stranger = image::find(caller)
                .is_some_and(|image| image_of_holder.is_some_and(|other| other.id != image.id));
            if caller != 0 && (host_has_it || stranger) {
                violation(
                    0x205,
                    irp,
                    "IoCallDriver with an IRP that a driver below still has",
                );
            }
            let upper = life.sendings.last();
            if let Some(outcome) = upper.and_then(|upper| upper.outcome.as_ref()) {
                outcome.forwarded.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Sends an IRP to a device: checks, moves to the next stack location and runs the driver's dispatch routine.
pub fn call_driver(device: Device, irp: Irp, caller: usize) -> i32 {
    if device.0 == 0 {
        violation(0x204, irp, "IoCallDriver with a NULL device");
    }
    let packet = irp::require(irp, Stop::io(0x03), "IoCallDriver");
    let Some(known) = device::find(device) else {
        violation(
            0x04,
            irp,
            format!("IoCallDriver: {:#x} is not a device object", device.0),
        )
    };
    irql::require_no_lock("IoCallDriver");
    if packet.copy_below(irp).is_some() {
        violation(
            0x205,
            irp,
            "IoCallDriver with an IRP that a driver below still has",
        );
    }
    if irp.cancel_routine().get() != 0 {
        enforce(
            0x203,
            irp,
            "IoCallDriver without clearing the cancel routine",
        );
    }
    let location = irp.current_location().get() - 1;
    if location < 1 {
        violation(
            0x208,
            irp,
            "IoCallDriver: no stack location is left (NO_MORE_IRP_STACK_LOCATIONS)",
        );
    }
    check_addresses(irp, caller);
    let sending = watch(irp, packet, location, caller);
    let (hidden, outcome) = (sending.hidden, sending.outcome.clone());
    {
        let mut life = packet.life.lock();
        let before = life.phase;
        take(irp, &mut life, caller);
        if before == Phase::Sent {
            check_copied(irp, caller);
        }
        life.sendings.push(sending);
    }
    let stack = irp.location(location);
    irp.current_location().set(location);
    irp.current_stack().set(stack.0);
    stack.device().set(device.0);
    let major = stack.major().get();
    if irql::current() == DISPATCH_LEVEL && major != MJ_INTERNAL_DEVICE_CONTROL {
        enforce(
            0x23a,
            irp,
            format!("IoCallDriver of {} at DISPATCH_LEVEL", major_name(major)),
        );
    }
    let routine = stack.completion().get();
    if routine != 0 && stack.control().get() & 0xe0 != 0 {
        check_resident(irp, routine);
    }
    trace::event(EventKind::IrpSend, caller, || {
        format!(
            "IRP {:#x} → {}: {}",
            irp.0,
            device::name(device),
            describe::request(stack)
        )
    });
    let (irp, stack) = if hidden {
        let copy = surrogate::begin(irp, packet);
        (copy, copy.location(location))
    } else {
        (irp, stack)
    };
    let before = irql::context();
    let result = dispatch(device, known, irp, major);
    check_context(irp, before, major);
    if let Some(outcome) = outcome {
        check_result(irp, packet, stack, &outcome, result);
    }
    if hidden { status::PENDING } else { result }
}

/// What is remembered about an IoCallDriver: more if the rules of I/O are on, to which all belong that need it.
fn watch(irp: Irp, packet: &Packet, location: i8, caller: usize) -> Sending {
    if !Rules::IO.is_on() {
        return Sending {
            location,
            hidden: false,
            contents: None,
            outcome: None,
        };
    }
    let before = packet.life.lock().phase;
    Sending {
        location,
        hidden: surrogate::wanted(packet, before, caller),
        contents: invariant::begin(irp, irp.location(location), before),
        outcome: Some(Arc::default()),
    }
}

/// A request of `KernelMode` must not carry buffers of user space (0xC4/E2): nobody will probe them.
fn check_addresses(irp: Irp, caller: usize) {
    let buffers = [irp.user_buffer().get(), irp.system_buffer().get()];
    let bad = buffers
        .into_iter()
        .find(|&buffer| buffer != 0 && crate::arena::is_user(buffer));
    if let Some(address) = bad.filter(|_| caller != 0 && irp.requestor_mode().get() == 0) {
        stop::enforce(
            Stop::verifier(0xe2),
            [irp.0 as u64, address as u64, 0],
            format!("IoCallDriver with KernelMode and a buffer of user space, {address:#x}"),
        );
    }
}

/// A driver that passes a request on copies its stack location without the completion routine and the control bits.
fn check_copied(irp: Irp, caller: usize) {
    let location = irp.current_location().get();
    if caller == 0 || location > irp.stack_count().get() || location <= 1 {
        return;
    }
    let (own, next) = (irp.location(location), irp.location(location - 1));
    if next.control().get() & SL_PENDING_RETURNED != 0 {
        enforce(
            0x206,
            irp,
            "the stack location for the driver below was copied with its control bits",
        );
    }
    let routine = |stack: Stack| (stack.completion().get(), stack.context().get());
    if next.completion().get() != 0
        && next.control().get() & 0xe0 != 0
        && routine(own) == routine(next)
    {
        enforce(
            0x207,
            irp,
            "the stack location for the driver below was copied with its completion routine",
        );
    }
}

/// A completion routine must not be pageable (0x227).
fn check_resident(irp: Irp, routine: usize) {
    if image::find(routine)
        .and_then(|image| image.section(routine))
        .is_some_and(image::Section::is_pageable)
    {
        enforce(
            0x227,
            irp,
            format!(
                "completion routine {} is in a pageable section",
                stop::describe(routine)
            ),
        );
    }
}

fn dispatch(device: Device, known: &device::Known, irp: Irp, major: u8) -> i32 {
    if let Some(host) = known.host() {
        return host.dispatch(device, irp);
    }
    if usize::from(major) >= 28 {
        violation(
            0x03,
            irp,
            format!("IoCallDriver with major function {major:#x}"),
        );
    }
    let routine = DriverObject(device.driver().get()).dispatch(major).get();
    let result = gate::call_named(
        dispatch_name(major),
        routine,
        &[device.0 as u64, irp.0 as u64],
    );
    (result & 0xffff_ffff) as u32 as i32
}

fn dispatch_name(major: u8) -> &'static str {
    match major {
        0x00 => "DispatchCreate",
        0x02 => "DispatchClose",
        0x0e => "DispatchDeviceControl",
        0x0f => "DispatchInternalControl",
        0x12 => "DispatchCleanup",
        _ => "Dispatch",
    }
}

/// Rule 05 (IRQL changed across the dispatch routine) and 0xC4/C5 (APC disable count).
fn check_context(irp: Irp, before: irql::Context, major: u8) {
    let after = irql::context();
    if after.irql != before.irql {
        let text = format!(
            "dispatch routine of {} changed the IRQL from {} to {}",
            major_name(major),
            before.irql,
            after.irql
        );
        enforce(0x05, irp, text);
    }
    if after != before {
        let text = format!(
            "dispatch routine of {} returned with a changed context: {before:?}, {after:?}",
            major_name(major)
        );
        stop::enforce(Stop::verifier(0xc5), [irp.0 as u64, 0, 0], text);
    }
}

/// Rules 224 to 226, 23D and 23E: what the dispatch routine returned against what became of the IRP.
fn check_result(irp: Irp, packet: &Packet, stack: Stack, outcome: &Outcome, result: i32) {
    if result == -1 {
        enforce(0x225, irp, "dispatch routine returned 0xFFFFFFFF");
    }
    let (completed, pending, forwarded) = {
        // While this lock is held no completion of the location can go on, so the location may still be read.
        let _life = packet.life.lock();
        let completed = *outcome.completed.lock();
        let pending = match completed {
            Some((pending, _)) => pending,
            None => stack.control().get() & SL_PENDING_RETURNED != 0,
        };
        (
            completed,
            pending,
            outcome.forwarded.load(Ordering::Relaxed),
        )
    };
    if forwarded {
        return;
    }
    match (result == status::PENDING, completed) {
        (true, _) if !pending => enforce(
            0x23d,
            irp,
            "STATUS_PENDING returned without IoMarkIrpPending",
        ),
        (false, _) if pending => enforce(
            0x23e,
            irp,
            format!("IRP marked pending, but {result:#x} returned"),
        ),
        (false, None) => enforce(
            0x226,
            irp,
            format!("dispatch routine returned {result:#x} without completing or forwarding"),
        ),
        (false, Some((_, status))) if status != result => {
            enforce(
                0x224,
                irp,
                format!("dispatch routine returned {result:#x}, but completed with {status:#x}"),
            );
        }
        _ => {}
    }
}

/// Marks the current location pending: IoMarkIrpPending for host drivers.
pub fn mark_pending(irp: Irp) {
    let control = irp.current().control();
    control.set(control.get() | SL_PENDING_RETURNED);
}

/// Takes over an IRP that a TDI receive handler handed back: a request with this minor function for this file, built as for
/// IoCallDriver and advanced with IoSetNextIrpStackLocation (spec tdi.md §5.1). Returns an error text if it is not such an IRP.
pub fn accept_handed_back(irp: Irp, minor: u8, file: usize) -> Result<(), String> {
    let Some(packet) = irp::find(irp) else {
        return Err(format!("{:#x} is not an IRP, or was freed", irp.0));
    };
    let mut life = packet.life.lock();
    if life.phase == Phase::Sent {
        return Err("the IRP was sent already".into());
    }
    let location = irp.current_location().get();
    if location > irp.stack_count().get() || location < 1 {
        return Err("the IRP was not advanced with IoSetNextIrpStackLocation".into());
    }
    let stack = irp.current();
    if (stack.major().get(), stack.minor().get()) != (MJ_INTERNAL_DEVICE_CONTROL, minor)
        || stack.file().get() != file
    {
        return Err("the IRP is not a receive request of this file object".into());
    }
    life.phase = Phase::Sent;
    let sending = Sending {
        location,
        hidden: false,
        contents: None,
        outcome: None,
    };
    life.sendings.clear();
    life.sendings.push(sending);
    drop(life);
    let control = stack.control();
    control.set(control.get() | SL_PENDING_RETURNED);
    Ok(())
}
