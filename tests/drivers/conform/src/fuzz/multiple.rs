//! Steps that let transports compete.

use alloc::{format, vec::Vec};
use core::ptr;

use conform_ioctl::{FuzzCount, Step};
use rxce_client::{RXCE_ADDRESS, RXCE_CONNECTION_COMPLETION_CONTEXT};
use wdk_sys::NTSTATUS;

use super::{
    arguments,
    call::{self, Waits, call, zero},
    calls,
    ledger::{count, must},
    world::{self, CONNECTION_CONTEXT, Expect, Race, Sort, World},
};
use crate::{
    engine::{self, Multiple},
    nt::{irql, pool::Block, status, time, watch::Watch},
};

/// What the completion routine saw: how often it was called, status, index, and how often it returned.
static COMPLETION: Watch<(u32, NTSTATUS, u32, u32)> = Watch::new((0, 0, 0, 0));

unsafe extern "C" fn on_completion(context: *mut RXCE_CONNECTION_COMPLETION_CONTEXT) -> NTSTATUS {
    // SAFETY: The race's context, which outlives the call.
    let told = unsafe { context.read_volatile() };
    COMPLETION.update(|seen| {
        seen.0 = seen.0.saturating_add(1);
        seen.1 = told.Status;
        seen.2 = told.AddressIndex;
    });
    COMPLETION.update(|seen| seen.3 = seen.3.saturating_add(1));
    status::SUCCESS
}

/// RxCeBuildConnectionOverMultipleTransports; one at a time.
pub(super) fn build(world: &mut World, step: &Step) {
    if !settled(world, 0) {
        return;
    }
    COMPLETION.update(|seen| *seen = (0, 0, 0, 0));
    let connection = world.output(Sort::Connection, step.on);
    let vc = world.output(Sort::Vc, step.with);
    let option = match step.also & 7 {
        option @ 0..=2 => u32::from(option),
        3 => 3,
        4 => u32::MAX,
        _ => 0,
    };
    let number = match step.a & 15 {
        0..=5 => 2,
        6..=8 => 3,
        9 => 1,
        10 => 0,
        11 => 1025,
        12 => u32::MAX,
        // With more, the engine's tables grow, which they keep.
        13 => 24,
        _ => (step.a >> 4) % 32,
    };
    // An array that is refused unseen need not be as long as it is said to be.
    let mut addresses: Vec<*mut RXCE_ADDRESS> = Vec::new();
    let mut slots = Vec::new();
    for place in 0..number.min(1025) {
        let turn = place & 3;
        let [choice, ..] = (step.b >> (turn * 8)).to_le_bytes();
        let pointer = world.pointer(Sort::Address, choice);
        addresses.push(pointer.cast());
        slots.push(pointer.slot);
    }
    let mut information = arguments::information(step.c & 0xFFFF_0FFF);
    let missing = (step.c >> 12) & 15;
    let mut handlers = calls::connection_handlers(0);
    let Some(context) = Block::<RXCE_CONNECTION_COMPLETION_CONTEXT>::zeroed() else {
        return;
    };
    context.change(|context| {
        context.pConnection = connection.cast();
        context.pVc = vc.cast();
    });
    let own = connection.slot.unwrap_or_default();
    let with = Multiple {
        device: ptr::null_mut(),
        option,
        count: number,
        addresses: if missing == 12 {
            ptr::null_mut()
        } else {
            addresses.as_mut_ptr()
        },
        information: if missing == 13 {
            ptr::null_mut()
        } else {
            information.raw()
        },
        handler: if missing == 14 {
            ptr::null_mut()
        } else {
            &raw mut handlers
        },
        event_context: ptr::without_provenance_mut(CONNECTION_CONTEXT.saturating_add(own)),
        routine: if missing == 15 {
            None
        } else {
            Some(on_completion)
        },
        context: if missing == 11 {
            ptr::null_mut()
        } else {
            context.ptr()
        },
    };
    let free = |sort, pointer: world::Pointer| {
        pointer
            .slot
            .and_then(|index| world.of(sort).get(index))
            .is_some_and(|slot| !slot.built)
    };
    let possible = option <= 2
        && (1..=1024).contains(&number)
        && missing < 11
        && information.valid
        && call::next_level(world) <= irql::APC
        && free(Sort::Connection, connection)
        && free(Sort::Vc, vc);
    if possible {
        world::set_alive(vc.slot.unwrap_or_default(), true);
    }
    world.raced = true;
    let race = Race {
        context,
        connection: own,
        vc: vc.slot.unwrap_or_default(),
        addresses: slots,
    };
    let (answer, _) = call(world, Waits::ForTransport, || {
        engine::build_over_multiple(with)
    });
    must(possible || answer == status::INVALID_PARAMETER, || {
        format!("a competition with something invalid: {answer:#010x}")
    });
    if !possible {
        return;
    }
    count(FuzzCount::Races);
    world.race = Some(race);
    if answer == status::PENDING {
        return;
    }
    must(COMPLETION.read(|seen| seen.0) == 0, || {
        format!("the completion routine was called and the routine returned {answer:#010x}")
    });
    conclude(world, answer);
}

/// Waits for a competition's end, for at most `limit`; whether none is on.
pub(super) fn settled(world: &mut World, limit: i64) -> bool {
    if world.race.is_none() {
        return true;
    }
    if !COMPLETION.wait_until(limit.max(time::SECOND / 1000), |seen| seen.3 > 0) {
        return false;
    }
    let (calls, answer, ..) = COMPLETION.read(|seen| *seen);
    must(calls == 1, || {
        format!("the completion routine was called {calls} times")
    });
    conclude(world, answer);
    true
}

/// Notes what a competition ended with.
fn conclude(world: &mut World, answer: NTSTATUS) {
    let Some(race) = world.race.take() else {
        return;
    };
    let index = race.context.read().AddressIndex as usize;
    let winner = race.addresses.get(index).copied().flatten();
    if answer >= 0 {
        match winner {
            Some(address) => {
                world.note_built(Sort::Connection, race.connection, address, answer);
                world.note_built(Sort::Vc, race.vc, race.connection, answer);
            }
            None => must(false, || format!("address {index} has won, which is none")),
        }
        let expect = [(Sort::Connection, race.connection), (Sort::Vc, race.vc)]
            .into_iter()
            .all(|(sort, index)| {
                let pointer = world.pointer(sort, u8::try_from(index).unwrap_or_default());
                world.expect(sort, pointer) != Expect::Refused
            });
        must(expect, || "a winner is not built".into());
    } else {
        world::set_alive(race.vc, false);
        // A transport may fail a request with that very status, too.
        if answer != status::INVALID_PARAMETER {
            zero(world, Sort::Connection, race.connection, answer);
            zero(world, Sort::Vc, race.vc, answer);
        }
    }
}
