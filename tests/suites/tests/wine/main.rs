//! Wine as a second opinion: the shipped image in its loader, the package by its INF, the vectors compared with those of ntsim.
//!
//! It needs the images (`cargo xtask build --all`) and Wine (`cargo xtask setup`); without Wine its tests are skipped, which is said and
//! counted. One prefix serves all of them. docs/wine.md says what this proves.

mod compare;
mod document;
mod install;
mod known;
mod shipped;
mod table;
mod vectors;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use wine::{Session, Wine};

use vectors::Tables;

/// The image that ships is an optimised one.
const PROFILE: &str = "release";

/// A test that needs a session.
type Test = fn(&Bench) -> Result<()>;

const TESTS: &[(&str, Test)] = &[
    (
        "the_shipped_image_runs_up_to_what_wine_lacks",
        shipped::stops,
    ),
    ("the_package_installs_runs_and_goes", install::life),
    ("the_vectors_agree_with_ntsim", vectors::agree),
    ("a_table_that_differs_is_seen", vectors::differ),
    ("docs: wine.md is up to date", document::is_current),
];

/// What the tests share. They take turns: services of one name are in one prefix.
struct Bench {
    wine: Wine,
    session: Mutex<Option<Session>>,
    tables: Mutex<Option<Tables>>,
}

impl Bench {
    /// Runs `body` with the session, which the first caller starts.
    fn with_session<R>(&self, body: impl FnOnce(&Session) -> Result<R>) -> Result<R> {
        let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
            fs::create_dir_all(parent).context("no place for a prefix")?;
            *slot = Some(Session::start(&self.wine, parent)?);
        }
        body(slot.as_ref().context("a session was started")?)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let (bench, skipped) = match Wine::find() {
        Ok(wine) => (
            Some(Bench {
                wine,
                session: Mutex::default(),
                tables: Mutex::default(),
            }),
            false,
        ),
        Err(why) => {
            println!("SKIPPED, all tests on Wine: {why}");
            (None, true)
        }
    };
    let bench = Arc::new(bench);
    let trials = TESTS
        .iter()
        .map(|(name, test)| {
            let bench = Arc::clone(&bench);
            Trial::test(*name, move || match bench.as_ref() {
                Some(bench) => test(bench).map_err(|error| Failed::from(format!("{error:#}"))),
                None => Err("Wine is not installed".into()),
            })
            .with_ignored_flag(skipped)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Before the process ends: the prefix goes with its session.
    drop(bench);
    conclusion.exit_code()
}

/// The image of a driver as it was built.
fn built(name: &str) -> Result<Vec<u8>> {
    let path = image(name);
    fs::read(&path).with_context(|| {
        format!(
            "cannot read {} (made by `cargo xtask build --all`)",
            path.display()
        )
    })
}

fn image(name: &str) -> PathBuf {
    suites::machine::images(PROFILE).join(name)
}

/// Puts a file in place for a session.
fn place(path: &Path, contents: &[u8]) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

/// Puts the copy of a driver in place that imports from the shim, and the shim.
fn place_on_shim(session: &Session, driver: &str) -> Result<()> {
    let name = format!("{driver}.sys");
    let copy = wine::image::onto_shim(&built(&name)?).with_context(|| name.clone())?;
    place(&session.drivers().join(name), &copy)?;
    place_shim(session)
}

fn place_shim(session: &Session) -> Result<()> {
    let shim = wine::image::SHIM_NAME;
    place(&session.drivers().join(shim), &built(shim)?)
}
