//! `cargo xtask bench`: what the shipped image costs, as a table, as JSON and as a page with plots.

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    artefacts::PRODUCT,
    command,
    drivers::{self, Selection},
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
    /// A little of everything: whether it works, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Says which functions and kernel routines the counts are made of.
    #[arg(long)]
    profile: bool,
    /// Measures this alone (`cycle`, `stream`, ...; a wrong name lists all); may be given several times.
    #[arg(long, value_name = "SUBJECT")]
    only: Vec<String>,
}

/// Builds, then runs the program `bench` of the suites, optimised.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    drivers::run(&Selection::release_of(&[PRODUCT, "bench"]))?;
    let target = workspace::root().join("target");
    let (json, html) = (
        target.join("bench/figures.json"),
        target.join("bench/report.html"),
    );
    std::fs::create_dir_all(target.join("bench")).context("target/bench")?;
    let mut bench = command::cargo();
    bench
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
        .arg("--html")
        .arg(&html)
        .args(["--rounds", &options.rounds.to_string()])
        .args(["--circuits", &options.circuits.to_string()]);
    if options.quick {
        bench.arg("--quick");
    }
    if options.profile {
        bench.arg("--profile");
    }
    for subject in &options.only {
        bench.args(["--only", subject]);
    }
    command::run(&mut bench)?;
    println!("\nfigures: target/bench/figures.json, with plots: target/bench/report.html");
    Ok(())
}
