//! Tests of the foundation: gate, loader, pool, faults, unload rules.
//!
//! One kernel per process, and a violated rule ends it: each scenario runs in a process of its own, this program again
//! with the scenario's name in the environment. Drivers are assembled here ([`driver`]), so that the loader is tested on
//! files that no toolchain of the project made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../documented/mod.rs"]
mod documented;
mod driver;
mod loader;
mod memory;
mod scenarios;
mod wild;

use libtest_mimic::{Arguments, Failed, Trial};
use std::io::Read as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Real time that a scenario may take.
const LIMIT: Duration = Duration::from_secs(300);

const VARIABLE: &str = "NTSIM_SCENARIO";

/// A scenario and how its process has to end.
struct Scenario {
    name: &'static str,
    run: fn(),
    /// Exit code.
    code: i32,
    /// What standard error has to contain, in any order.
    says: &'static [&'static str],
}

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(VARIABLE) {
        let Some(scenario) = scenarios::ALL.iter().find(|scenario| scenario.name == name) else {
            eprintln!("no scenario {name}");
            return ExitCode::from(2);
        };
        (scenario.run)();
        return ExitCode::SUCCESS;
    }
    if let Ok(task) = std::env::var(wild::VARIABLE) {
        if task.is_empty() {
            wild::print_names();
        } else {
            wild::child(&task);
        }
        return ExitCode::SUCCESS;
    }
    let names = scenarios::ALL.iter().map(|scenario| scenario.name);
    let trials = scenarios::ALL
        .iter()
        .map(|scenario| Trial::test(scenario.name, || check(scenario)))
        .chain([
            documented::trial("foundation", names.collect()),
            Trial::test("no_argument_breaks_the_kernel", wild::every_routine),
            Trial::test("the_example_of_the_page_runs", scenarios::example),
        ])
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn check(scenario: &Scenario) -> Result<(), Failed> {
    let program = std::env::current_exe()?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .env(VARIABLE, scenario.name)
        .stderr(Stdio::piped())
        .spawn()?;
    let mut pipe = child.stderr.take().ok_or("no standard error")?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    });
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if started.elapsed() > LIMIT => {
                child.kill()?;
                break child.wait()?;
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let errors = reader.join().unwrap_or_default();
    let errors = String::from_utf8_lossy(&errors);
    if status.code() != Some(scenario.code) {
        return Err(format!(
            "ended with {} instead of {}\n{errors}",
            status, scenario.code
        )
        .into());
    }
    match scenario.says.iter().find(|text| !errors.contains(**text)) {
        Some(missing) => Err(format!("its report does not say {missing:?}\n{errors}").into()),
        None if scenario.code != 0 => documented::check("foundation", scenario.name, &errors),
        None => Ok(()),
    }
}
