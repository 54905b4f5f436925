//! The rooms of the demo program.
//!
//! It runs as two processes. The outer one ([`outer`]) makes the files and runs the server; the inner one ([`inner`])
//! is the simulated machine. Whatever ends the machine (a bug check ends its process), the outer one cleans up.
//!
//! ```text
//! args      the command line
//! outer     files, server, inner process
//! interrupt signals
//! folder    the files that diod serves
//! inner     boot, drivers, session, account
//! timeline  the life of the circuit, from ntsim's recording
//! ```

mod args;
mod folder;
mod inner;
mod interrupt;
mod outer;
mod timeline;

use std::process::ExitCode;

use clap::Parser as _;

/// Runs the process that the command line asks for.
pub(crate) fn main() -> ExitCode {
    let args = args::Args::parse();
    let result = if args.machine.inner {
        inner::run(&args)
    } else {
        outer::run(&args)
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
