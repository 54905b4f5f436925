//! Counting checks.

use std::process::{Command, ExitCode};

use crate::command;

/// Passed, failed and skipped checks, over all suites.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// What failed, and why: said again at the end, where a reader of a long log looks first.
    reports: Vec<String>,
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
        self.reports.push(format!("FAIL {what}: {why}"));
        self.failed += 1;
    }

    /// Counts a suite's tests, with what it wrote about those that failed.
    pub(crate) fn suite(&mut self, [passed, failed, skipped]: [usize; 3], reports: Vec<String>) {
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
        self.reports.extend(reports);
    }

    /// Prints what failed, and the sum as the last line, whatever it is.
    pub(crate) fn conclude(&self) -> ExitCode {
        for report in &self.reports {
            println!("\n{report}");
        }
        if self.skipped > 0 {
            println!("{} skipped; the reasons are above", self.skipped);
        }
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
