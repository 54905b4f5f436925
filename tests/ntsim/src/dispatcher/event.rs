//! KEVENT.

use super::lock;
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::{APC_LEVEL, DISPATCH_LEVEL};
use crate::layout::ke::{self, Header};
use crate::own::{self, Own};
use crate::stop::{self, Stop};

/// "Event operations at <= DISPATCH_LEVEL": KeInitializeEvent and its friends, verifier rule 0x20011.
const EVENT_RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0x20011));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeInitializeEvent",
        args: 3,
        irql: IrqlRule::Any,
        run: initialize,
    },
    Routine {
        name: "KeSetEvent",
        args: 3,
        irql: IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0x80)),
        run: set,
    },
    Routine {
        name: "KeResetEvent",
        args: 1,
        irql: EVENT_RULE,
        run: reset,
    },
    Routine {
        name: "KeClearEvent",
        args: 1,
        irql: EVENT_RULE,
        run: clear,
    },
    Routine {
        name: "KeReadStateEvent",
        args: 1,
        irql: EVENT_RULE,
        run: read_state,
    },
];

/// Writes a fresh event.
pub fn make(event: usize, kind: u8, signalled: bool) {
    let header = Header(event);
    header.kind().set(kind);
    header.flags().set(0);
    header.size().set(6);
    header.reserved().set(0);
    header.signal_state().set(i32::from(signalled));
    let list = header.wait_list().address();
    header.wait_list().set([list, list]);
}

/// Signals an event and returns its previous state.
pub fn signal(event: usize) -> i32 {
    let mut state = lock();
    let previous = Header(event).signal_state().get();
    state.signal(event, 1);
    previous
}

/// Rejects what is not an event; a wrong type means memory that was never initialised or is something else by now.
fn check(event: usize, routine: &str) {
    let kind = Header(event).kind().get() & 0x7f;
    if kind != ke::NOTIFICATION_EVENT && kind != ke::SYNCHRONIZATION_EVENT {
        own::violation(
            Own::Object,
            [event as u64, 0, 0],
            format!("{routine}: {event:#x} is not an initialised event"),
        );
    }
}

fn initialize(call: &Call) -> u64 {
    let kind = if call.u32(1) == 0 {
        ke::NOTIFICATION_EVENT
    } else {
        ke::SYNCHRONIZATION_EVENT
    };
    let event = call.addr(0);
    crate::irql::order::require_resident(call, event);
    if let Some((object, what)) = super::in_use(event, 1) {
        own::violation(
            Own::Waited,
            [object as u64, 0, 0],
            format!("KeInitializeEvent of {event:#x}, used by {what}"),
        );
    }
    make(event, kind, call.u8(2) != 0);
    0
}

fn set(call: &Call) -> u64 {
    let event = call.addr(0);
    crate::irql::order::require_resident(call, event);
    check(event, "KeSetEvent");
    if call.u8(2) != 0 && crate::irql::current() > APC_LEVEL {
        let irql = crate::irql::current();
        stop::enforce(
            Stop::verifier(0x20016),
            [irql.into(), 0, 0],
            "KeSetEvent with Wait TRUE above APC_LEVEL",
        );
    }
    u64::from(signal(event).cast_unsigned())
}

fn reset(call: &Call) -> u64 {
    let _state = lock();
    let header = Header(call.addr(0));
    let previous = header.signal_state().get();
    header.signal_state().set(0);
    u64::from(previous.cast_unsigned())
}

fn clear(call: &Call) -> u64 {
    reset(call);
    0
}

fn read_state(call: &Call) -> u64 {
    let _state = lock();
    u64::from(Header(call.addr(0)).signal_state().get().cast_unsigned())
}
