//! rxcectl, with the simulated kernel for a machine: what its commands print and return, and what it says where a driver cannot be
//! used. `rxcectl.exe` runs the same commands.
//!
//! It needs the driver images (`cargo xtask build`), diod, and mingw-w64's headers; where one is missing the tests fail and say so.

#[path = "rxcectl/inside.rs"]
mod inside;
#[path = "rxcectl/outside.rs"]
mod outside;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Ok(task) = env::var(inside::TASK) {
        return match inside::child(&task) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let outside = outside::TESTS
        .iter()
        .map(|(name, test)| Trial::test(*name, test));
    let inside = inside::TESTS
        .iter()
        .map(|(name, _)| Trial::test(*name, || inside::parent(name)));
    let trials = outside.chain(inside).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
