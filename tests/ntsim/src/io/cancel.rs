//! Cancellation: the cancel spin lock and IoCancelIrp.

use std::sync::OnceLock;

use parking_lot::Mutex;

use super::device;
use super::irp::{self, Packet, Phase};
use crate::arena::{self, Kind};
use crate::clock;
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::{Device, Irp};
use crate::mem::poke;
use crate::own::Own;
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
    let word = unsafe { &*(place as *const std::sync::atomic::AtomicUsize) };
    word.swap(routine, std::sync::atomic::Ordering::AcqRel)
}

fn acquire(call: &Call) -> u64 {
    let old = irql::acquire_kernel_lock(lock_word());
    poke(call.addr(0), old);
    0
}

fn release(call: &Call) -> u64 {
    irql::release_kernel_lock(lock_word(), call.u8(0));
    0
}

/// How long a cancelled request may take, in 100 ns units: five minutes.
const LIMIT: i64 = 5 * 60 * 10_000_000;

/// A request was cancelled: it has to be completed in time (0xC4/135).
fn expect_completion(irp: Irp, packet: &'static Packet) {
    if !Rules::IO.is_on() {
        return;
    }
    let (number, caller) = {
        let life = packet.life.lock();
        if life.phase != Phase::Sent {
            return;
        }
        (life.number, life.caller)
    };
    let mut limit = packet.limit.lock();
    if limit.is_none() {
        let with = device::name(Device(irp.current().device().get()));
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
    let (irp, routine) = {
        // The copy does not go while this is held.
        let _life = packet.life.lock();
        let irp = packet.copy_below(irp).unwrap_or(irp);
        irp.cancel().set(1);
        (irp, set_routine(irp, 0))
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
        irql::release_kernel_lock(lock_word(), old);
        host(irp);
    } else {
        // The routine must release the cancel lock with Irp->CancelIrql: the IRQL falls to that inside.
        let device = irp.current().device().get();
        gate::call_named("cancel routine", routine, &[device as u64, irp.0 as u64]);
        irql::require_no_lock("return of a cancel routine");
    }
    true
}
