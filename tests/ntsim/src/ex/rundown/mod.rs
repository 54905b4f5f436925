//! EX_RUNDOWN_REF: run-down protection.
//!
//! The word in driver memory is truthful: bit 0 says that run-down is active, the rest counts references in steps of two.
//! The waiter sits in the dispatcher's host tables; a release that may wake it makes its last touch of the word under the
//! dispatcher lock, so the word may be freed as soon as the wait has returned.

pub mod cache_aware;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::dispatcher::{self, Sleep, Timeout, host::HostEvent};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::own::{self, Own};
use crate::stop::Stop;
use parking_lot::Mutex;

const ACTIVE: u64 = 1;
const ONE: u64 = 2;

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
        run: |call| acquire(call.addr(0), 1),
    },
    Routine {
        name: "ExAcquireRundownProtectionEx",
        args: 2,
        irql: DISPATCH_RULE,
        run: |call| acquire(call.addr(0), call.u32(1)),
    },
    Routine {
        name: "ExReleaseRundownProtection",
        args: 1,
        irql: DISPATCH_RULE,
        run: |call| release(call.addr(0), 1),
    },
    Routine {
        name: "ExReleaseRundownProtectionEx",
        args: 2,
        irql: DISPATCH_RULE,
        run: |call| release(call.addr(0), call.u32(1)),
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

fn acquire(reference: usize, count: u32) -> u64 {
    let step = ONE * u64::from(count);
    let update = word(reference).try_update(Ordering::AcqRel, Ordering::Acquire, |value| {
        (value & ACTIVE == 0).then(|| value.wrapping_add(step))
    });
    u64::from(update.is_ok())
}

fn release(reference: usize, count: u32) -> u64 {
    let step = ONE * u64::from(count);
    let word = word(reference);
    let mut value = word.load(Ordering::Acquire);
    loop {
        if value < step {
            too_often(reference, value);
        }
        if value & ACTIVE != 0 {
            release_waited_for(reference, step);
            return 0;
        }
        match word.compare_exchange_weak(value, value - step, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return 0,
            Err(now) => value = now,
        }
    }
}

fn too_often(reference: usize, value: u64) -> ! {
    let text = format!(
        "rundown reference {reference:#x} is released more often than acquired (word {value:#x})"
    );
    own::violation(Own::Rundown, [reference as u64, value, 0], text)
}

/// Releases once the run-down has begun: the word and the wake-up change in one hold.
fn release_waited_for(reference: usize, step: u64) {
    let mut state = dispatcher::lock();
    let before = word(reference).fetch_sub(step, Ordering::AcqRel);
    if before < step + ACTIVE {
        drop(state);
        too_often(reference, before);
    }
    if before - step == ACTIVE
        && let Some((_, event)) = WAITERS
            .lock()
            .iter()
            .find(|(waited, _)| *waited == reference)
    {
        state.signal(*event, 1);
    }
}

fn wait(call: &Call) -> u64 {
    let reference = call.addr(0);
    wait_after(call, reference, || {
        word(reference).fetch_or(ACTIVE, Ordering::AcqRel) & !ACTIVE
    })
}

/// Waits until the word of a reference counts none. `begin` begins the run-down, under the dispatcher lock, and says how many
/// references there are, in steps of two.
fn wait_after(call: &Call, reference: usize, begin: impl FnOnce() -> u64) -> u64 {
    irql::require_no_lock_to_wait("ExWaitForRundownProtectionRelease");
    let event = HostEvent::manual();
    {
        let _state = dispatcher::lock();
        if begin() == 0 {
            return 0;
        }
        WAITERS.lock().push((reference, event.address()));
    }
    dispatcher::wait(
        &[event.address()],
        false,
        Timeout::Never,
        Sleep::Wanted,
        call.caller(),
    );
    WAITERS
        .lock()
        .retain(|(_, waiting)| *waiting != event.address());
    0
}

fn completed(call: &Call) -> u64 {
    word(call.addr(0)).store(ACTIVE, Ordering::Release);
    0
}
