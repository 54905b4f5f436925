//! Benches: what the shipped image costs, measured by `bench.sys` in ntsim with its checks off.
//!
//! [`machine`] boots and talks to the driver, [`circuits`] and [`memory`] fill rows, [`report`] prints them and writes them as
//! JSON. A new subject is a module that returns rows.

pub mod circuits;
pub mod machine;
pub mod memory;
pub mod report;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use self::{
    machine::Machine,
    report::{Report, Row},
};

/// What to measure.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// Directory of rxce.sys and bench.sys.
    #[arg(long)]
    pub images: PathBuf,
    /// Where the figures go.
    #[arg(long)]
    pub json: PathBuf,
    /// How many rounds; each one goes through all numbers of circuits.
    #[arg(long, default_value_t = 7)]
    pub rounds: u32,
    /// The largest number of circuits.
    #[arg(long, default_value_t = 100_000)]
    pub circuits: u32,
}

/// Measures everything, prints a table and writes the figures.
///
/// # Errors
///
/// Missing images, failures of the drivers, and figures that cannot be written.
pub fn run(options: &Options) -> Result<()> {
    let machine = Machine::boot(&options.images)?;
    let mut report = Report::default();
    let sizes: Vec<u32> = [100, 1_000, 10_000, 100_000]
        .into_iter()
        .filter(|&size| size <= options.circuits)
        .collect();
    report.rows(memory::rows(&machine, &sizes)?);
    report.rows(circuits::rows(&machine, &sizes, options.rounds)?);
    let image = std::fs::metadata(options.images.join("rxce.sys"))?.len();
    report.rows([Row::number(
        "image",
        "size of rxce.sys",
        None,
        "bytes",
        image,
    )]);
    machine.shut_down()?;
    print!("{report}");
    report.write(&options.json)
}
