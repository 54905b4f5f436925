//! KSEMAPHORE.

use super::lock;
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::DISPATCH_LEVEL;
use crate::layout::ke::{self, Header, Semaphore};
use crate::stop::{self, Stop};

const RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0x20011));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeInitializeSemaphore",
        args: 3,
        irql: IrqlRule::Any,
        run: initialize,
    },
    Routine {
        name: "KeReleaseSemaphore",
        args: 4,
        irql: RULE,
        run: release,
    },
    Routine {
        name: "KeReadStateSemaphore",
        args: 1,
        irql: IrqlRule::Any,
        run: read_state,
    },
];

fn initialize(call: &Call) -> u64 {
    crate::irql::order::require_resident(call, call.addr(0));
    let header = Header(call.addr(0));
    super::event::make(call.addr(0), ke::SEMAPHORE, false);
    header.size().set(8);
    header.signal_state().set(call.i32(1));
    Semaphore(call.addr(0)).limit().set(call.i32(2));
    0
}

fn release(call: &Call) -> u64 {
    let object = call.addr(0);
    let mut state = lock();
    let previous = Header(object).signal_state().get();
    let next = previous.checked_add(call.i32(2));
    match next {
        Some(next) if call.i32(2) > 0 && next <= Semaphore(object).limit().get() => {
            state.signal(object, next)
        }
        // KeReleaseSemaphore raises STATUS_SEMAPHORE_LIMIT_EXCEEDED (0xC0000047); unhandled in a driver that is 0x1E.
        _ => {
            drop(state);
            stop::bug_check(
                0x1e,
                [0xc000_0047, object as u64, 0, 0],
                "KeReleaseSemaphore beyond the semaphore's limit",
            );
        }
    }
    u64::from(previous.cast_unsigned())
}

fn read_state(call: &Call) -> u64 {
    u64::from(Header(call.addr(0)).signal_state().get().cast_unsigned())
}
