//! Scenarios of calls in which one chosen thing fails: a kernel call of the engine, or a request at the transport.
//!
//! After every failure: the documented status, the structures in the documented state, nothing leaked. Then everything
//! is torn down, or the call that failed is repeated and must succeed. `attempt` holds what fails and judges answers, `life` is a
//! fixture that is built and used under such conditions, `circuits`, `data` and `races` are the scenarios.

mod attempt;
mod circuits;
mod data;
mod life;
mod races;

use core::sync::atomic::{AtomicBool, Ordering};

use conform_ioctl::{SweepRequest, SweepResult, Text, Verdict};

use self::attempt::Attempt;
use crate::{
    engine,
    nt::{thread::Thread, time::PATIENCE},
    outcome::{Outcome, Run, Trouble},
    race::settled,
    runner,
    transport::{TRANSPORT, fault, state::State},
};

/// What is done while something fails.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    run: fn(&Attempt) -> Outcome,
}

/// Every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    [circuits::SCENARIOS, data::SCENARIOS, races::SCENARIOS]
        .into_iter()
        .flatten()
}

/// Runs a scenario once, in a system thread; nothing if there is no such scenario.
pub(crate) fn run(request: SweepRequest) -> Option<SweepResult> {
    let scenario = all().nth(request.scenario as usize)?;
    let (verdict, hit, text) = match runner::guarded(move || once(scenario, request)) {
        Ok(hit) => (Verdict::Passed, hit, alloc::string::String::new()),
        Err(Trouble::Failed(text)) => (Verdict::Failed, false, text),
        Err(Trouble::NotPossible(text)) => (Verdict::NotPossible, false, text),
    };
    Some(SweepResult {
        verdict,
        hit,
        answers: engine::answers(),
        text: Text::new(&text),
    })
}

/// Whether the engine has grown what it keeps.
static PREPARED: AtomicBool = AtomicBool::new(false);

/// Runs a scenario; tells whether what was to fail came at all.
fn once(scenario: &Scenario, request: SweepRequest) -> Outcome<bool> {
    if PREPARED.load(Ordering::Relaxed) {
        runner::clean()?;
    } else {
        runner::prepare()?;
        PREPARED.store(true, Ordering::Relaxed);
    }
    engine::forget_answers();
    let run = Run::new();
    let attempt = Attempt::new(&run, request)?;
    let before = run.balance();
    TRANSPORT.update(|state| state.ends_due = true);
    let ender = Thread::start(end_due)?;
    attempt.arm();
    let result = (scenario.run)(&attempt).and_then(|()| attempt.was_shown());
    let hit = attempt.disarm();
    TRANSPORT.update(|state| state.ends_due = false);
    ender.join("the thread that ends what is due")?;
    result.map_err(runner::with_violation)?;
    runner::nothing_left()?;
    settled(|| before.unchanged(&run, "after the scenario"))?;
    Ok(hit)
}

/// Ends what is due as it comes, until nobody wants that any more.
fn end_due() {
    while TRANSPORT.read(|state| state.ends_due) {
        TRANSPORT.wait_until(PATIENCE, |state| state.anything_due() || !state.ends_due);
        while fault::end_due() {}
    }
    debug_assert!(!TRANSPORT.read(State::anything_due));
}
