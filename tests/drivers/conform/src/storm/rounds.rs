//! A storm from its beginning to its end: everything is built up, stirred, torn down and judged, round after round.

use alloc::{format, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};

use conform_ioctl::{StormRequest, StormResult};
use rxce_client::TRANSPORT_ADDRESS;

use super::{
    actor, calls,
    chance::Chance,
    datagrams,
    provider::{self, CALM},
    queue, report,
    report::{is_violated, must, violated},
    slot::Begun,
    world::{ADDRESS_CONTEXT, SHARED_CONTEXT, World},
};
use crate::{
    engine,
    fixture::{self, LOCAL},
    nt::{
        event::Event,
        pool::Block,
        sim::{self, Account},
        status,
        thread::Thread,
        time::SECOND,
        unicode::Unicode,
    },
    outcome::{Outcome, Trouble},
};

/// Threads of the transport.
const WORKERS: u64 = 2;
/// Longest that a round may take: every single wait in it ends within three minutes.
const ROUND_LIMIT: i64 = 3600 * SECOND;
/// Rounds before the balance is taken: the engine has then grown what it keeps.
const WARM_UP: u32 = 2;

/// Set for ever once a storm hung: its threads still use everything.
static WEDGED: AtomicBool = AtomicBool::new(false);

/// Runs a storm.
pub(crate) fn run(request: StormRequest) -> StormResult {
    if WEDGED.load(Ordering::Relaxed) {
        return report::result(0);
    }
    report::reset();
    let thread = Thread::start(move || match storm(request) {
        Ok(rounds) => rounds,
        Err(trouble) => {
            violated(|| format!("{trouble:?}"));
            0
        }
    });
    let rounds = thread.and_then(|thread| {
        while !thread.ends_within(ROUND_LIMIT) {}
        thread.join("the storm")
    });
    match rounds {
        Ok(rounds) => report::result(rounds),
        Err(trouble) => {
            violated(|| format!("{trouble:?}"));
            report::result(0)
        }
    }
}

fn storm(request: StormRequest) -> Outcome<u32> {
    if !queue::find_clock() {
        return Err(Trouble::NotPossible("no KeQueryInterruptTime".into()));
    }
    let world = World::open(request)?;
    queue::open();
    let seed = request.seed;
    let workers: Outcome<Vec<_>> = (0..WORKERS)
        .map(|me| Thread::start(move || queue::work(seed, me)))
        .collect();
    let actors: Outcome<Vec<_>> = (0..request.threads as usize)
        .map(|me| Thread::start(move || actor::run(world, me)))
        .collect();
    let done = weather(world);
    if is_violated() {
        // What is wrong may reach further: the threads may not end, and what they use must stay.
        WEDGED.store(true, Ordering::SeqCst);
        core::mem::forget((workers, actors));
        return Ok(done);
    }
    world.gate.update(|gate| gate.stop = true);
    drop(actors);
    queue::close();
    drop(workers);
    // SAFETY: Both kinds of threads have been joined by their drops, nothing is queued, and `weather` took all down.
    unsafe { World::close() };
    Ok(done)
}

/// All rounds; how many ended in order.
fn weather(world: &'static World) -> u32 {
    let mut baseline: Option<Account> = None;
    let mut done = 0;
    for round in 0..world.request.rounds.saturating_add(WARM_UP) {
        let calm = round < WARM_UP;
        CALM.store(calm, Ordering::SeqCst);
        set_up(world);
        if is_violated() {
            break;
        }
        if calm {
            fill(world);
        } else if !stir(world) {
            break;
        }
        CALM.store(true, Ordering::SeqCst);
        if !take_down(world) {
            break;
        }
        let now = settled(baseline);
        if calm {
            baseline = now;
        }
        must(now == baseline, || {
            format!("the engine's balance is {now:?}, it was {baseline:?}")
        });
        if is_violated() {
            break;
        }
        done = round.saturating_add(1).saturating_sub(WARM_UP);
    }
    done
}

/// What the engine holds. The job that follows a build over several transports, and the handle thread, give their last
/// memory back after everything that a client can see.
fn settled(wanted: Option<Account>) -> Option<Account> {
    let mut now = sim::engine_account();
    for _ in 0..1000 {
        if wanted.is_none() || now == wanted {
            break;
        }
        Event::new().wait(SECOND / 1000);
        now = sim::engine_account();
    }
    now
}

