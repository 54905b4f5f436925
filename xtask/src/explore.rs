//! `cargo xtask explore`: the races of a circuit under chosen orders of their threads, for as long as one likes.

use anyhow::Result;
use clap::Args;

use crate::{
    command, drivers,
    setup::{self, Purpose},
};

/// What to explore, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// The duel, such as send/tear-down (default: all without a known defect, one after the other).
    #[arg(value_name = "DUEL", default_value = "all")]
    duel: String,
    /// Most preemptions of one schedule; with a seed: changes of priority.
    #[arg(long, value_name = "N", default_value_t = 2)]
    bound: u32,
    /// Stop when this time is over, shared by the duels (default: when everything was tried; with a seed 600).
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Random priorities from this seed on, instead of all schedules; decimal or 0x...
    #[arg(long, value_name = "S")]
    seed: Option<String>,
    /// Preempt between two instructions, too.
    #[arg(long)]
    stepping: bool,
    /// Run the debug images.
    #[arg(long)]
    debug: bool,
    /// Run one schedule again, and tell its story.
    #[arg(long, value_name = "SCHEDULE", conflicts_with_all = ["seconds", "seed", "stepping"])]
    replay: Option<String>,
}

/// Builds, then runs the suite `explore` in its long form.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    drivers::build_all()?;
    let mut explore = command::cargo();
    explore
        .args([
            "test",
            "--quiet",
            "--package",
            "suites",
            "--test",
            "explore",
        ])
        .env("EXPLORE_DUEL", &options.duel)
        .env("EXPLORE_BOUND", options.bound.to_string())
        .env(
            "EXPLORE_PROFILE",
            if options.debug { "debug" } else { "release" },
        );
    let seconds = options.seconds.or(options.seed.as_ref().map(|_| 600));
    for (name, value) in [
        (
            "EXPLORE_SECONDS",
            seconds.map(|seconds| seconds.to_string()),
        ),
        ("EXPLORE_SEED", options.seed.clone()),
        ("EXPLORE_STEPPING", options.stepping.then(String::new)),
        ("EXPLORE_REPLAY", options.replay.clone()),
    ] {
        if let Some(value) = value {
            explore.env(name, value);
        }
    }
    command::run(&mut explore)
}
