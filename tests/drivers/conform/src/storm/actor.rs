//! A thread of the client: it does things to circuits at random, and judges the answers.

use alloc::format;
use core::{ptr, sync::atomic::Ordering};

use conform_ioctl::{StormCount, StormFlags};
use rxce_client::RXCE_VC;
use wdk_sys::NTSTATUS;

use super::{
    calls,
    chance::Chance,
    datagrams, multiple, queue,
    report::{count, is_of_transport, is_violated, must},
    slot::{Begun, Slot},
    world::{SHARED_CONTEXT, World},
};
use crate::{
    engine, fixture,
    nt::{event::Event, irql, sim::Pick, status, time::SECOND},
};

/// Longest that a thread waits for the next round.
const LONG: i64 = 1_000_000 * SECOND;
/// Longest that a tear-down may take: its own limits are 10 s and 30 s (rxce.md §5.13), then it closes. What the transport
/// keeps, it keeps for longer.
const LONGEST_TEAR_DOWN: i64 = 70 * SECOND;
/// Things done in one round, at most this many more than the least.
const LEAST_STEPS: u32 = 8;
const MORE_STEPS: u32 = 9;

/// Takes part in every round until the gate says stop.
pub(super) fn run(world: &World, me: usize) {
    let mut chance = Chance::new(world.request.seed, 0x100 | me as u64);
    let mut round = 0;
    loop {
        world
            .gate
            .wait_until(LONG, |gate| gate.stop || gate.round != round);
        let stop = world.gate.read(|gate| {
            round = gate.round;
            gate.stop
        });
        if stop {
            return;
        }
        let steps = LEAST_STEPS.saturating_add(chance.below(MORE_STEPS));
        for _ in 0..steps {
            if is_violated() {
                break;
            }
            step(world, me, &mut chance);
        }
        at(world, me, 0);
        world
            .gate
            .update(|gate| gate.running = gate.running.saturating_sub(1));
    }
}

/// A circuit as it is shown in what a thread is at.
fn place(index: usize) -> u32 {
    u32::try_from(index)
        .unwrap_or_default()
        .saturating_mul(1000)
}

/// Notes what a thread is at: a circuit and a choice.
fn at(world: &World, me: usize, what: u32) {
    if let Some(doing) = world.doing.get(me) {
        doing.store(what, Ordering::Relaxed);
    }
}

fn step(world: &World, me: usize, chance: &mut Chance) {
    let index = chance.below(u32::try_from(world.slots.len()).unwrap_or(1)) as usize;
    let Some(slot) = world.slots.get(index) else {
        return;
    };
    let begun = slot.begin();
    if begun == Begun::Nothing {
        return nap(chance);
    }
    let stacks = world.request.flags.has(StormFlags::STACKS);
    let fault = world
        .faults
        .as_ref()
        .filter(|_| stacks || chance.percent(25));
    let nth = chance.below(12).saturating_add(1);
    // Now and then as a client does that has APCs off.
    let level = if chance.percent(15) {
        irql::APC
    } else {
        irql::PASSIVE
    };
    let mut body = || {
        irql::at(level, || match begun {
            Begun::Build => build(world, me, index, slot, chance),
            _ => use_it(world, me, index, slot, chance),
        });
    };
    match fault {
        Some(faults) => {
            count(StormCount::Faults);
            if stacks {
                faults.arm(Pick::NewStack);
                body();
                faults.disarm();
            } else {
                faults.nth(nth, body);
            }
        }
        None => body(),
    }
    slot.leave();
}

fn nap(chance: &mut Chance) {
    let wait = i64::from(chance.below(300));
    Event::new().wait(wait);
}

fn use_it(world: &World, me: usize, index: usize, slot: &Slot, chance: &mut Chance) {
    let what = chance.below(100);
    at(
        world,
        me,
        place(index).saturating_add(what).saturating_add(1),
    );
    match what {
        0..38 => send(world, index, slot, chance),
        38..42 => datagrams::send(world, chance),
        42..52 => send_and_wait(world, slot, chance),
        52..64 => initiate(slot),
        64..76 => tear_down(world, slot),
        76..84 => query(world, slot, chance),
        84..88 => build_again(world, slot),
        88..91 => tear_down_connection_early(slot),
        _ => nap(chance),
    }
}

pub(super) fn allowed(world: &World, answer: NTSTATUS) -> bool {
    world.faults.is_some() && answer == status::INSUFFICIENT_RESOURCES
}

