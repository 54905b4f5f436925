//! How a routine is called: at the level and with the fault that steps asked for, and with a transport that gives in in the
//! end; and what holds for every answer.

use alloc::format;

use conform_ioctl::FuzzCount;
use wdk_sys::NTSTATUS;

use super::{
    later,
    ledger::{count, must},
    world::{Sort, World},
};
use crate::nt::{
    event::Event,
    irql, status,
    time::{self, SECOND},
};

/// The time in which everything that is only waiting for time is done.
pub(super) const LONG: i64 = time::PATIENCE;

/// Longest that the transport keeps what it holds while a routine waits: longer than any tear-down does.
const PATIENCE: i64 = 60 * SECOND;
/// Guarded region, as a level.
pub(super) const GUARDED: u8 = 100;
/// Above DISPATCH_LEVEL.
pub(super) const HIGH: u8 = 12;

/// Whether a routine may wait for the transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    Never,
    ForTransport,
}

/// Calls a routine at the level, and with the fault, that the steps before asked for; its answer, and the level.
pub(super) fn call(
    world: &mut World,
    waits: Waits,
    body: impl FnOnce() -> NTSTATUS,
) -> (NTSTATUS, u8) {
    let level = core::mem::replace(&mut world.level, irql::PASSIVE);
    let fault = world.fault.take();
    let decoy = world.decoy();
    if waits == Waits::ForTransport {
        later::begin_call(PATIENCE);
    }
    let body = || match level {
        GUARDED => irql::guarded(body),
        level => irql::at(level, body),
    };
    let answer = match (fault, &world.faults) {
        (Some(nth), Some(faults)) => faults.nth(nth, body).0,
        _ => body(),
    };
    later::end_call();
    must(decoy == world.decoy(), || {
        "what the engine did not build was changed".into()
    });
    count(if answer >= 0 {
        FuzzCount::Admitted
    } else {
        FuzzCount::Refused
    });
    (answer, real(level))
}

/// The level that the next routine is called at.
pub(super) const fn next_level(world: &World) -> u8 {
    real(world.level)
}

const fn real(level: u8) -> u8 {
    match level {
        GUARDED => irql::PASSIVE,
        level => level,
    }
}

/// Something invalid must have been refused as such.
pub(super) fn refused(what: &str, possible: bool, answer: NTSTATUS) {
    must(possible || answer == status::INVALID_PARAMETER, || {
        format!("{what} with something invalid: {answer:#010x}")
    });
}

/// A structure must be all zeros.
pub(super) fn zero(world: &World, sort: Sort, index: usize, answer: NTSTATUS) {
    let zero = world
        .of(sort)
        .get(index)
        .is_some_and(|slot| slot.bytes().iter().all(|&byte| byte == 0));
    must(zero, || {
        format!("{sort:?} {index} is not zero after {answer:#010x}")
    });
}

/// Does nothing for so long.
pub(super) fn wait(interval: i64) {
    let event = Event::new();
    event.wait(interval.max(1));
}
