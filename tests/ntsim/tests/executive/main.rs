//! The executive and the TDI transports, driven by driver code written as `extern "win64"` functions.
//!
//! One kernel per process: each scenario runs in a process of its own, which must end with the expected exit code and, if it
//! was stopped, say why.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod datagrams;
#[path = "../documented/mod.rs"]
mod documented;
mod endpoints;
mod nt;
mod objects;
mod order;
mod requests;
mod tcp;
mod tdi;
mod udp;
mod unload;
mod waits;

#[expect(
    dead_code,
    reason = "the scenarios here need less of a driver than those of the foundation"
)]
#[path = "../foundation/driver.rs"]
mod driver;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

/// How a scenario must end.
#[derive(Clone, Copy)]
enum End {
    /// Exit code 0.
    Fine,
    /// A bug check whose report contains this.
    Stop(&'static str),
    /// The report of a hang, which contains this.
    Hang(&'static str),
}

/// A scenario: name, end, code.
type Scenario = (&'static str, End, fn());

const VARIABLE: &str = "NTSIM_SCENARIO";
/// What the names of scenarios for a machine without rules end in.
const WITHOUT_RULES: &str = "_without_rules";

fn scenarios() -> Vec<Scenario> {
    [
        waits::SCENARIOS,
        objects::SCENARIOS,
        requests::SCENARIOS,
        tcp::SCENARIOS,
        order::SCENARIOS,
        conformance::SCENARIOS,
        endpoints::SCENARIOS,
        udp::SCENARIOS,
        unload::SCENARIOS,
    ]
    .concat()
}

fn check((name, end, _): Scenario) -> Result<(), Failed> {
    // The limit turns a scenario that never ends into a failure.
    let output = Command::new("timeout")
        .arg("300")
        .arg(std::env::current_exe()?)
        .env(VARIABLE, name)
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (code, wanted) = match end {
        End::Fine => (0, ""),
        End::Stop(wanted) => (99, wanted),
        End::Hang(wanted) => (98, wanted),
    };
    if output.status.code() == Some(code) && text.contains(wanted) {
        return match end {
            End::Fine => Ok(()),
            End::Stop(_) | End::Hang(_) => documented::check("executive", name, &text),
        };
    }
    Err(format!(
        "ended with {}, not {code} and \"{wanted}\":\n{text}",
        output.status
    )
    .into())
}

fn main() -> ExitCode {
    if let Ok(wanted) = std::env::var(VARIABLE) {
        let found = scenarios().into_iter().find(|(name, ..)| *name == wanted);
        let Some((_, _, run)) = found else {
            return ExitCode::FAILURE;
        };
        let rules = if wanted.ends_with(WITHOUT_RULES) {
            ntsim::Rules::empty()
        } else {
            ntsim::Rules::USUAL
        };
        ntsim::boot(ntsim::Options {
            rules,
            driver_stack_bytes: 256 * 1024,
            ..ntsim::Options::default()
        });
        run();
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = scenarios().iter().map(|(name, ..)| *name).collect();
    let trials = scenarios()
        .into_iter()
        .map(|scenario| Trial::test(scenario.0, move || check(scenario)))
        .chain([
            documented::trial("executive", names.clone()),
            conformance::table(names),
        ])
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
