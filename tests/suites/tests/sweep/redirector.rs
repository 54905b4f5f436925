//! Some of the scenarios over the engine in the redirector form: its code is the same, its image another one.

use std::{path::PathBuf, sync::OnceLock};

use anyhow::{Context as _, Result};
use libtest_mimic::{Failed, Trial};

use crate::{Scenario, run_child};

/// What stands for the release image of this form in place of a profile.
pub(crate) const FORM: &str = "redirector";

/// One of each kind: parents, circuits, their ends, data both ways, several transports.
const SCENARIOS: [&str; 7] = [
    "addresses on every kind of provider",
    "circuits, connects later",
    "initiate, RELEASE later",
    "torn down with a send and a receive pending",
    "sends, later",
    "data that the engine fetches itself",
    "all of three, connects later",
];

/// The folder with the images, made once.
pub(crate) fn images() -> Result<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sweep-redirector");
        suites::machine::with_redirector("release", &folder).ok()?;
        Some(folder)
    });
    folder
        .clone()
        .context("no images: `cargo xtask build --all`")
}

/// A test for each of them.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &'static str| Trial::test(format!("{FORM}::{name}"), move || run(name));
    SCENARIOS.map(trial).into()
}

fn run(name: &str) -> Result<(), Failed> {
    let listed = run_child(FORM, "list")?;
    let index = listed.lines().position(|line| line == name);
    let index = index.ok_or_else(|| format!("there is no scenario {name:?}"))?;
    Scenario::new(FORM, name, index.to_string())
        .result()
        .map(drop)
}
