//! `cargo xtask bench` runs this program, optimised, after it has built the drivers.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    suites::bench::run(&suites::bench::Options::parse()).map(drop)
}
