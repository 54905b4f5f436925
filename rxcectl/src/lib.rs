//! The commands of `rxcectl`, apart from the machine they run on.
//!
//! Everything here is written against [`System`], of which there are two: the Windows front end (`rxcectl.exe`, in
//! `rxcectl/windows`) and the one of the simulated kernel (in `tests/suites`). So both run the very same commands.
//!
//! ```text
//! system      what a command needs of its machine
//! arguments   the command line
//! problem     why a command ended early: a text, an exit code
//! status      what an NTSTATUS means to the reader
//! driver      the drivers that are driven; opening their devices, and what to do when that fails
//! conformance lists the vectors of conform.sys and runs them
//! probe       the control interface of p9probe.sys, typed
//! session     a session with a server, by p9probe.sys
//! list, read, cycles, counters
//!             what is done in one
//! json        a record as a JSON document
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arguments;
mod conformance;
mod counters;
mod cycles;
mod driver;
mod json;
mod list;
mod probe;
mod problem;
mod read;
mod session;
mod status;
mod system;

pub use arguments::{Arguments, Command, HELP};
pub use driver::Driver;
pub use list::mode;
pub use probe::Probe;
pub use problem::{ExitCode, Problem};
pub use status::NtStatus;
pub use system::{Device, NewFile, System};

/// Runs a command line, without the program's own name. Whatever went wrong was told on the error stream.
pub fn run<S: System>(system: &mut S, arguments: &[&str]) -> ExitCode {
    let result = match Arguments::parse(arguments) {
        Ok(arguments) => execute(system, &arguments),
        Err(problem) => Err(problem),
    };
    match result {
        Ok(code) => code,
        Err(problem) => {
            system.complain(&alloc::format!("rxcectl: {}\n", problem.text()));
            problem.code()
        }
    }
}

/// Carries out a command that was parsed already.
///
/// # Errors
///
/// What went wrong, for the reader; nothing was told yet.
pub fn execute<S: System>(system: &mut S, arguments: &Arguments<'_>) -> Result<ExitCode, Problem> {
    match &arguments.command {
        Command::Help => {
            system.print(HELP)?;
            Ok(ExitCode::Done)
        }
        Command::Version => {
            system.print(concat!("rxcectl ", env!("CARGO_PKG_VERSION"), "\n"))?;
            Ok(ExitCode::Done)
        }
        Command::Conformance(options) => conformance::run(system, options, arguments.json),
        Command::List(server, path) => list::run(system, server, path, arguments.json),
        Command::Read(server, path, output) => {
            read::run(system, server, path, *output, arguments.json)
        }
        Command::Cycles(server, count) => cycles::run(system, server, *count, arguments.json),
        Command::Counters => counters::run(system, arguments.json),
    }
}
