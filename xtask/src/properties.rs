//! The property tests of the packages that need no kernel: from one seed in the test command, which must not fail by chance,
//! and from fresh ones in `cargo xtask fuzz properties`.

use std::{
    hash::{BuildHasher as _, RandomState},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::{
    command,
    endless::Span,
    setup::{self, Purpose},
};

/// The packages that have some.
const PACKAGES: [&str; 3] = ["rxce-engine", "p9", "rxce-netfs"];
/// The variable by which proptest takes a seed, in decimal.
const SEED: &str = "PROPTEST_RNG_SEED";
/// How many inputs a turn runs per property.
const TURN: &str = "4096";

/// Has property tests begin with the seed of the test command, unless the user has chosen one.
pub(crate) fn fix_seed(tests: &mut Command) -> &mut Command {
    if std::env::var_os(SEED).is_none() {
        tests.env(SEED, "20261129");
    }
    tests
}

/// Runs all property tests, turn after turn.
pub(crate) fn run(span: &Span) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    let started = Instant::now();
    let mut seed = match &span.seed {
        Some(seed) => parse(seed).with_context(|| format!("{seed} is no seed"))?,
        None => RandomState::new().hash_one(started),
    };
    loop {
        println!("seed {seed:#x}");
        let mut tests = command::cargo();
        tests
            .args(["test", "--quiet", "--tests"])
            .args(PACKAGES.map(|package| format!("--package={package}")))
            .env(SEED, seed.to_string())
            .env("PROPTEST_CASES", TURN);
        command::run(&mut tests).with_context(|| {
            format!("`cargo xtask fuzz properties --seconds 1 --seed {seed:#x}` runs it again")
        })?;
        if !span.forever && started.elapsed().as_secs() >= span.seconds {
            return Ok(());
        }
        seed = seed.wrapping_add(1);
    }
}

fn parse(seed: &str) -> Option<u64> {
    match seed.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => seed.parse().ok(),
    }
}
