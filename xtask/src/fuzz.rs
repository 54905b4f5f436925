//! `cargo xtask fuzz`: hostile inputs with fresh seeds, for as long as one likes.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    command, drivers,
    setup::{self, Purpose},
    workspace,
};

/// What, how long, and from which seed.
#[derive(Args)]
pub(crate) struct Options {
    /// One target alone (default: all of them in turn); a wrong name lists them.
    target: Option<String>,
    /// Stop after the turn in which this time is over.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 600,
        conflicts_with = "forever"
    )]
    seconds: u64,
    /// Do not stop until something is found.
    #[arg(long)]
    forever: bool,
    /// The first seed, decimal or 0x...; each turn prints its own (default: a random one).
    #[arg(long, value_name = "S")]
    seed: Option<String>,
}

/// Builds, then runs the suite `fuzz` in its endless form.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    drivers::build_all()?;
    let limit = if options.forever {
        "forever".to_owned()
    } else {
        options.seconds.to_string()
    };
    let mut fuzz = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    fuzz.current_dir(workspace::root())
        .args(["test", "--quiet", "--package", "suites", "--test", "fuzz"])
        .env("FUZZ_LIMIT", limit);
    if let Some(seed) = &options.seed {
        fuzz.env("FUZZ_SEED", seed);
    }
    if let Some(target) = &options.target {
        fuzz.env("FUZZ_TARGET", target);
    }
    command::run(&mut fuzz)
}