/// RxCeBuildVC on a shared connection, or RxCeBuildConnection.
pub(super) fn build(world: &World, me: usize, index: usize, slot: &Slot, chance: &mut Chance) {
    at(world, me, place(index).saturating_add(200));
    drop_own(slot);
    let (over, own) = match chance.below(100) {
        0..20 => (true, true),
        20..50 => (false, true),
        _ => (false, false),
    };
    let shared = usize::from(chance.percent(50));
    let vc = slot.vc.ptr();
    let answer = if own {
        let context = World::own_context(index, slot.number());
        slot.life.update(|life| life.context = context);
        if over {
            multiple::build(world, slot, context, chance)
        } else {
            connect(world, shared, context, slot.own.ptr(), vc)
        }
    } else {
        slot.life
            .update(|life| life.context = SHARED_CONTEXT.saturating_add(shared));
        let connection = world.shared.get(shared);
        connection.map_or(status::INVALID_PARAMETER, |connection| {
            engine::build_vc(vc, connection.ptr())
        })
    };
    let name = match (over, own) {
        (true, _) => "RxCeBuildConnectionOverMultipleTransports",
        (_, true) => "RxCeBuildConnection",
        _ => "RxCeBuildVC",
    };
    must(
        answer == status::SUCCESS
            || is_of_transport(answer)
            || (over && answer == status::INVALID_HANDLE)
            || allowed(world, answer),
        || format!("{name} returned {answer:#010x}"),
    );
    if answer >= 0 {
        count(StormCount::Built);
        slot.life.update(|life| life.owns = own);
    } else {
        count(StormCount::BuildFailed);
        must(slot.vc.is_zero(), || {
            format!("{name} failed and left something in the circuit")
        });
        must(!own || slot.own.is_zero(), || {
            format!("{name} failed and left something in the connection")
        });
    }
    slot.built(answer);
}

/// RxCeBuildConnection on one of the addresses.
pub(super) fn connect(
    world: &World,
    address: usize,
    context: usize,
    connection: *mut rxce_client::RXCE_CONNECTION,
    vc: *mut RXCE_VC,
) -> NTSTATUS {
    let mut information = fixture::information(&world.peer);
    let mut handlers = calls::connection_handlers();
    let address = world.addresses.get(address);
    engine::build_connection(
        address.map_or(ptr::null_mut(), |address| address.ptr()),
        &raw mut information,
        &raw mut handlers,
        ptr::without_provenance_mut(context),
        connection,
        vc,
    )
}

/// Tears the storage's own connection down, whose circuit is gone.
pub(super) fn drop_own(slot: &Slot) {
    let owned = slot
        .life
        .update(|life| core::mem::replace(&mut life.owns, false));
    if owned {
        let answer = engine::tear_down_connection(slot.own.ptr());
        must(answer == status::SUCCESS && slot.own.is_zero(), || {
            format!("RxCeTearDownConnection returned {answer:#010x} although no circuit is left")
        });
    }
}

/// An asynchronous send of some form.
pub(super) fn send(world: &World, index: usize, slot: &Slot, chance: &mut Chance) {
    let count_of = u32::try_from(world.payloads.len()).unwrap_or(1);
    let Some(payload) = world.payloads.get(chance.below(count_of) as usize) else {
        return;
    };
    let Some((ticket, context)) = world.ticket(index) else {
        return;
    };
    let (mut options, mut length) = (chance.pick(&[0, 0, 0x20, 0x80]), payload.length);
    let mut legal = true;
    match chance.below(10) {
        0 if length > 0 => {
            options |= engine::SEND_PARTIAL;
            length = chance.below(length).saturating_add(1);
        }
        1 => {
            length = length.saturating_add(1);
            legal = false;
        }
        _ => {}
    }
    slot.life
        .update(|life| life.sends = life.sends.saturating_add(1));
    let context = ptr::without_provenance_mut(context);
    let answer = engine::send(slot.vc.ptr(), options, payload.mdl(), length, context);
    let submitted = ticket.submitted.load(Ordering::SeqCst);
    if answer == status::SUCCESS {
        count(StormCount::Sent);
        ticket.accepted.store(true, Ordering::SeqCst);
        must(legal, || "RxCeSend took a length that does not fit".into());
        must(submitted == 1, || {
            "RxCeSend returned without SendSubmitted".into()
        });
        return;
    }
    count(StormCount::SendRefused);
    ticket.refused.store(true, Ordering::SeqCst);
    let completed = ticket.completed.load(Ordering::SeqCst);
    slot.life
        .update(|life| life.sends = life.sends.saturating_sub(1));
    must(completed == 0 && submitted == 0, || {
        format!("RxCeSend returned {answer:#010x}, and there was a callback")
    });
    must(
        answer == status::CONNECTION_DISCONNECTED
            || (!legal && answer == status::INVALID_PARAMETER)
            || allowed(world, answer),
        || format!("RxCeSend returned {answer:#010x}"),
    );
}

