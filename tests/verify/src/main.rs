//! `cargo xtask verify`: loads any WDM driver in ntsim, runs its `DriverEntry`, opens and closes its devices, and unloads it
//! under rules of Driver Verifier that are chosen in the words of `verifier.exe`.
//!
//! It runs as two processes. The outer one ([`outer`]) reads the command line, says what will be done, and what was found; the
//! inner one ([`machine`]) is the simulated machine, which a broken rule ends.
//!
//! ```text
//! args      the command line
//! classes   the rule classes by number and by flag, and what becomes of each here
//! plan      what the command line asks for, checked
//! outer     imports, machines, the result
//! machine   boot, load, start, open, close, unload
//! ```

mod args;
mod classes;
mod machine;
mod outer;
mod plan;

use clap::Parser as _;
use clap::error::ErrorKind;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words = match args::Words::try_parse() {
        Ok(words) => words,
        Err(error) => {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // Nothing is left to be done where the message cannot be written.
            let _ = error.print();
            return if asked {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
    };
    let result = plan::Plan::of(&words).and_then(|plan| {
        if words.inner {
            machine::run(&plan)
        } else {
            outer::run(&plan)
        }
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("verify: {error:#}");
            ExitCode::FAILURE
        }
    }
}