/// The parents of a round.
fn set_up(world: &World) {
    let ok = |what: &str, answer| {
        must(answer == status::SUCCESS, || {
            format!("{what} returned {answer:#010x}")
        });
    };
    let calm = CALM.swap(true, Ordering::SeqCst);
    let name = Unicode::new(provider::DEVICE);
    ok("RxCeBuildTransport", fixture::bind(&world.transport, &name));
    let Some(local) = Block::new(LOCAL) else {
        return violated(|| "the test itself found no memory".into());
    };
    for (number, address) in world.addresses.iter().enumerate() {
        let mut handlers = calls::address_handlers();
        let answer = engine::build_address(
            address.ptr(),
            world.transport.ptr(),
            local.ptr().cast::<TRANSPORT_ADDRESS>(),
            &raw mut handlers,
            core::ptr::without_provenance_mut(ADDRESS_CONTEXT.saturating_add(number)),
        );
        ok("RxCeBuildAddress", answer);
    }
    // A connection comes with a circuit: the first storages begin with those.
    for ((number, connection), slot) in world.shared.iter().enumerate().zip(&world.slots) {
        let context = SHARED_CONTEXT.saturating_add(number);
        let begun = slot.begin();
        must(begun == Begun::Build, || {
            format!("a round began with {begun:?}")
        });
        actor::drop_own(slot);
        slot.life.update(|life| life.context = context);
        let answer = actor::connect(world, number, context, connection.ptr(), slot.vc.ptr());
        ok("RxCeBuildConnection", answer);
        slot.built(answer);
        slot.leave();
    }
    CALM.store(calm, Ordering::SeqCst);
}

/// Everything that there can be, at once and without haste.
fn fill(world: &World) {
    let mut chance = Chance::new(world.request.seed, 3);
    for (index, slot) in world.slots.iter().enumerate() {
        if slot.begin() == Begun::Build {
            actor::build(world, 0, index, slot, &mut chance);
        }
        actor::send(world, index, slot, &mut chance);
        slot.leave();
    }
}

/// Lets the threads go for one round; whether all came back.
fn stir(world: &World) -> bool {
    world.gate.update(|gate| {
        gate.round = gate.round.wrapping_add(1);
        gate.running = world.request.threads as usize;
    });
    let back = world.gate.wait_until(ROUND_LIMIT, |gate| gate.running == 0);
    if !back {
        hung(world, "the threads did not come back");
    }
    back
}

fn hung(world: &World, what: &str) {
    let doing: Vec<u32> = world
        .doing
        .iter()
        .map(|doing| doing.load(Ordering::Relaxed))
        .collect();
    violated(|| format!("the storm hangs: {what}; circuit * 1000 + choice: {doing:?}"));
}

/// Tears everything down and judges what is left; whether that came to an end.
fn take_down(world: &'static World) -> bool {
    for slot in &world.slots {
        if slot.is_left() {
            actor::tear_down(world, slot);
        }
        slot.judge();
        actor::drop_own(slot);
    }
    if is_violated() {
        return false;
    }
    if !queue::drain() {
        hung(world, "the transport's tasks did not end");
        return false;
    }
    if !datagrams::settle() {
        hung(world, "datagrams did not end");
        return false;
    }
    for ticket in world.used_tickets() {
        let accepted = ticket.accepted.load(Ordering::SeqCst);
        let completed = ticket.completed.load(Ordering::SeqCst);
        must(completed == u32::from(accepted), || {
            format!("SendComplete came {completed} times for a send (accepted: {accepted})")
        });
    }
    world.forget_tickets();
    for room in &world.rooms {
        room.judge();
    }
    judge_parents(world);
    provider::check_files();
    !is_violated()
}

/// The counters are zero again, and the parents go.
fn judge_parents(world: &World) {
    let gone = |what: &str, answer, zero: bool| {
        must(answer == status::SUCCESS && zero, || {
            format!("{what} returned {answer:#010x} at the end (all zero: {zero})")
        });
    };
    for connection in &world.shared {
        let circuits = connection.read().VirtualCircuitCount;
        must(circuits == 0, || {
            format!("a connection counts {circuits} circuits")
        });
        let answer = engine::tear_down_connection(connection.ptr());
        gone("RxCeTearDownConnection", answer, connection.is_zero());
    }
    for address in &world.addresses {
        let counts = address.read();
        let counts = [counts.ConnectionCount, counts.VirtualCircuitCount];
        must(counts == [0, 0], || format!("an address counts {counts:?}"));
        let answer = engine::tear_down_address(address.ptr());
        gone("RxCeTearDownAddress", answer, address.is_zero());
    }
    let counts = world.transport.read();
    let counts = [counts.ConnectionCount, counts.VirtualCircuitCount];
    must(counts == [0, 0], || {
        format!("a transport counts {counts:?}")
    });
    let answer = engine::tear_down_transport(world.transport.ptr());
    gone("RxCeTearDownTransport", answer, world.transport.is_zero());
}
