//! All vectors, by the same program, in ntsim and on Wine.

use std::{process::Command, sync::PoisonError, time::Duration};

use anyhow::{Context as _, Result, ensure};
use wine::Session;

use super::{
    Bench, PROFILE, built, compare,
    known::KNOWN,
    place, place_on_shim,
    table::{self, Vector, Verdict},
};

/// The program, for Wine.
pub(crate) const PROGRAM: &str = r"C:\rxcectl.exe";
/// The drivers of one process: their group.
const GROUP: &str = "Network";
/// What all vectors may take on Wine. They take half a minute; most of it they wait.
const LIMIT: Duration = Duration::from_secs(900);
/// Least number of vectors that must pass on Wine: a kernel on which nothing is possible agrees with any.
const LEAST: usize = 120;
/// Least number of vectors whose callbacks are compared.
const LEAST_HISTORIES: usize = 40;

/// Both tables.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) ntsim: Vec<Vector>,
    pub(crate) wine: Vec<Vector>,
}

impl Tables {
    /// The tables of this run, which the first caller makes.
    pub(crate) fn of(bench: &Bench) -> Result<Self> {
        let mut slot = bench.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(Self {
                ntsim: in_ntsim()?,
                wine: bench.with_session(on_wine)?,
            });
        }
        slot.clone().context("the tables were made")
    }

    /// How many vectors passed on Wine.
    pub(crate) fn passed_on_wine(&self) -> usize {
        self.wine
            .iter()
            .filter(|vector| vector.verdict == Verdict::Passed)
            .count()
    }
}

/// The tables agree, but for what is known.
pub(crate) fn agree(bench: &Bench) -> Result<()> {
    let tables = Tables::of(bench)?;
    let found = compare::differences(&tables.ntsim, &tables.wine);
    let faults = compare::faults(&found, KNOWN);
    ensure!(faults.is_empty(), "{faults}");
    ensure!(
        tables.passed_on_wine() >= LEAST,
        "only {} vectors passed on Wine",
        tables.passed_on_wine()
    );
    let histories = compare::compared_histories(&tables.ntsim, &tables.wine);
    ensure!(
        histories >= LEAST_HISTORIES,
        "the callbacks of only {histories} vectors were compared"
    );
    Ok(())
}

/// The comparison sees tables that differ.
pub(crate) fn differ(bench: &Bench) -> Result<()> {
    compare::proof(&Tables::of(bench)?.ntsim).map_err(anyhow::Error::msg)
}

fn in_ntsim() -> Result<Vec<Vector>> {
    let told = Command::new(env!("CARGO_BIN_EXE_rxcectl-ntsim"))
        .args(["conformance", "--json", "--repeat", "3"])
        .env("RXCECTL_IMAGES", suites::machine::images(PROFILE))
        .output()
        .context("cannot start rxcectl-ntsim")?;
    let text = String::from_utf8_lossy(&told.stdout);
    // A failed vector makes the status a failure too; its line says more. A report that is cut off is explained on the other stream.
    let runs = table::runs(&text)
        .with_context(|| format!("{}: {}", told.status, String::from_utf8_lossy(&told.stderr)))?;
    Ok(compare::without_races(runs))
}

/// Puts rxcectl.exe in place.
pub(crate) fn place_program(session: &Session) -> Result<()> {
    place(&session.drive().join("rxcectl.exe"), &built("rxcectl.exe")?)
}

fn on_wine(session: &Session) -> Result<Vec<Vector>> {
    place_program(session)?;
    for driver in ["rxce", "conform"] {
        place_on_shim(session, driver)?;
        session.create_driver(driver, GROUP)?;
    }
    let before = session.accidents().len();
    session.start_service("rxce")?;
    session.start_service("conform")?;
    let told = session.run(PROGRAM, ["conformance", "--json"], LIMIT);
    for driver in ["conform", "rxce"] {
        session.stop_service(driver)?;
        session.delete_service(driver)?;
    }
    let accidents = session.accidents();
    ensure!(
        accidents.len() == before,
        "Wine reports accidents: {:?}",
        accidents.get(before..)
    );
    let told = told?;
    table::read(&told.output).with_context(|| format!("{}\n{}", told.status, session.log()))
}
