//! The redirector form of rxce.sys in ntsim: files of 9P servers, opened, listed and read by path through `rdbss.sys`.
//!
//! Each scenario is a machine of its own. They need the images (`cargo xtask build --all`) and diod.

mod bad_servers;
mod files;
mod machine;
mod original;
mod scripted;
mod servers;
mod states;
mod steps;
mod sweep;
mod thousands;

use std::{
    env,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};

/// Tells a child process which scenario to run, over which images.
const SCENARIO: &str = "REDIRECTOR_SCENARIO";
const PROFILE: &str = "REDIRECTOR_PROFILE";

/// A name, and what happens with the images of a profile.
type Scenario = (&'static str, fn(&str) -> Result<()>);

fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    states::ALL
        .iter()
        .chain(files::ALL)
        .chain(thousands::ALL)
        .chain(bad_servers::ALL)
        .chain(steps::ALL)
        .chain(sweep::ALL)
}

fn main() -> ExitCode {
    let Some(name) = env::var_os(SCENARIO) else {
        let trials = ["debug", "release"].into_iter().flat_map(|profile| {
            scenarios().map(move |(name, _)| {
                Trial::test(format!("{profile}::{name}"), move || parent(profile, name))
            })
        });
        return libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code();
    };
    let profile = env::var(PROFILE).unwrap_or_default();
    match child(&name.to_string_lossy(), &profile) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parent(profile: &str, name: &str) -> Result<(), Failed> {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "600"])
        .arg(env::current_exe()?)
        .env(SCENARIO, name)
        .env(PROFILE, profile)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{text}", output.status).into())
}

fn child(name: &str, profile: &str) -> Result<()> {
    let (_, run) = scenarios()
        .find(|(known, _)| *known == name)
        .context("no such scenario")?;
    run(profile)
}
