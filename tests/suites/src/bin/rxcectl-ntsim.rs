//! `rxcectl` with the simulated kernel for a machine: `cargo xtask conformance` and `cargo xtask rxcectl` start it.
//!
//! It boots, loads rxce.sys and the driver that the command drives, runs the command, unloads both, and sees that nothing is
//! left of them. See `rxcectl-ntsim --help` for what the commands are.

use std::process::ExitCode;

#[path = "../rxcectl/mod.rs"]
mod rxcectl_ntsim;

fn main() -> ExitCode {
    rxcectl_ntsim::main()
}
