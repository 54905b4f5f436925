//! `cargo xtask fuzz`: hostile inputs with fresh seeds, for as long as one likes.

use anyhow::Result;
use clap::Args;

use crate::{
    endless::{self, Span},
    properties,
};

/// What, how long, and from which seed.
#[derive(Args)]
pub(crate) struct Options {
    /// One target alone (default: all of them in turn); a wrong name lists them. `images` changes driver files for ntsim's loader;
    /// `properties` runs the property tests of the packages that need no kernel. These two are not among all of them.
    target: Option<String>,
    #[command(flatten)]
    span: Span,
}

/// Builds, then runs the suite `fuzz` in its endless form.
pub(crate) fn run(options: &Options) -> Result<()> {
    let target = options.target.as_deref();
    if target == Some("properties") {
        return properties::run(&options.span);
    }
    let target = target.map(|target| ("FUZZ_TARGET", target));
    // The loader of ntsim: the program that loads any driver has this suite.
    let suite = if options.target.as_deref() == Some("images") {
        ["verify", "images"]
    } else {
        ["suites", "fuzz"]
    };
    endless::run(suite, &options.span, ["FUZZ_LIMIT", "FUZZ_SEED"], target)
}
