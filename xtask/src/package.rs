//! `cargo xtask package`: the folder that is installed on Windows, for x64 and ARM64.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    command,
    drivers::{self, Architecture, PRODUCT, Profile},
    setup::{self, Purpose},
    workspace,
};

/// How the package is made.
#[derive(Args)]
pub(crate) struct Options {
    /// Write catalogues of the older version (SHA-1), should Windows refuse the newer one.
    #[arg(long)]
    v1: bool,
}

/// Builds the driver and makes `target/package/{x64,arm64}`. A folder is replaced as a whole, or not at all.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Purpose::Package)?;
    drivers::run(&drivers::Selection::product())?;
    let root = workspace::root();
    for (architecture, name) in [(Architecture::X64, "x64"), (Architecture::Arm64, "arm64")] {
        let output = root.join("target/package").join(name);
        let image = drivers::directory(Profile::Release, architecture).join(PRODUCT);
        let mut packaging =
            Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        packaging
            .current_dir(&root)
            .args(["run", "--quiet", "--package", "packaging", "--"])
            .args(["--architecture", name, "--image"])
            .arg(image.with_extension("sys"))
            .arg("--root")
            .arg(&root)
            .arg("--keys")
            .arg(root.join("target/signing"))
            .arg("--output")
            .arg(&output);
        if options.v1 {
            packaging.arg("--v1");
        }
        command::run(&mut packaging)?;
        println!("  -> {}", workspace::shown(&output));
    }
    Ok(())
}
