//! Duels of conform.sys on the built rxce.sys under chosen orders of its threads, debug and release.
//!
//! A search is a row of processes: each boots a machine in explore mode, runs so many schedules, and tells where the next
//! one goes on. A process that stops, hangs, or finds something wrong names its schedule, which is run again on a fresh
//! machine for the story. The tests are bounded; `cargo xtask explore` goes on for as long as one likes.

mod child;
mod faults;
mod find;
mod known;
mod long;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use suites::machine::images;

use find::{Found, Job, Way};

/// What the test command explores: the duel, and how.
const SLICE: &[(&str, Way)] = &[
    ("initiate/initiate", Way::exhaustive(1)),
    ("initiate/tear-down", Way::exhaustive(1)),
    ("initiate/remote-release", Way::exhaustive(1)),
    ("initiate/remote-abort", Way::exhaustive(1)),
    ("tear-down/tear-down", Way::exhaustive(1)),
    ("tear-down/remote-release", Way::exhaustive(1)),
    ("tear-down/remote-abort", Way::exhaustive(1)),
    ("tear-down/address-error", Way::exhaustive(1)),
    ("build/initiate", Way::exhaustive(1)),
    ("build/tear-down", Way::exhaustive(1)),
    ("build/remote-abort", Way::exhaustive(1)),
    ("send/tear-down", Way::exhaustive(1)),
    ("send/initiate", Way::exhaustive(0)),
    ("receive/tear-down", Way::exhaustive(1)),
    ("request/tear-down", Way::exhaustive(0)),
    ("query/tear-down", Way::exhaustive(0)),
    ("build/build", Way::exhaustive(1)),
    ("build/tear-down-connection", Way::exhaustive(1)),
    ("connect/tear-down-address", Way::exhaustive(1)),
    ("open/tear-down-transport", Way::exhaustive(1)),
    ("send/initiate", Way::priorities(0xE001, 300)),
    ("request/tear-down", Way::priorities(0xE002, 300)),
    ("query/tear-down", Way::priorities(0xE003, 300)),
    ("tear-down/remote-abort", Way::steps(0xE004, 300)),
    ("send/tear-down", Way::steps(0xE005, 300)),
    ("receive/tear-down", Way::steps(0xE006, 300)),
];

fn main() -> ExitCode {
    let result = if env::var_os(child::IMAGES).is_some() {
        child::run()
    } else if env::var_os(faults::IMAGES).is_some() {
        faults::run()
    } else if env::var_os(long::DUEL).is_some() {
        long::run()
    } else {
        let trials = ["debug", "release"].into_iter().flat_map(trials);
        let trials = trials.chain(faults::trials()).chain(known::trials());
        let trials = trials.collect();
        return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The debug image has the same decisions; a few duels show that it takes them the same way.
const DEBUG: [&str; 3] = ["initiate/tear-down", "build/tear-down", "receive/tear-down"];

fn trials(profile: &'static str) -> impl Iterator<Item = Trial> {
    let wanted =
        move |duel: &str, way: Way| profile != "debug" || (way.ends() && DEBUG.contains(&duel));
    SLICE
        .iter()
        .filter(move |(duel, way)| wanted(duel, *way))
        .map(move |&(duel, way)| {
            Trial::test(format!("{profile}::{duel}::{way}"), move || {
                let found = find::explore(&Job {
                    images: images(profile),
                    duel: duel.to_owned(),
                    way,
                    limit: None,
                })?;
                conclude(profile, duel, way, &found)
            })
        })
}

/// All of it, without a divergence, and in more than one way: otherwise nothing was explored.
fn conclude(profile: &str, duel: &str, way: Way, found: &Found) -> Result<(), Failed> {
    evidence::record(
        evidence::Kind::Explored,
        &format!("{duel} ({profile}, {way})"),
        found.schedules,
    )?;
    if found.diverged != 0 {
        return Err(format!(
            "{} schedules did not come again as they were",
            found.diverged
        )
        .into());
    }
    if way.ends() && !found.exhausted {
        return Err("the search did not come to its end".into());
    }
    if found.schedules < 10 {
        return Err("hardly anything was explored".into());
    }
    Ok(())
}
