//! Machines in processes of their own, and how they end.

use std::{
    env,
    fmt::{self, Display, Formatter},
    process::{Command, ExitCode, Output},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use mutants::Mutant;
use ntsim::{Driver, Rules};

use suites::{
    conform::{self, Images, Machine},
    machine,
    watchdog::{self, EXIT_HANGS},
};

use crate::unload::{self, Place};

/// Tells a child process what to do: `list`, or the numbers of vectors.
const TASK: &str = "MUTANTS_TASK";
/// Tells a child process the number of the defect.
const NUMBER: &str = "MUTANTS_NUMBER";
/// The routine of the image that plants a defect.
const SELECT: &str = "RxcexSelectMutant";
/// Real time that a vector gets: with a defect, it may spin for ever.
const LIMIT: Duration = Duration::from_secs(15);
/// Real time that a vector gets on a machine without a defect.
const LONG_LIMIT: Duration = Duration::from_secs(180);
/// How many numbers in front of those of the vectors are places of [`unload`].
const UNLOADS: u32 = 2;
const _: () = assert!(Place::ALL.len() == UNLOADS as usize);
/// Begins the line of a vector that passed.
const PASSED: &str = "passed ";

/// How a vector found a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It says so.
    Failed,
    /// The machine was stopped with this code.
    Stop(u32),
    /// No thread could go on.
    Hang,
    /// It went on for ever.
    NoEnd,
}

impl Display for How {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("failed"),
            Self::Stop(code) => write!(f, "stop 0x{code:X}"),
            Self::Hang => f.write_str("hang"),
            Self::NoEnd => f.write_str("no end"),
        }
    }
}

impl How {
    /// Reads what [`Display`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "failed" => Some(Self::Failed),
            "hang" => Some(Self::Hang),
            "no end" => Some(Self::NoEnd),
            _ => {
                let code = text.strip_prefix("stop 0x")?;
                Some(Self::Stop(u32::from_str_radix(code, 16).ok()?))
            }
        }
    }

    /// How a process ended that did not succeed.
    fn of(output: &Output) -> Result<Self> {
        const STOPPED: i32 = ntsim::stop::EXIT_CODE;
        const HANG: i32 = 98;
        let report = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(1) => Ok(Self::Failed),
            Some(HANG) => Ok(Self::Hang),
            Some(EXIT_HANGS) => Ok(Self::NoEnd),
            Some(STOPPED) => {
                let code = report
                    .split_once("*** STOP 0x")
                    .and_then(|(_, rest)| rest.get(..8))
                    .and_then(|code| u32::from_str_radix(code, 16).ok());
                Ok(Self::Stop(code.context("a stop without a code")?))
            }
            _ => bail!("{}: {report}", output.status),
        }
    }
}

/// Does the task of a child process, if this is one.
pub(crate) fn child() -> Option<ExitCode> {
    let task = env::var(TASK).ok()?;
    Some(match work(&task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn work(task: &str) -> Result<()> {
    let number: u32 = env::var(NUMBER)?.parse()?;
    let images = Images {
        rxce: machine::images("mutants").join("rxce.sys"),
        conform: machine::images("release").join("conform.sys"),
    };
    let plant = |rxce: &Driver| {
        let planted = rxce.call_export(SELECT, &[number.into()]);
        // The upper half of the register is not the routine's.
        let planted = planted.map(|answer| answer & u64::from(u32::MAX));
        ensure!(planted == Some(1), "{SELECT}({number}): {planted:?}");
        Ok(())
    };
    let limit = if number == 0 { LONG_LIMIT } else { LIMIT };
    if let Some(place) = place_of(task) {
        watchdog::start_with(limit);
        let exchange = machine::images("release").join("exchange.sys");
        return unload::run(place, &images.rxce, &exchange, plant);
    }
    conform::run(&images, Rules::USUAL, limit, plant, |machine| match task {
        "list" => list(machine),
        numbers => vectors_of(machine, numbers),
    })
}

/// The place of a task that is one of [`unload`].
fn place_of(task: &str) -> Option<Place> {
    let number: usize = task.parse().ok()?;
    Some(Place::ALL.get(number)?.1)
}

fn list(machine: &Machine) -> Result<()> {
    for listed in machine.list()? {
        println!("{}", listed.id);
    }
    Ok(())
}

fn vectors_of(machine: &Machine, numbers: &str) -> Result<()> {
    for number in numbers.split(',') {
        let number: u32 = number.parse()?;
        machine.vector(number.saturating_sub(UNLOADS))?;
        println!("{PASSED}{number}");
    }
    Ok(())
}

fn run(mutant: Option<Mutant>, task: &str) -> Result<Output> {
    let number = mutant.map_or(0, Mutant::number);
    Command::new(env::current_exe()?)
        .env(TASK, task)
        .env(NUMBER, number.to_string())
        .output()
        .context("cannot start a machine")
}

fn listed(vectors: &[u32]) -> String {
    let numbers: Vec<String> = vectors.iter().map(u32::to_string).collect();
    numbers.join(",")
}

fn report(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    format!("{out}{err}")
}

/// The names of all that can be let loose, in the order of their numbers.
pub(crate) fn vectors() -> Result<Vec<String>> {
    let output = run(None, "list")?;
    ensure!(output.status.success(), "{}", report(&output));
    let unloads = Place::ALL.map(|(name, _)| name.to_owned());
    let vectors = String::from_utf8_lossy(&output.stdout);
    Ok(unloads
        .into_iter()
        .chain(vectors.lines().map(str::to_owned))
        .collect())
}

/// Runs one vector against a defect; how it found it, and what was printed.
pub(crate) fn one(mutant: Option<Mutant>, vector: u32) -> Result<(Option<How>, String)> {
    several(mutant, &[vector])
}

/// Vectors share a machine; an unload has one of its own.
fn machines(numbers: &[u32]) -> impl Iterator<Item = &[u32]> {
    numbers.chunk_by(|one, next| *one >= UNLOADS && *next >= UNLOADS)
}

/// Runs vectors, one after the other, until one finds the defect; how, and what was printed.
pub(crate) fn several(mutant: Option<Mutant>, vectors: &[u32]) -> Result<(Option<How>, String)> {
    let mut text = String::new();
    for machine in machines(vectors) {
        let output = run(mutant, &listed(machine))?;
        text.push_str(&report(&output));
        if !output.status.success() {
            return Ok((Some(How::of(&output)?), text));
        }
    }
    Ok((None, text))
}

/// Runs vectors against a defect, one after the other, until one finds it: that one, by its place in the list.
pub(crate) fn until_found(mutant: Mutant, vectors: &[u32]) -> Result<Option<(usize, How)>> {
    let mut before = 0;
    for machine in machines(vectors) {
        let output = run(Some(mutant), &listed(machine))?;
        if !output.status.success() {
            let passed = String::from_utf8_lossy(&output.stdout)
                .lines()
                .filter(|line| line.starts_with(PASSED))
                .count();
            // After the last one it is the end of the machine that found it.
            let culprit = before + passed.min(machine.len().saturating_sub(1));
            return Ok(Some((culprit, How::of(&output)?)));
        }
        before += machine.len();
    }
    Ok(None)
}
