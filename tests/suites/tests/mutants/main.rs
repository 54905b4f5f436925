//! The defects of the crate `mutants`, one at a time in an image that has them all, against the vectors of conform.sys: each
//! has to be found.
//!
//! docs/mutants.md keeps which vectors find it, and how it showed. A test run lets those vectors loose on the defect again, each in a
//! machine of its own, and on the same image without a defect. `cargo xtask mutants` runs every vector against every defect
//! and writes the page.

#[path = "../peers/client.rs"]
#[expect(dead_code, reason = "the other suite's client has more")]
mod client;
mod matrix;
mod page;
mod process;
#[path = "../service/unload.rs"]
mod unload;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use mutants::Mutant;

use page::Row;
use process::How;

/// Set by `cargo xtask mutants`: `all`, or the names of the defects to run every vector against.
const FULL: &str = "MUTANTS_FULL";
/// Fewest defects: a catalogue that shrinks by accident is no success.
const LEAST: usize = 90;

fn main() -> ExitCode {
    if let Some(code) = process::child() {
        return code;
    }
    if let Ok(which) = env::var(FULL) {
        return match matrix::run(&which) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let trials = match recorded() {
        Ok((rows, vectors)) => trials(rows, vectors),
        Err(error) => {
            let why = format!("{error:#}");
            vec![Trial::test("docs: mutants.md can be used", move || {
                Err(Failed::from(why))
            })]
        }
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What is let loose on the defects: the unloads of the suite `service` that need more than a client can do, then the vectors
/// of the driver. Number by name.
type Vectors = BTreeMap<String, u32>;

/// What the page says, and what the driver has.
fn recorded() -> Result<(Vec<Row>, Vectors)> {
    let vectors = process::vectors()?;
    let numbers = (0..).zip(vectors).map(|(number, id)| (id, number));
    Ok((page::read()?, numbers.collect()))
}

fn trials(rows: Vec<Row>, vectors: Vectors) -> Vec<Trial> {
    let vectors = Arc::new(vectors);
    let mut trials = Vec::new();
    let needed: BTreeSet<String> = rows
        .iter()
        .flat_map(|row| row.killers.iter().map(|(vector, _)| vector.clone()))
        .collect();
    for row in &rows {
        let (row, vectors) = (row.clone(), Arc::clone(&vectors));
        let name = format!("{}: {}", row.mutant.name(), row.mutant.description());
        trials.push(Trial::test(name, move || {
            kills(&row, &vectors).map_err(|error| Failed::from(format!("{error:#}")))
        }));
    }
    let (named, known) = (needed.clone(), Arc::clone(&vectors));
    trials.push(Trial::test(
        "no vector is named that decides by chance",
        move || certain(&named, &known).map_err(|error| Failed::from(format!("{error:#}"))),
    ));
    trials.push(Trial::test("no defect, no failure", move || {
        harmless(&needed, &vectors).map_err(|error| Failed::from(format!("{error:#}")))
    }));
    trials.push(Trial::test("docs: mutants.md is up to date", move || {
        up_to_date(&rows).map_err(|error| Failed::from(format!("{error:#}")))
    }));
    trials
}

/// The recorded vectors find the defect. How it shows depends on which thread comes first, so another way will do.
fn kills(row: &Row, vectors: &Vectors) -> Result<()> {
    ensure!(!row.killers.is_empty(), "no vector finds it");
    for (vector, how) in &row.killers {
        let number = number(vector, vectors)?;
        let (now, report) = process::one(Some(row.mutant), number)?;
        ensure!(
            now.is_some(),
            "{vector} found it by `{how}`, and does not now:\n{report}"
        );
    }
    Ok(())
}

/// The vectors pass on the image without a defect, one after the other in one machine.
fn harmless(needed: &BTreeSet<String>, vectors: &Vectors) -> Result<()> {
    let numbers: Result<Vec<u32>> = needed
        .iter()
        .map(|vector| number(vector, vectors))
        .collect();
    match process::several(None, &numbers?)? {
        (None, _) => Ok(()),
        (Some(how), report) => bail!("{how}:\n{report}"),
    }
}

/// The vectors that chance decides exist, and none of them is recorded.
fn certain(named: &BTreeSet<String>, vectors: &Vectors) -> Result<()> {
    for vector in matrix::BY_CHANCE {
        number(vector, vectors)?;
        ensure!(
            !named.contains(vector),
            "{vector} is recorded, which finds a defect by chance"
        );
    }
    Ok(())
}

fn number(vector: &str, vectors: &Vectors) -> Result<u32> {
    let number = vectors.get(vector).copied();
    number.with_context(|| format!("there is no vector {vector}; `cargo xtask mutants` looks anew"))
}

/// The page is about all defects, in order, and says nothing else.
fn up_to_date(rows: &[Row]) -> Result<()> {
    ensure!(
        Mutant::ALL.len() >= LEAST,
        "only {} defects",
        Mutant::ALL.len()
    );
    let missing: Vec<&str> = Mutant::ALL
        .iter()
        .filter(|mutant| !rows.iter().any(|row| row.mutant == **mutant))
        .map(|mutant| mutant.name())
        .collect();
    ensure!(
        missing.is_empty(),
        "not on the page (`cargo xtask mutants` adds them): {}",
        missing.join(", ")
    );
    page::compare(rows)
}

/// How a defect shows, for the order in which vectors are named: what a vector says itself comes first.
const fn rank(how: How) -> u32 {
    match how {
        How::Failed => 0,
        How::Stop(_) => 1,
        How::Hang => 2,
        How::NoEnd => 3,
    }
}
