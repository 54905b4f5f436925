//! `cargo xtask demo`: the drivers at work, against a real server.

use std::{ffi::OsString, path::PathBuf};

use anyhow::Result;
use clap::Args;

use crate::{
    artefacts::{self, Architecture, Profile},
    command,
    drivers::{self, Selection},
    setup::{self, Purpose},
};

/// What to show.
#[derive(Args)]
pub(crate) struct Options {
    /// A 9P2000.L server that runs already (default: one is started for the demo).
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// The tree that such a server exports, as it names it.
    #[arg(long, value_name = "TREE", requires = "server")]
    export: Option<String>,
    /// The file to read on the server, below the tree.
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Draws the circuit's life as a sequence diagram into this file: .svg, or .html for a page with it.
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Further arguments of the host program; `-- --help` lists them.
    #[arg(last = true)]
    more: Vec<OsString>,
}

/// Builds, then runs the host program `demo`.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    drivers::run(&Selection::release())?;

    // The optimised images: the ones that ship.
    let images = artefacts::directory(Profile::Release, Architecture::X64);
    let mut demo = command::cargo();
    demo.args([
        "run",
        "--quiet",
        "--package",
        "suites",
        "--bin",
        "demo",
        "--",
    ])
    .arg("--rxce")
    .arg(images.join("rxce.sys"))
    .arg("--p9probe")
    .arg(images.join("p9probe.sys"));
    if let Some(server) = &options.server {
        demo.args(["--server", server]);
    }
    if let Some(export) = &options.export {
        demo.args(["--export", export]);
    }
    if let Some(path) = &options.path {
        demo.arg("--path").arg(path);
    }
    if let Some(timeline) = &options.timeline {
        // The program runs in the project's root; the name was given elsewhere.
        demo.arg("--timeline").arg(std::path::absolute(timeline)?);
    }
    demo.args(&options.more);
    command::run(&mut demo)
}
