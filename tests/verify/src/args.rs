//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// Loads any WDM driver in ntsim, runs its `DriverEntry`, opens and closes its devices, and unloads it under rules of Driver
/// Verifier. Exit code 0: no rule was broken; 1: one was, or the driver could not be run.
///
/// Without a choice of rules: `--standard`.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask verify", bin_name = "cargo xtask verify", version)]
pub(crate) struct Words {
    /// The driver.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The driver, as `verifier.exe` has it behind its rules.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) driver: Option<PathBuf>,
    /// The standard rules (flags 0x209BB).
    #[arg(long)]
    pub(crate) standard: bool,
    /// Rules by flags, hexadecimal with 0x or decimal, such as 0x209BB.
    #[arg(long, value_name = "FLAGS", conflicts_with_all = ["standard", "rc"])]
    pub(crate) flags: Option<String>,
    /// Rules by class numbers, such as 1 2 4 5.
    #[arg(long, value_name = "N", num_args = 1.., conflicts_with = "standard")]
    pub(crate) rc: Vec<String>,
    /// Low resources: calls that may fail do so by chance, so many of 10,000 (default 600).
    #[arg(long, value_name = "N", num_args = 0..)]
    pub(crate) faults: Option<Vec<String>>,
    /// A driver that it imports from and that does not lie beside it; may be repeated.
    #[arg(long = "with", value_name = "FILE")]
    pub(crate) companions: Vec<PathBuf>,
    /// Special pool finds what is written in front of a block at once, instead of what is written behind it.
    #[arg(long)]
    pub(crate) verify_start: bool,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Real time that one run of the driver may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit: u64,
    /// Be the simulated machine.
    #[arg(long, hide = true)]
    pub(crate) inner: bool,
    /// Let this call that can fail do so, counted from 1.
    #[arg(long, hide = true, value_name = "N", default_value_t = 0)]
    pub(crate) nth: u32,
}
