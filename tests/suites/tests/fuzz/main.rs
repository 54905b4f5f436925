//! Fuzzing: hostile programs for the built rxce.sys in ntsim, hostile bytes for the pure code of the engine.
//!
//! Here each target runs a fixed number of inputs from a fixed seed, after the regressions, which are inputs that once
//! found something. `cargo xtask fuzz` goes on with fresh seeds, makes what it finds small, and saves it as a regression.
//!
//! `target` says what programs consist of, `program` writes them, `machine` runs them in processes of their own, `shrink`
//! makes them small, `listing` is how people read and keep them. `pure` runs inputs for the engine's pure code, which
//! `rules` judges. `long` is the endless form.

use std::{env, path::Path, process::ExitCode};

use evidence::Kind;
use libtest_mimic::{Arguments, Failed, Trial};

mod listing;
mod long;
mod machine;
mod program;
mod pure;
mod rules;
mod shrink;
mod target;

/// Programs per target and form of the image in the test command.
const PROGRAMS: u64 = 150;
/// Inputs per pure target in the test command.
const INPUTS: u64 = 8_000;
/// Where every input of the test command comes from.
const SEED: u64 = 0xF022_0001;

fn main() -> ExitCode {
    let result = if let Some(programs) = env::var_os(machine::PROGRAMS) {
        machine::child(Path::new(&programs))
    } else if let Ok(limit) = env::var(long::LIMIT) {
        long::run(&limit)
    } else {
        return libtest_mimic::run(&Arguments::from_args(), trials()).exit_code();
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("listings come back as they went", || {
            listing::round_trip(SEED);
            Ok(())
        }),
        Trial::test("regressions", || report(long::regressions())),
    ];
    for target in pure::TARGETS {
        let name = format!("engine: {}", target.name);
        trials.push(Trial::test(name, || {
            report(pure::run(target, SEED, INPUTS))?;
            count(target.name, INPUTS, "pure code of the engine")
        }));
    }
    for profile in ["debug", "release"] {
        for target in target::TARGETS {
            let name = format!("{profile}: {}", target.name);
            trials.push(Trial::test(name, move || {
                let counted = long::batch(target, profile, SEED, PROGRAMS);
                let counted = report(counted)?;
                at_work(target, &counted)?;
                let name = format!("{}, {profile} image", target.name);
                count(&name, PROGRAMS, &counted.to_string())
            }));
        }
    }
    trials
}

fn report<T>(result: anyhow::Result<T>) -> Result<T, Failed> {
    result.map_err(|error| Failed::from(format!("{error:#}")))
}

fn count(name: &str, executions: u64, note: &str) -> Result<(), Failed> {
    evidence::record_with_note(Kind::Fuzzed, name, executions, note)?;
    Ok(())
}

/// Programs that did nothing have shown nothing.
fn at_work(target: &target::Target, counted: &machine::Counts) -> Result<(), Failed> {
    for &needed in target.needs {
        if counted.0[needed as usize] < PROGRAMS {
            return Err(Failed::from(format!("too little happened: {counted}")));
        }
    }
    Ok(())
}
