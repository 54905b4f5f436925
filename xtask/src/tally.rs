//! Counting checks.

use std::process::{Command, ExitCode};

use crate::command;

/// Passed and failed checks, over all suites.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Tally {
    /// Counts a check and says so.
    pub(crate) fn pass(&mut self, what: &str) {
        println!("ok   {what}");
        self.passed += 1;
    }

    /// Counts a check that is one of very many.
    pub(crate) fn pass_quietly(&mut self) {
        self.passed += 1;
    }

    /// Counts a failure and says why.
    pub(crate) fn fail(&mut self, what: &str, why: &str) {
        println!("FAIL {what}: {why}");
        self.failed += 1;
    }

    /// Prints the sum as the last line, whatever it is.
    pub(crate) fn conclude(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Counts one command: it passes when it exits with success.
    pub(crate) fn command(&mut self, what: &str, command: &mut Command) {
        match command::run(command) {
            Ok(()) => self.pass(what),
            Err(error) => self.fail(what, &error.to_string()),
        }
    }
}
