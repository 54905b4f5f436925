//! The routines that drivers call.

use super::{Event, Guid, NEXT, Registration, STATE, WRITTEN, control, text, wish};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, IrqlRule, Routine};
use crate::io::status;
use crate::irql::PASSIVE_LEVEL;
use crate::mem::{peek, poke, read_bytes};
use crate::stop::{self, Stop};
use core::sync::atomic::Ordering;

const PASSIVE: IrqlRule = IrqlRule::Max(PASSIVE_LEVEL, Stop::verifier(0xe5));

/// The routines of this file. "You can call EtwWrite at any IRQL. However, when IRQL is greater than APC_LEVEL, any data passed … must
/// not be pageable": special pool sees to that.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "EtwRegister",
        args: 4,
        irql: PASSIVE,
        run: register,
    },
    Routine {
        name: "EtwUnregister",
        args: 1,
        irql: PASSIVE,
        run: unregister,
    },
    Routine {
        name: "EtwSetInformation",
        args: 4,
        irql: PASSIVE,
        run: |call| known(call).map_or(INVALID_HANDLE, |_| 0),
    },
    Routine {
        name: "EtwProviderEnabled",
        args: 3,
        irql: IrqlRule::Any,
        run: |call| is_enabled(call, call.u8(1), call.arg(2)),
    },
    Routine {
        name: "EtwEventEnabled",
        args: 2,
        irql: IrqlRule::Any,
        run: |call| {
            let (level, keyword) = level_and_keyword(call.addr(1));
            is_enabled(call, level, keyword)
        },
    },
    Routine {
        name: "EtwWrite",
        args: 5,
        irql: IrqlRule::Any,
        run: |call| write(call, call.u32(3), call.addr(4)),
    },
    Routine {
        name: "EtwWriteTransfer",
        args: 6,
        irql: IrqlRule::Any,
        run: |call| write(call, call.u32(4), call.addr(5)),
    },
];

const INVALID_HANDLE: u64 = status::INVALID_HANDLE as u32 as u64;
const INSUFFICIENT_RESOURCES: u64 = status::INSUFFICIENT_RESOURCES as u32 as u64;
const INVALID_PARAMETER: u64 = status::INVALID_PARAMETER as u32 as u64;
/// "MAX_EVENT_DATA_DESCRIPTORS" of evntprov.h.
const MOST_PIECES: u32 = 128;

/// The registration that a call names.
fn known(call: &Call) -> Option<Registration> {
    let state = STATE.lock();
    let mut all = state.registrations.iter();
    all.find(|registration| registration.handle == call.arg(0))
        .copied()
}

fn register(call: &Call) -> u64 {
    if fault::should_fail(call, FaultKind::Object) {
        return INSUFFICIENT_RESOURCES;
    }
    let id: Guid = peek(call.addr(0));
    call.note(|| text(&id));
    let registration = Registration {
        handle: NEXT.fetch_add(1, Ordering::Relaxed),
        id,
        callback: call.addr(1),
        context: call.arg(2),
        caller: call.caller(),
    };
    STATE.lock().registrations.push(registration);
    if registration.callback != 0 && wish(&id).is_some() {
        control(&registration);
    }
    poke(call.addr(3), registration.handle);
    0
}

fn unregister(call: &Call) -> u64 {
    let handle = call.arg(0);
    let mut state = STATE.lock();
    let before = state.registrations.len();
    state
        .registrations
        .retain(|registration| registration.handle != handle);
    let is_known = state.registrations.len() < before;
    drop(state);
    if is_known {
        return 0;
    }
    stop::enforce(
        Stop::verifier(0xDC),
        [handle, 0, 0],
        format!("EtwUnregister of {handle:#x}, which is no registration"),
    );
    INVALID_HANDLE
}

/// Level and keyword of an `EVENT_DESCRIPTOR`.
fn level_and_keyword(descriptor: usize) -> (u8, u64) {
    (peek(descriptor + 4), peek(descriptor + 8))
}

fn is_enabled(call: &Call, level: u8, keyword: u64) -> u64 {
    let Some(registration) = known(call) else {
        return 0;
    };
    let state = STATE.lock();
    let mut all = state.listeners.iter();
    all.any(|listener| listener.wants(&registration.id, level, keyword))
        .into()
}

fn write(call: &Call, count: u32, pieces: usize) -> u64 {
    WRITTEN.fetch_add(1, Ordering::Relaxed);
    let Some(registration) = known(call) else {
        return INVALID_HANDLE;
    };
    if count > MOST_PIECES {
        return INVALID_PARAMETER;
    }
    let descriptor = call.addr(1);
    let (level, keyword) = level_and_keyword(descriptor);
    // Read whoever listens: what the driver hands over has to be there.
    let pieces: Vec<(u32, Vec<u8>)> = (0..count as usize)
        .map(|index| {
            // EVENT_DATA_DESCRIPTOR: address, size, type.
            let piece = pieces + index * 16;
            let (address, bytes) = (peek::<usize>(piece), peek::<u32>(piece + 8));
            (peek::<u32>(piece + 12), read_bytes(address, bytes as usize))
        })
        .collect();
    let event = Event::read(read_bytes(descriptor, 16), level, keyword, &pieces);
    call.note(|| event.to_string());
    for listener in &mut STATE.lock().listeners {
        if listener.wants(&registration.id, level, keyword) {
            listener.events.push(event.clone());
        }
    }
    0
}
