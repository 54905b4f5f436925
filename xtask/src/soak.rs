//! `cargo xtask soak`: storms with fresh seeds, for as long as one likes.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    command, drivers,
    setup::{self, Purpose},
    workspace,
};

/// How long, and from which seed.
#[derive(Args)]
pub(crate) struct Options {
    /// Stop after the storm in which this time is over.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 600,
        conflicts_with = "forever"
    )]
    seconds: u64,
    /// Do not stop until a storm fails.
    #[arg(long)]
    forever: bool,
    /// The first seed, decimal or 0x...; each storm prints its own (default: a random one).
    #[arg(long, value_name = "S")]
    seed: Option<String>,
}

/// Builds, then runs the suite `storm` in its endless form.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    drivers::build_all()?;
    let limit = if options.forever {
        "forever".to_owned()
    } else {
        options.seconds.to_string()
    };
    let mut soak = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    soak.current_dir(workspace::root())
        .args(["test", "--quiet", "--package", "suites", "--test", "storm"])
        .env("STORM_SOAK", limit);
    if let Some(seed) = &options.seed {
        soak.env("STORM_SEED", seed);
    }
    command::run(&mut soak)
}
