//! How executions are chosen: at random, and with few but well-placed preemptions, always from the same seed.
//!
//! `RXCE_EXECUTIONS` multiplies their number. A failure prints the schedule that `shuttle::replay` takes.

use std::{
    borrow::Cow,
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
const RANDOM_OF_A_PAIR: usize = 200;
const FEW_PREEMPTIONS_OF_A_PAIR: usize = 80;
const DEPTHS: [usize; 3] = [2, 3, 5];

/// What was seen in the executions of a scenario. One that never comes up is tested by nothing.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<Cow<'static, str>, usize>>>);

impl Tally {
    pub(crate) fn saw(&self, what: impl Into<Cow<'static, str>>, happened: bool) {
        let mut counts = self.0.lock().expect("no thread has panicked");
        *counts.entry(what.into()).or_default() += usize::from(happened);
    }
}

/// How often each way of choosing is used.
#[derive(Clone, Copy)]
struct Effort {
    random: usize,
    /// For each depth.
    few_preemptions: usize,
}

/// Explores a scenario, all of whose outcomes must come up, and records how many schedules were run.
pub(crate) fn explore(name: &str, scenario: impl Fn(&Tally) + Clone + Send + Sync + 'static) {
    let effort = Effort {
        random: RANDOM,
        few_preemptions: FEW_PREEMPTIONS,
    };
    explore_with(name, effort, scenario);
}

/// As [`explore`], for one of very many scenarios.
pub(crate) fn explore_pair(name: &str, scenario: impl Fn(&Tally) + Clone + Send + Sync + 'static) {
    let effort = Effort {
        random: RANDOM_OF_A_PAIR,
        few_preemptions: FEW_PREEMPTIONS_OF_A_PAIR,
    };
    explore_with(name, effort, scenario);
}

fn explore_with(
    name: &str,
    effort: Effort,
    scenario: impl Fn(&Tally) + Clone + Send + Sync + 'static,
) {
    let tally = Tally::default();
    let factor = factor();
    let random = RandomScheduler::new_from_seed(SEED, effort.random * factor);
    let mut schedules = run(random, &tally, scenario.clone());
    for depth in DEPTHS {
        let count = effort.few_preemptions * factor;
        let scheduler = PctScheduler::new_from_seed(SEED, depth, count);
        schedules += run(scheduler, &tally, scenario.clone());
    }
    let counts = tally.0.lock().expect("no thread has panicked");
    println!("{name}: {counts:?}");
    for (what, count) in &*counts {
        assert!(*count > 0, "{name}: never seen: {what}");
    }
    evidence::record(evidence::Kind::Explored, name, schedules as u64)
        .expect("figures can be written");
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
) -> usize {
    let tally = tally.clone();
    Runner::new(scheduler, Config::default()).run(move || scenario(&tally))
}