fn send_and_wait(world: &World, slot: &Slot, chance: &mut Chance) {
    let count_of = u32::try_from(world.payloads.len()).unwrap_or(1);
    if let Some(payload) = world.payloads.get(chance.below(count_of) as usize) {
        count(StormCount::SentAndWaited);
        let options = engine::SEND_SYNCHRONOUS;
        let nothing = ptr::null_mut();
        let answer = engine::send(
            slot.vc.ptr(),
            options,
            payload.mdl(),
            payload.length,
            nothing,
        );
        must(
            answer == status::SUCCESS
                || answer == status::CONNECTION_DISCONNECTED
                || is_of_transport(answer)
                || allowed(world, answer),
            || format!("RxCeSend (synchronous) returned {answer:#010x}"),
        );
    }
}

/// RxCeInitiateVCDisconnect: refused only if somebody tears the circuit down, or it is not there.
pub(super) fn initiate(slot: &Slot) {
    let start = slot.start();
    let answer = engine::initiate(slot.vc.ptr());
    let faults = super::world::current().is_some_and(|world| allowed(world, answer));
    if answer == status::SUCCESS {
        count(StormCount::Initiated);
    } else {
        count(StormCount::InitiateRefused);
    }
    must(
        answer == status::SUCCESS || answer == status::INVALID_PARAMETER || faults,
        || format!("RxCeInitiateVCDisconnect returned {answer:#010x}"),
    );
    must(
        answer != status::INVALID_PARAMETER || !slot.stayed_up(start),
        || "a built circuit was refused by RxCeInitiateVCDisconnect".into(),
    );
}

/// RxCeTearDownVC: of several at once one is not refused.
pub(super) fn tear_down(_world: &World, slot: &Slot) {
    let Some(start) = slot.begin_tear_down() else {
        return;
    };
    let began = queue::now();
    let answer = engine::tear_down_vc(slot.vc.ptr());
    let took = queue::now().saturating_sub(began);
    must(took < LONGEST_TEAR_DOWN, || {
        format!("RxCeTearDownVC took {} s", took / SECOND)
    });
    must(
        answer == status::SUCCESS || answer == status::INVALID_PARAMETER || is_of_transport(answer),
        || format!("RxCeTearDownVC returned {answer:#010x}"),
    );
    if answer == status::INVALID_PARAMETER {
        count(StormCount::TearDownRefused);
    } else {
        count(StormCount::TornDown);
    }
    slot.torn_down(start, answer);
}

fn query(world: &World, slot: &Slot, chance: &mut Chance) {
    count(StormCount::Queried);
    let class = chance.below(4).saturating_add(1);
    let mut room = [0_u8; 64];
    let short = chance.percent(10);
    let length = if short { 3 } else { room.len() };
    let out = room.get_mut(..length).unwrap_or_default();
    let start = slot.start();
    let answer = fixture::query(slot.vc.ptr(), class, out);
    must(
        answer != status::INVALID_PARAMETER || !slot.stayed_up(start),
        || "a built circuit was refused by RxCeQueryInformation".into(),
    );
    must(
        (answer == status::SUCCESS && !short)
            || answer == status::INVALID_PARAMETER
            || (answer == status::BUFFER_OVERFLOW && short)
            || (is_of_transport(answer) && class > 2)
            || allowed(world, answer),
        || format!("RxCeQueryInformation, class {class}, returned {answer:#010x}"),
    );
}

/// A structure that is built is not built again.
fn build_again(world: &World, slot: &Slot) {
    if !slot.pin() {
        return;
    }
    if let Some(connection) = world.shared.first() {
        count(StormCount::BuiltAgainRefused);
        let answer = engine::build_vc(slot.vc.ptr(), connection.ptr());
        must(answer == status::INVALID_PARAMETER, || {
            format!("RxCeBuildVC on a built circuit returned {answer:#010x}")
        });
    }
    slot.unpin();
}

/// A connection with a circuit stays.
fn tear_down_connection_early(slot: &Slot) {
    if !slot.pin() {
        return;
    }
    if slot.life.read(|life| life.owns) {
        let answer = engine::tear_down_connection(slot.own.ptr());
        must(answer == status::INVALID_PARAMETER, || {
            format!("RxCeTearDownConnection with a circuit left returned {answer:#010x}")
        });
    }
    slot.unpin();
}
