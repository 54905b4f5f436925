//! KTIMER.

use super::{Deadline, State, dpc, lock};
use crate::account::{self, Resource};
use crate::clock;
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::DISPATCH_LEVEL;
use crate::layout::ke::{self, Header, Timer};
use crate::stop::Stop;

const RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0x20011));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeInitializeTimer",
        args: 1,
        irql: IrqlRule::Any,
        run: initialize,
    },
    Routine {
        name: "KeInitializeTimerEx",
        args: 2,
        irql: IrqlRule::Any,
        run: initialize_ex,
    },
    Routine {
        name: "KeSetTimer",
        args: 3,
        irql: RULE,
        run: |call| set(call, 0, 2),
    },
    Routine {
        name: "KeSetTimerEx",
        args: 4,
        irql: RULE,
        run: |call| set(call, call.u32(2), 3),
    },
    Routine {
        name: "KeSetCoalescableTimer",
        args: 5,
        irql: RULE,
        run: |call| set(call, call.u32(2), 4),
    },
    Routine {
        name: "KeCancelTimer",
        args: 1,
        irql: RULE,
        run: cancel,
    },
    Routine {
        name: "KeReadStateTimer",
        args: 1,
        irql: RULE,
        run: read_state,
    },
];

fn make(timer: usize, kind: u8) -> u64 {
    super::event::make(timer, kind, false);
    Header(timer).size().set(16);
    let timer = Timer(timer);
    timer.due().set(0);
    timer.list().set([0, 0]);
    timer.dpc().set(0);
    timer.period().set(0);
    0
}

fn initialize(call: &Call) -> u64 {
    crate::irql::order::require_resident(call, call.addr(0));
    make(call.addr(0), ke::NOTIFICATION_TIMER)
}

fn initialize_ex(call: &Call) -> u64 {
    let kind = if call.u32(1) == 0 {
        ke::NOTIFICATION_TIMER
    } else {
        ke::SYNCHRONIZATION_TIMER
    };
    make(call.addr(0), kind)
}

/// Takes a running timer out; true if it ran.
fn remove(state: &mut State, timer: usize) -> bool {
    match state.timers.remove(&timer) {
        Some(key) => {
            account::untrack(Resource::Callback, timer as u64, 0);
            state.deadlines.remove(&key);
            true
        }
        None => false,
    }
}

fn set(call: &Call, period: u32, dpc_argument: usize) -> u64 {
    let timer = call.addr(0);
    let due = clock::deadline(call.arg(1).cast_signed());
    let mut state = lock();
    let was_set = remove(&mut state, timer);
    Header(timer).signal_state().set(0);
    Timer(timer).due().set(due);
    Timer(timer).dpc().set(call.addr(dpc_argument));
    Timer(timer).period().set(period);
    let key = state.add_deadline(due, Deadline::Timer(timer));
    state.timers.insert(timer, key);
    account::track(
        Resource::Callback,
        timer as u64,
        call.caller(),
        "running timer",
    );
    u64::from(was_set)
}

fn cancel(call: &Call) -> u64 {
    let mut state = lock();
    u64::from(remove(&mut state, call.addr(0)))
}

fn read_state(call: &Call) -> u64 {
    u64::from(Header(call.addr(0)).signal_state().get() > 0)
}

/// A timer's time has come. Its memory must still be there: freeing a running timer is stopped by the pool (0xC4/15).
pub(crate) fn expire(state: &mut State, timer: usize) {
    state.timers.remove(&timer);
    let view = Timer(timer);
    let (dpc, period) = (view.dpc().get(), view.period().get());
    if period != 0 {
        let due = view.due().get() + u64::from(period) * 10_000;
        view.due().set(due);
        let key = state.add_deadline(due, Deadline::Timer(timer));
        state.timers.insert(timer, key);
    } else {
        account::untrack(Resource::Callback, timer as u64, 0);
    }
    state.signal(timer, 1);
    if dpc != 0 {
        let now = clock::interrupt_time();
        dpc::insert(
            state,
            dpc,
            (now & 0xffff_ffff) as usize,
            (now >> 32) as usize,
        );
    }
}
