//! `cargo xtask mutants`: every acceptance vector against every planted defect.

use anyhow::Result;
use clap::Args;

use crate::{
    command, drivers,
    setup::{self, Purpose},
};

/// Which defects.
#[derive(Args)]
pub(crate) struct Options {
    /// Names of defects (default: all of them).
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Builds, then runs the suite `mutants` in its long form, which writes docs/mutants.md.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    drivers::run(&drivers::Selection::release())?;
    drivers::run(&drivers::Selection::mutants())?;
    let names = if options.names.is_empty() {
        "all".to_owned()
    } else {
        options.names.join(",")
    };
    let mut mutants = command::cargo();
    mutants
        .args([
            "test",
            "--quiet",
            "--package",
            "suites",
            "--test",
            "mutants",
        ])
        .env("MUTANTS_FULL", names);
    command::run(&mut mutants)
}
