//! `cargo xtask bench`: what the shipped image costs, as a table and as JSON.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    command, drivers,
    setup::{self, Purpose},
    workspace,
};

/// How much is measured.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; each one goes through all numbers of circuits.
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: u32,
    /// The largest number of circuits.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    circuits: u32,
}

/// Builds, then runs the program `bench` of the suites, optimised.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    drivers::build_all()?;
    let target = workspace::root().join("target");
    let json = target.join("bench/figures.json");
    std::fs::create_dir_all(target.join("bench")).context("target/bench")?;
    let mut bench = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    bench
        .current_dir(workspace::root())
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "suites",
            "--bin",
            "bench",
            "--",
        ])
        .arg("--images")
        .arg(target.join("drivers/release/x86_64"))
        .arg("--json")
        .arg(&json)
        .args(["--rounds", &options.rounds.to_string()])
        .args(["--circuits", &options.circuits.to_string()]);
    command::run(&mut bench)?;
    println!("\nfigures: target/bench/figures.json");
    Ok(())
}
