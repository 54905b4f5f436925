//! How executions are chosen: at random, and with few but well-placed preemptions, always from the same seed.
//!
//! `RXCE_EXECUTIONS` multiplies their number. A failure prints the schedule that `shuttle::replay` takes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

const SEED: u64 = 0x5278_4365;
const RANDOM: usize = 2_000;
const RANDOM_BRIEFLY: usize = 100;
const FEW_PREEMPTIONS: usize = 400;
const DEPTHS: [usize; 3] = [2, 3, 5];

/// What was seen in the executions of a scenario. One that never comes up is tested by nothing.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Tally {
    pub(crate) fn saw(&self, what: &'static str, happened: bool) {
        let mut counts = self.0.lock().expect("no thread has panicked");
        *counts.entry(what).or_default() += usize::from(happened);
    }
}

/// Explores a scenario, all of whose outcomes must come up.
pub(crate) fn explore(scenario: impl Fn(&Tally) + Clone + Send + Sync + 'static) {
    let tally = Tally::default();
    let factor = factor();
    run(
        RandomScheduler::new_from_seed(SEED, RANDOM * factor),
        &tally,
        scenario.clone(),
    );
    for depth in DEPTHS {
        let scheduler = PctScheduler::new_from_seed(SEED, depth, FEW_PREEMPTIONS * factor);
        run(scheduler, &tally, scenario.clone());
    }
    let counts = tally.0.lock().expect("no thread has panicked");
    println!("{counts:?}");
    for (what, count) in &*counts {
        assert!(*count > 0, "never seen: {what}");
    }
}

/// Explores a scenario whose outcome hardly depends on the schedule.
pub(crate) fn explore_briefly(scenario: impl Fn() + Send + Sync + 'static) {
    let scheduler = RandomScheduler::new_from_seed(SEED, RANDOM_BRIEFLY * factor());
    run(scheduler, &Tally::default(), move |_| scenario());
}

fn factor() -> usize {
    std::env::var("RXCE_EXECUTIONS").map_or(1, |factor| {
        factor.parse().expect("RXCE_EXECUTIONS is a number")
    })
}

fn run(
    scheduler: impl Scheduler + 'static,
    tally: &Tally,
    scenario: impl Fn(&Tally) + Send + Sync + 'static,
) {
    let tally = tally.clone();
    Runner::new(scheduler, Config::default()).run(move || scenario(&tally));
}
