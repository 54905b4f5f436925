//! `cargo xtask rxcectl …` and `cargo xtask conformance …`: the commands of rxcectl, in the simulated kernel.
//!
//! The command line is rxcectl's own. It is parsed here as well, so that nothing is built for a wrong one.

use std::{
    env,
    ffi::OsString,
    io,
    process::{Command, ExitCode},
};

use ::rxcectl::{Arguments, HELP};
use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    artefacts::{self, Architecture, Profile},
    command,
};

/// What rxcectl is given.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// The command line of rxcectl.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENT"
    )]
    arguments: Vec<OsString>,
}

/// Builds the optimised images, which are those that ship, and runs a command; `before` goes in front of the arguments.
pub(crate) fn run(before: &[&str], options: &Options) -> Result<ExitCode> {
    let arguments: Vec<String> = before
        .iter()
        .map(|word| (*word).to_owned())
        .chain(
            options
                .arguments
                .iter()
                .map(|word| word.to_string_lossy().into_owned()),
        )
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match Arguments::parse(&words) {
        Ok(parsed) if parsed.command == ::rxcectl::Command::Help => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        Ok(_) => {}
        Err(problem) => {
            eprintln!("rxcectl: {problem}");
            return Ok(ExitCode::from(problem.code() as u8));
        }
    }
    // Another process, so that its output goes where it is not taken for rxcectl's.
    let mut build = Command::new(env::current_exe().context("cannot find this program")?);
    build.args(["build", "--release"]);
    for package in ["rxce", "conform", "p9probe"] {
        build.args(["--package", package]);
    }
    command::run(build.stdout(io::stderr()))?;
    let mut rxcectl = command::cargo();
    rxcectl
        .args(["run", "--quiet", "--package", "suites"])
        .args(["--bin", "rxcectl-ntsim", "--"])
        .args(&arguments)
        .env(
            "RXCECTL_IMAGES",
            artefacts::directory(Profile::Release, Architecture::X64),
        );
    let status = rxcectl
        .status()
        .with_context(|| format!("cannot start `{}`", command::typed(&rxcectl)))?;
    match status.code() {
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        None => bail!("`{}` died ({status})", command::typed(&rxcectl)),
    }
}
