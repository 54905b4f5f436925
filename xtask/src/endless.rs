//! What the endless forms of suites have in common: how long, and from which seed.

use anyhow::Result;
use clap::Args;

use crate::{
    command, drivers,
    setup::{self, Purpose},
};

/// How long, and from which seed.
#[derive(Args)]
pub(crate) struct Span {
    /// Stop after the turn in which this time is over.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 600,
        conflicts_with = "forever"
    )]
    pub(crate) seconds: u64,
    /// Do not stop until something is found.
    #[arg(long)]
    pub(crate) forever: bool,
    /// The first seed, decimal or 0x...; each turn prints its own (default: a random one).
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<String>,
}

/// Builds, then runs a suite in its endless form: the variables of these names tell it how long, and the
/// first seed; one more may be set.
pub(crate) fn run(
    [package, suite]: [&str; 2],
    span: &Span,
    [limit_name, seed_name]: [&str; 2],
    more: Option<(&str, &str)>,
) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    drivers::build_all()?;
    let limit = if span.forever {
        "forever".to_owned()
    } else {
        span.seconds.to_string()
    };
    let mut suite_run = command::cargo();
    suite_run
        .args(["test", "--quiet", "--package", package, "--test", suite])
        .env(limit_name, limit);
    if let Some(seed) = &span.seed {
        suite_run.env(seed_name, seed);
    }
    if let Some((name, value)) = more {
        suite_run.env(name, value);
    }
    command::run(&mut suite_run)
}
