//! The demo: the shipped drivers, loaded in ntsim, read a file from a real 9P server through a virtual circuit.
//!
//! `cargo xtask demo` builds the drivers and starts this. See `demo --help`.

use std::process::ExitCode;

#[path = "../demo/mod.rs"]
mod demo;

fn main() -> ExitCode {
    demo::main()
}
