//! A program from its beginning to its end.

use alloc::{format, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};

use conform_ioctl::{FuzzCount, FuzzResult, MOST_STEPS, Step};

use super::{
    call, calls, end, events, later,
    ledger::{self, count, must, violated},
    steps,
    world::World,
};
use crate::{
    client::{CLIENT, Client},
    engine,
    fixture::Fixture,
    nt::{sim, thread::Thread, time::SECOND},
    outcome::{Outcome, Trouble},
    transport::{self, TRANSPORT},
};

/// Longest that a program may take.
const LIMIT: i64 = 7200 * SECOND;
/// Waits of 10 ms for what ends by itself.
const SETTLING: u32 = 500;
/// More circuits than any program has: the engine then has grown what it keeps.
const WARM: usize = 40;

/// Set for ever once a program hung: its threads still use everything.
static WEDGED: AtomicBool = AtomicBool::new(false);
static WARMED: AtomicBool = AtomicBool::new(false);

/// Carries a program out.
pub(crate) fn run(program: &[u8]) -> FuzzResult {
    if WEDGED.load(Ordering::Relaxed) {
        return ledger::result();
    }
    ledger::reset();
    let program: Vec<Step> = program
        .chunks_exact(Step::SIZE)
        .take(MOST_STEPS)
        .filter_map(Step::from_bytes)
        .collect();
    let started = Thread::start(move || in_thread(&program));
    let ended = started.and_then(|thread| {
        if !thread.ends_within(LIMIT) {
            WEDGED.store(true, Ordering::SeqCst);
            // It cannot be ended, and what it uses must stay.
            core::mem::forget(thread);
            return Err(Trouble::Failed("the program hangs".into()));
        }
        thread.join("the program")
    });
    if let Err(trouble) | Ok(Err(trouble)) = ended {
        violated(|| format!("{trouble:?}"));
    }
    let result = ledger::result();
    if !result.violated {
        ledger::reset();
    }
    result
}

fn in_thread(program: &[Step]) -> Outcome {
    if !WARMED.swap(true, Ordering::SeqCst) {
        warm_up()?;
    }
    clean()?;
    let before = sim::engine_account();
    TRANSPORT.update(|state| {
        state.dispatch_allowed = true;
        state.log_may_end = true;
    });
    calls::reset();
    let mut world = World::new()?;
    later::open();
    let worker = Thread::start(|| later::work(events::perform))?;
    for step in program {
        steps::perform(&mut world, step);
        if ledger::is_violated() {
            break;
        }
    }
    end::take_down(&mut world);
    later::close();
    worker.join("the transport's thread")?;
    let requests = TRANSPORT.read(transport::state::State::requests);
    for _ in 0..requests {
        count(FuzzCount::Requests);
    }
    end::judge();
    // The losers of a competition, and its own last job, end on a thread of the engine.
    for _ in 0..SETTLING {
        if sim::engine_account() == before {
            break;
        }
        call::wait(SECOND / 100);
    }
    let after = sim::engine_account();
    must(after == before, || {
        format!("the engine's balance is {after:?}, it was {before:?}")
    });
    Ok(())
}

fn clean() -> Outcome {
    CLIENT.update(Client::reset);
    if TRANSPORT.update(transport::state::State::reset) {
        Ok(())
    } else {
        Err(Trouble::Failed("the transport is not clean".into()))
    }
}

/// Builds more than any program does, and tears it down.
fn warm_up() -> Outcome {
    clean()?;
    let mut warm = Fixture::orderly()?;
    for _ in 0..WARM {
        warm.add_vc()?;
    }
    let address = warm.address_file();
    let handler = TRANSPORT.read(|state| state.any_handler(address));
    engine::set_address(handler.ok_or_else(|| Trouble::Failed("no handler is registered".into()))?);
    warm.close()
}
