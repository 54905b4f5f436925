//! The way up: IoCompleteRequest and completion routines.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::invariant::Contents;
use super::irp::{self, Done, Life, Origin, Packet, Phase};
use super::keep::Keep;
use super::{build, cancel, describe, device, status, surrogate};
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::{
    Device, Irp, SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS,
    SL_PENDING_RETURNED, Stack,
};
use crate::own::{self, Own};
use crate::stop::{self, Stop};
use crate::thread::Thread;
use crate::trace::{self, EventKind};

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    complete_request("IofCompleteRequest"),
    complete_request("IoCompleteRequest"),
    Routine {
        name: "IoSetCompletionRoutineEx",
        args: 7,
        irql: IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5)),
        run: set_completion_routine,
    },
];

/// Headers turn one name into the other; the kernel exports both.
const fn complete_request(name: &'static str) -> Routine {
    Routine {
        name,
        args: 2,
        irql: IrqlRule::Max(DISPATCH_LEVEL, Stop::io(0x0e)),
        run: |call: &Call| {
            complete(Irp(call.addr(0)), call.caller());
            0
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

/// Completes an IRP for a host driver with a status and Information.
pub fn complete_with(irp: Irp, status: i32, information: usize) {
    irp.status().set(status);
    irp.information().set(information);
    complete(irp, 0);
}

/// As [`complete_with`], at DISPATCH_LEVEL like the DPC of a transport.
pub fn complete_at_dispatch(irp: Irp, status: i32, information: usize) {
    let old = irql::raise_to(DISPATCH_LEVEL);
    complete_with(irp, status, information);
    irql::lower_to(old);
}

/// The conditions under which a driver above wants its completion routine called.
fn wants(control: u8, status: i32, cancelled: bool) -> bool {
    (status::is_success(status) && control & SL_INVOKE_ON_SUCCESS != 0)
        || (!status::is_success(status) && control & SL_INVOKE_ON_ERROR != 0)
        || (cancelled && control & SL_INVOKE_ON_CANCEL != 0)
}

/// Completes an IRP: walks up the stack locations and runs completion routines until one keeps it, or the top is reached.
pub fn complete(irp: Irp, caller: usize) {
    let packet = irp::require(irp, Stop::plain(0x44), "IoCompleteRequest");
    if packet.copy_below(irp).is_some() {
        stop::bug_check(
            0x44,
            [irp.0 as u64, 2, 0, 0],
            format!(
                "IoCompleteRequest of {:#x}, which a driver below still has",
                irp.0
            ),
        );
    }
    let final_status = irp.status().get();
    {
        let mut life = packet.life.lock();
        // A driver that is a transport completes a receive which a handler handed back: it was advanced with
        // IoSetNextIrpStackLocation and never went through IoCallDriver (spec tdi.md §5.1).
        let handed_back = caller != 0 && irp.current_location().get() <= irp.stack_count().get();
        if life.phase == Phase::Idle && handed_back {
            life.phase = Phase::Sent;
            life.was_sent = true;
            life.sendings.clear();
        }
        if life.phase != Phase::Sent {
            let was_sent = life.was_sent;
            drop(life);
            if !was_sent {
                let text = format!("IoCompleteRequest of {:#x}, which was never sent", irp.0);
                enforce(0x239, irp, text);
            }
            let text = format!("IoCompleteRequest of {:#x}, which is with its owner", irp.0);
            stop::bug_check(0x44, [irp.0 as u64, 0, 0, 0], text);
        }
    }
    if irp.current_location().get() > irp.stack_count().get() {
        stop::bug_check(
            0x44,
            [irp.0 as u64, 1, 0, 0],
            format!(
                "IoCompleteRequest of {:#x} above its top stack location",
                irp.0
            ),
        );
    }
    if final_status == status::PENDING || final_status == -1 {
        enforce(
            0x06,
            irp,
            format!("IoCompleteRequest with status {final_status:#x}"),
        );
    }
    if irp.cancel_routine().get() != 0 {
        enforce(
            0x07,
            irp,
            "IoCompleteRequest with the cancel routine still set",
        );
    }
    if caller != 0 {
        cancel::require_not_taken(irp);
    }
    cancel::answered(packet);
    trace::event(EventKind::IrpComplete, caller, || {
        let stack = irp.current();
        let name = device::name(Device(stack.device().get()));
        let (request, information) = (describe::request(stack), irp.information().get());
        format!(
            "IRP {:#x} ← {name}: {request}: {}, {information} bytes",
            irp.0,
            status::name(final_status)
        )
    });
    climb(irp, packet, Climb::Begins);
}

/// Where [`climb`] starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Climb {
    /// At IoCompleteRequest.
    Begins,
    /// Where it was put off ([`surrogate`]).
    GoesOn,
}

/// Goes up the stack locations.
fn climb(irp: Irp, packet: &'static Packet, mut from: Climb) {
    loop {
        let location = irp.current_location().get();
        let stack = irp.location(location);
        let control = stack.control().get();
        let pending = control & SL_PENDING_RETURNED != 0;
        let top = location == irp.stack_count().get();
        let (routine, context) = (stack.completion().get(), stack.context().get());
        let status_now = irp.status().get();
        let goes_on = std::mem::replace(&mut from, Climb::Begins) == Climb::GoesOn;
        let calls = routine != 0 && wants(control, status_now, irp.cancel().get() != 0);
        let mut life = packet.life.lock();
        let (put_off, ended) = if goes_on {
            (false, Vec::new())
        } else {
            take_off(&mut life, location, top, (pending, status_now))
        };
        let number = life.number;
        if top && calls && !put_off {
            // From here on the allocator owns it: its routine may free it or send it again.
            life.phase = Phase::Idle;
        }
        drop(life);
        for contents in ended {
            contents.check(irp);
        }
        if put_off {
            stack.control().set(control | SL_PENDING_RETURNED);
            put_off_climb(irp, packet);
            return;
        }
        irp.pending_returned().set(u8::from(pending));
        irp.current_location().set(location + 1);
        irp.current_stack().set(stack.0 + Stack::SIZE);
        stack.control().set(0);
        if calls {
            let above = if top {
                0
            } else {
                Stack(stack.0 + Stack::SIZE).device().get()
            };
            if call_routine(irp, routine, above, context) == status::MORE_PROCESSING_REQUIRED {
                return;
            }
            if pending
                && !top
                && Stack(stack.0 + Stack::SIZE).control().get() & SL_PENDING_RETURNED == 0
            {
                let text = format!(
                    "completion routine {} did not propagate PendingReturned (IoMarkIrpPending)",
                    stop::describe(routine)
                );
                enforce(0x228, irp, text);
            }
            if top && irp::find(irp).is_none_or(|now| now.life.lock().number != number) {
                let text = format!(
                    "completion routine {} freed the IRP but did not return \
                     STATUS_MORE_PROCESSING_REQUIRED",
                    stop::describe(routine)
                );
                violation(0x20b, irp, text);
            }
        } else if pending && !top {
            let next = Stack(stack.0 + Stack::SIZE).control();
            next.set(next.get() | SL_PENDING_RETURNED);
        }
        if top {
            break;
        }
    }
    let end = {
        let mut life = packet.life.lock();
        life.phase = Phase::Idle;
        match &mut life.origin {
            Origin::Driver | Origin::Embedded => End::Nobodys,
            Origin::Thread(thread) => End::Thread(thread),
            Origin::Host(done) => End::Host(done.take()),
        }
    };
    match end {
        End::Nobodys => {
            // Windows would go on to complete it in the context of Tail.Overlay.Thread, which is not set.
            own::violation(
                Own::NotKept,
                [irp.0 as u64, 0, 0],
                "an IRP of IoAllocateIrp was completed to the end: nobody kept it with \
                 STATUS_MORE_PROCESSING_REQUIRED",
            );
        }
        End::Thread(thread) => build::finish(irp, thread),
        End::Host(done) => {
            if let Some(done) = done {
                done(irp);
            }
        }
    }
}

/// Who goes on with a request that has reached the top.
enum End {
    Nobodys,
    Thread(&'static Thread),
    Host(Option<Done>),
}

/// What a location was sent with is over: whether its completion is put off, and what buffers held that must not change.
fn take_off(
    life: &mut Life,
    location: i8,
    top: bool,
    completed: (bool, i32),
) -> (bool, Vec<Contents>) {
    let (mut put_off, mut ended) = (false, Vec::new());
    let was_sent = !life.sendings.is_empty();
    while let Some(sending) = life.sendings.pop_if(|sending| sending.location == location) {
        if let Some(outcome) = &sending.outcome {
            *outcome.completed.lock() = Some(completed);
        }
        put_off |= sending.hidden;
        ended.extend(sending.contents);
    }
    if was_sent && life.sendings.is_empty() && !top {
        // Back with whoever sent it first, who kept this location for himself (IoSetNextIrpStackLocation).
        life.phase = Phase::Idle;
    }
    (put_off, ended)
}

/// Goes on in another thread, at DISPATCH_LEVEL, with the request that this is the copy of.
fn put_off_climb(copy: Irp, packet: &'static Packet) {
    crate::ex::work::queue_host(move || {
        let old = irql::raise_to(DISPATCH_LEVEL);
        let irp = surrogate::end(copy, packet);
        climb(irp, packet, Climb::GoesOn);
        irql::lower_to(old);
    });
}

/// Runs a completion routine and checks that it leaves the IRQL and APC state alone (0xC4/FA, FB).
fn call_routine(irp: Irp, routine: usize, device: usize, context: usize) -> i32 {
    if let Some(wrapped) = take_wrapped(context, routine) {
        let result = call_routine(irp, wrapped.routine, device, wrapped.context);
        drop(wrapped.keep);
        return result;
    }
    irql::require_no_lock("a completion routine");
    let result = irql::guarded(irql::COMPLETION_ROUTINE, || {
        gate::call_named(
            "completion routine",
            routine,
            &[device as u64, irp.0 as u64, context as u64],
        )
    });
    (result & 0xffff_ffff) as u32 as i32
}

/// A completion routine that keeps its driver's device alive until it has returned.
struct Wrapped {
    routine: usize,
    context: usize,
    keep: Keep,
}

static WRAPPED: parking_lot::Mutex<Vec<(usize, Wrapped)>> = parking_lot::Mutex::new(Vec::new());

/// How many there are: few drivers have any. One is counted before its request is sent.
static WRAPPED_COUNT: AtomicUsize = AtomicUsize::new(0);

fn take_wrapped(context: usize, routine: usize) -> Option<Wrapped> {
    if WRAPPED_COUNT.load(Ordering::Acquire) == 0 {
        return None;
    }
    let mut wrapped = WRAPPED.lock();
    let index = wrapped
        .iter()
        .position(|(block, entry)| *block == context && entry.routine == routine)?;
    let (block, entry) = wrapped.swap_remove(index);
    WRAPPED_COUNT.fetch_sub(1, Ordering::Release);
    crate::arena::free(block);
    crate::account::untrack(crate::account::Resource::Callback, block as u64, routine);
    Some(entry)
}

fn set_completion_routine(call: &Call) -> u64 {
    if crate::fault::should_fail(call, crate::fault::FaultKind::CompletionContext) {
        return u64::from(status::INSUFFICIENT_RESOURCES.cast_unsigned());
    }
    let irp = Irp(call.addr(1));
    irp::require(irp, Stop::io(0x03), "IoSetCompletionRoutineEx");
    let block = crate::arena::alloc(16, crate::arena::Kind::Object);
    let entry = Wrapped {
        routine: call.addr(2),
        context: call.addr(3),
        keep: Keep::new(call.addr(0)),
    };
    WRAPPED.lock().push((block, entry));
    WRAPPED_COUNT.fetch_add(1, Ordering::Release);
    crate::account::track(
        crate::account::Resource::Callback,
        block as u64,
        call.caller(),
        "IoSetCompletionRoutineEx",
    );
    let stack = Stack(irp.current_stack().get() - Stack::SIZE);
    let flag = |argument, bit| if call.u8(argument) != 0 { bit } else { 0 };
    stack.completion().set(call.addr(2));
    stack.context().set(block);
    stack.control().set(
        flag(4, SL_INVOKE_ON_SUCCESS) | flag(5, SL_INVOKE_ON_ERROR) | flag(6, SL_INVOKE_ON_CANCEL),
    );
    0
}
