//! RDBSS in ntsim, before and apart from the product: `memrdr.sys`, a mini-redirector over memory, is started, its files
//! are opened, read and listed by path, and it breaks each rule of RDBSS once.
//!
//! Each scenario is a machine of its own. It needs the driver's image (`cargo xtask build`).

mod machine;
mod programs;
mod rules;
mod scenarios;

use std::{
    env,
    process::{Command, ExitCode, Output},
};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use memrdr_ioctl::RULES;

/// Tells a child process what to do: a scenario's name, or a rule's.
const TASK: &str = "RDBSS_TASK";
/// And over which image of the driver: `debug` or `release`.
const PROFILE: &str = "RDBSS_PROFILE";
/// The scenario that needs FUSE.
const PROGRAMS: &str = "linux_programs_see_the_files";

fn main() -> ExitCode {
    if let Some(task) = env::var_os(TASK) {
        return match child(&task.to_string_lossy()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let why_not = suites::mount::is_possible().err();
    if let Some(error) = &why_not {
        println!("NOT RUN {PROGRAMS}: cannot open /dev/fuse: {error}");
    }
    let of_profile = |profile: &'static str| {
        let scenario = move |name: &'static str| {
            Trial::test(format!("{profile}::{name}"), move || {
                succeeds(profile, name)
            })
        };
        let scenarios = scenarios::ALL.iter().map(move |(name, _)| scenario(name));
        let programs = scenario(PROGRAMS).with_ignored_flag(why_not.is_some());
        let rules = RULES.iter().map(move |rule| {
            Trial::test(format!("{profile}::rule: {}", rule.name), move || {
                let output = run(profile, rule.name)?;
                let report = String::from_utf8_lossy(&output.stderr);
                rules::judge(rule, output.status.code(), &report)
                    .map_err(|why| Failed::from(format!("{why}: {}\n{report}", output.status)))
            })
        });
        scenarios.chain(rules).chain([programs])
    };
    let table = Trial::test("docs: the table of rules is up to date", || {
        rules::check_table().map_err(|error| format!("{error:#}").into())
    });
    let trials = ["debug", "release"]
        .into_iter()
        .flat_map(of_profile)
        .chain([table])
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn succeeds(profile: &str, name: &str) -> Result<(), Failed> {
    let output = run(profile, name)?;
    let report = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{}\n{report}", output.status).into())
    }
}

fn run(profile: &str, task: &str) -> Result<Output> {
    Command::new("timeout")
        .args(["--kill-after=5", "600"])
        .arg(env::current_exe()?)
        .env(TASK, task)
        .env(PROFILE, profile)
        .output()
        .context("cannot start a machine")
}

fn child(task: &str) -> Result<()> {
    if RULES.iter().any(|rule| rule.name == task) {
        return rules::break_rule(task);
    }
    if task == PROGRAMS {
        return programs::see_the_files();
    }
    let (_, scenario) = scenarios::ALL
        .iter()
        .find(|(name, _)| *name == task)
        .context("no such scenario")?;
    scenario()
}
