//! `cargo xtask mount`: the tree of a 9P server in a directory of this host, through the Windows redirector.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{
    artefacts::{self, Architecture, Profile},
    command,
    drivers::{self, Selection},
    setup::{self, Purpose},
};

/// What to show, and where.
#[derive(Args)]
pub(crate) struct Options {
    /// An empty directory of this host.
    directory: PathBuf,
    /// A 9P2000.L server that runs: an IPv4 address and a port.
    #[arg(long, value_name = "HOST:PORT")]
    server: String,
    /// The tree that the server exports, as it names it.
    #[arg(long, value_name = "TREE")]
    export: String,
    /// The numeric user (default: the redirector's anonymous one).
    #[arg(long, value_name = "UID")]
    user: Option<u32>,
}

/// Builds, then runs the host program `mount` until the directory is unmounted, or Ctrl-C.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Mount)?;
    drivers::run(&Selection::release())?;

    let image = artefacts::directory(Profile::Release, Architecture::X64)
        .join("redirector")
        .join("rxce.sys");
    let mut mount = command::cargo();
    mount
        .args(["run", "--quiet", "--package", "suites", "--bin", "mount"])
        .arg("--")
        // The program runs in the project's root; the name was given elsewhere.
        .arg(std::path::absolute(&options.directory)?)
        .args(["--server", &options.server])
        .args(["--export", &options.export])
        .arg("--rxce")
        .arg(image);
    if let Some(user) = options.user {
        mount.args(["--user", &user.to_string()]);
    }
    command::run(&mut mount)
}
