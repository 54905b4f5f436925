//! `cargo xtask verify`: any driver in the simulated kernel, under rules chosen in the words of `verifier.exe`.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{command, workspace};

/// What the program `verify` is told; it has the options.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// The driver, and under which rules: `--help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Builds the program and runs it where the user is, so that paths mean what they say. Nothing has to be installed for it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut verify = command::cargo();
    verify
        .current_dir(std::env::current_dir().context("there is no current folder")?)
        .args(["run", "--quiet", "--package", "verify", "--manifest-path"])
        .arg(workspace::root().join("Cargo.toml"))
        .arg("--")
        .args(&options.words);
    let status = verify
        .status()
        .with_context(|| format!("cannot start `{}`", command::typed(&verify)))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
