//! EX_RUNDOWN_REF: run-down protection.
//!
//! The word in driver memory is truthful: bit 0 says that run-down is active, the rest counts references in steps of two.
//! The waiter sits in the dispatcher's host tables; a release that may wake it makes its last touch of the word under the
//! dispatcher lock, so the word may be freed as soon as the wait has returned.

pub mod cache_aware;
mod protocol;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::dispatcher::{self, Sleep, Timeout, host::HostEvent};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::own::{self, Own};
use crate::stop::Stop;
use parking_lot::Mutex;
use protocol::{ACTIVE, Dispatcher, ONE, TooOften};

/// ExInitialize/WaitForRundownProtection: IRQL <= APC_LEVEL (their pages).
const APC_RULE: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0xe5));
/// ExAcquire/ReleaseRundownProtection: IRQL <= DISPATCH_LEVEL.
const DISPATCH_RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "ExInitializeRundownProtection",
        args: 1,
        irql: APC_RULE,
        run: initialize,
    },
    Routine {
        name: "ExReInitializeRundownProtection",
        args: 1,
        irql: APC_RULE,
        run: reinitialize,
    },
    Routine {
        name: "ExAcquireRundownProtection",
        args: 1,
        irql: DISPATCH_RULE,
        run: |call| acquire(call, 1),
    },
    Routine {
        name: "ExAcquireRundownProtectionEx",
        args: 2,
        irql: DISPATCH_RULE,
        run: |call| acquire(call, call.u32(1)),
    },
    Routine {
        name: "ExReleaseRundownProtection",
        args: 1,
        irql: DISPATCH_RULE,
        run: |call| release(call, 1),
    },
    Routine {
        name: "ExReleaseRundownProtectionEx",
        args: 2,
        irql: DISPATCH_RULE,
        run: |call| release(call, call.u32(1)),
    },
    Routine {
        name: "ExWaitForRundownProtectionRelease",
        args: 1,
        irql: APC_RULE,
        run: wait,
    },
    Routine {
        name: "ExRundownCompleted",
        args: 1,
        irql: APC_RULE,
        run: completed,
    },
];

/// Waiters by reference address; one at most each.
static WAITERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

fn word(reference: usize) -> &'static AtomicU64 {
    if !reference.is_multiple_of(8) || reference == 0 {
        own::violation(
            Own::Object,
            [reference as u64, 0, 0],
            format!("{reference:#x} is not a rundown reference"),
        );
    }
    // SAFETY: 8 aligned, checked above; the driver's word, to which every access is atomic.
    unsafe { &*(reference as *const AtomicU64) }
}

fn initialize(call: &Call) -> u64 {
    word(call.addr(0)).store(0, Ordering::Release);
    0
}

fn reinitialize(call: &Call) -> u64 {
    require_run_down(call);
    initialize(call)
}

fn require_run_down(call: &Call) {
    let value = word(call.addr(0)).load(Ordering::Acquire);
    if value != ACTIVE {
        let text = format!(
            "ExReInitializeRundownProtection of a reference that is not run down (word {value:#x})"
        );
        own::violation(Own::Rundown, [call.arg(0), value, 0], text);
    }
}

fn step(count: u32) -> u64 {
    ONE * u64::from(count)
}

fn acquire(call: &Call, count: u32) -> u64 {
    protocol::acquire(word(call.addr(0)), step(count)).into()
}

fn release(call: &Call, count: u32) -> u64 {
    let reference = call.addr(0);
    let released = protocol::release(word(reference), step(count), &Waiting { call });
    finish(reference, released)
}

fn wait(call: &Call) -> u64 {
    let reference = call.addr(0);
    irql::require_no_lock_to_wait("ExWaitForRundownProtectionRelease");
    let waited = protocol::wait(word(reference), &Waiting { call });
    finish(reference, waited)
}

fn finish(reference: usize, result: Result<(), TooOften>) -> u64 {
    if let Err(TooOften(value)) = result {
        let text = format!(
            "rundown reference {reference:#x} is released more often than acquired (word {value:#x})"
        );
        own::violation(Own::Rundown, [reference as u64, value, 0], text);
    }
    0
}

/// A release or wait of the reference that is the first argument of the call.
struct Waiting<'a> {
    call: &'a Call,
}

impl Dispatcher for Waiting<'_> {
    type Hold = dispatcher::Locked;
    type Waiter = HostEvent;

    fn lock(&self) -> dispatcher::Locked {
        dispatcher::lock()
    }

    fn enlist(&self, _hold: &mut dispatcher::Locked) -> HostEvent {
        let event = HostEvent::manual();
        WAITERS.lock().push((self.call.addr(0), event.address()));
        event
    }

    fn wake(&self, hold: &mut dispatcher::Locked) {
        let reference = self.call.addr(0);
        let waiters = WAITERS.lock();
        if let Some((_, event)) = waiters.iter().find(|(waited, _)| *waited == reference) {
            hold.signal(*event, 1);
        }
    }

    fn sleep(&self, event: HostEvent) {
        dispatcher::wait(
            &[event.address()],
            false,
            Timeout::Never,
            Sleep::Wanted,
            self.call.caller(),
        );
        WAITERS
            .lock()
            .retain(|(_, waiting)| *waiting != event.address());
    }
}

fn completed(call: &Call) -> u64 {
    word(call.addr(0)).store(ACTIVE, Ordering::Release);
    0
}
