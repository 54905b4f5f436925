//! Cancellation: the cancel spin lock and IoCancelIrp.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::device;
use super::irp::{self, Packet, Phase};
use crate::arena::{self, Kind};
use crate::clock;
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::{Device, Irp};
use crate::mem::poke;
use crate::own::{self, Own};
use crate::rules::Rules;
use crate::stop::{self, Stop};
use crate::trace::{self, EventKind};

const RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5));

/// The routines of this file; IoSetCancelRoutine is an inline exchange in drivers.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "IoCancelIrp",
        args: 1,
        irql: RULE,
        run: |call| u64::from(cancel(call)),
    },
    Routine {
        name: "IoAcquireCancelSpinLock",
        args: 1,
        irql: RULE,
        run: acquire,
    },
    Routine {
        name: "IoReleaseCancelSpinLock",
        args: 1,
        irql: RULE,
        run: release,
    },
];

fn lock_word() -> usize {
    static WORD: OnceLock<usize> = OnceLock::new();
    *WORD.get_or_init(|| arena::alloc(8, Kind::Object))
}

/// A cancel routine of a host driver: runs after the cancel lock was released, like a driver's after its first line.
pub type HostCancel = fn(Irp);

/// The addresses that stand for host routines in `Irp->CancelRoutine`.
static HOSTS: Mutex<Vec<(usize, HostCancel)>> = Mutex::new(Vec::new());

/// The value for `Irp->CancelRoutine` that makes IoCancelIrp call a host function.
pub fn host_routine(routine: HostCancel) -> usize {
    let mut hosts = HOSTS.lock();
    if let Some((address, _)) = hosts
        .iter()
        .find(|(_, known)| std::ptr::fn_addr_eq(*known, routine))
    {
        return *address;
    }
    let address = arena::alloc(16, Kind::Object);
    hosts.push((address, routine));
    address
}

/// Sets or clears the cancel routine with an exchange, like the inline IoSetCancelRoutine, and returns the old one.
pub fn set_routine(irp: Irp, routine: usize) -> usize {
    let place = irp.cancel_routine().address();
    // SAFETY: The member is 8 aligned in a live IRP (the caller owns it); drivers exchange it atomically too.
    let word = unsafe { &*(place as *const AtomicUsize) };
    word.swap(routine, Ordering::AcqRel)
}

fn acquire(call: &Call) -> u64 {
    let old = irql::acquire_kernel_lock(lock_word());
    poke(call.addr(0), old);
    0
}

fn release(call: &Call) -> u64 {
    TAKEN.store(0, Ordering::Release);
    irql::release_kernel_lock(lock_word(), call.u8(0));
    0
}

/// The IRP whose cancel routine IoCancelIrp has taken, until that routine releases the cancel lock; 0 for none. Changed under that lock,
/// so one is enough; set while the life is locked as well, so that whoever locks the life after he found the routine gone finds it here.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Stops the machine if a driver completes a request whose cancel routine is about to be called, or has not come further than the cancel
/// lock: a NULL from IoSetCancelRoutine says that this routine will complete it ("Synchronizing IRP Cancellation"), and IoCancelIrp needs
/// the stack location, which completing gives up. Called after the request's life was locked.
pub(super) fn require_not_taken(irp: Irp) {
    if TAKEN.load(Ordering::Acquire) == irp.0 {
        own::violation(
            Own::CancelTaken,
            [irp.0 as u64, 0, 0],
            format!(
                "IoCompleteRequest of {:#x}, which its cancel routine has to complete: IoCancelIrp has taken that routine",
                irp.0
            ),
        );
    }
}

/// The device of an IRP's current stack location; 0 if it has come back from there. Whoever completes it moves it on meanwhile.
fn current_device(irp: Irp) -> usize {
    let location = irp.current_location().get();
    if (1..=irp.stack_count().get()).contains(&location) {
        irp.location(location).device().get()
    } else {
        0
    }
}

/// How long a cancelled request may take, in 100 ns units: five minutes.
const LIMIT: i64 = 5 * 60 * 10_000_000;

/// A request was cancelled: it has to be completed in time (0xC4/135).
fn expect_completion(irp: Irp, packet: &'static Packet) {
    if !Rules::IO.is_on() {
        return;
    }
    let (number, caller, device) = {
        let life = packet.life.lock();
        if life.phase != Phase::Sent {
            return;
        }
        (life.number, life.caller, current_device(irp))
    };
    let mut limit = packet.limit.lock();
    if limit.is_none() {
        let with = device::name(Device(device));
        let from = stop::describe(caller);
        *limit = Some(clock::at(clock::deadline(-LIMIT), move || {
            let late = {
                let life = packet.life.lock();
                life.number == number && life.phase == Phase::Sent
            };
            if late {
                stop::enforce(
                    Stop::verifier(0x135),
                    [irp.0 as u64, LIMIT.unsigned_abs() / 10_000, 0],
                    format!(
                        "request {:#x}, made by {from}, was cancelled {} s ago, and {with} has not completed it",
                        irp.0,
                        LIMIT / 10_000_000
                    ),
                );
            }
        }));
    }
}

/// A request is being completed.
pub(super) fn answered(packet: &Packet) {
    // Only then there is a limit.
    if !Rules::IO.is_on() {
        return;
    }
    let limit = packet.limit.lock().take();
    if let Some(limit) = limit {
        clock::cancel(limit);
    }
}

/// IoCancelIrp: sets the cancel flag and calls the cancel routine, if there is one, with the cancel lock held.
fn cancel(call: &Call) -> bool {
    cancel_irp(Irp(call.addr(0)), call.caller())
}

/// IoCancelIrp by driver code at `caller`, or by the I/O manager itself (0).
pub(super) fn cancel_irp(irp: Irp, caller: usize) -> bool {
    let packet = irp::require(irp, Own::Object.stop(), "IoCancelIrp");
    irql::require_no_lock("IoCancelIrp");
    let old = irql::acquire_kernel_lock(lock_word());
    let (irp, routine, device) = {
        // The copy does not go while this is held.
        let _life = packet.life.lock();
        let irp = packet.copy_below(irp).unwrap_or(irp);
        irp.cancel().set(1);
        let device = current_device(irp);
        let routine = set_routine(irp, 0);
        if routine != 0 {
            TAKEN.store(irp.0, Ordering::Release);
        }
        (irp, routine, device)
    };
    trace::event(EventKind::Note, caller, || {
        let found = if routine == 0 {
            "no cancel routine"
        } else {
            "cancel routine called"
        };
        format!("IRP {:#x} is cancelled: {found}", irp.0)
    });
    expect_completion(irp, packet);
    if routine == 0 {
        irql::release_kernel_lock(lock_word(), old);
        return false;
    }
    irp.cancel_irql().set(old);
    let host = HOSTS
        .lock()
        .iter()
        .find(|(address, _)| *address == routine)
        .map(|(_, host)| *host);
    if let Some(host) = host {
        TAKEN.store(0, Ordering::Release);
        irql::release_kernel_lock(lock_word(), old);
        host(irp);
    } else {
        // The routine must release the cancel lock with Irp->CancelIrql: the IRQL falls to that inside.
        gate::call_named("cancel routine", routine, &[device as u64, irp.0 as u64]);
        irql::require_no_lock("return of a cancel routine");
    }
    true
}
