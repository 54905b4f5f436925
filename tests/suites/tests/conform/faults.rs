//! Each vector again, with one fallible kernel call of the engine failing: the first from a call stack that has not failed yet, and
//! so on until there is no new one ("systematic low resources simulation").
//!
//! A vector may fail its expectations then. The machine must not stop or hang, no rule of the transport may be broken, nothing
//! may be left of it, and without a fault the same vector must pass in the same machine afterwards.

use std::{env, sync::Arc, thread, time::Duration};

use anyhow::{Result, bail, ensure};
use conform_ioctl::Verdict;
use libtest_mimic::{Failed, Trial};
use ntsim::{account, fault, image::Image};
use suites::conform::Machine;

use crate::{Vector, run_child};

/// In front of a vector's index in a child's task.
pub(crate) const PREFIX: &str = "faults ";
/// Set for a child process that records the drivers' calls, which takes most of the time.
const RECORD: &str = "CONFORM_RECORD";
/// More call stacks than any vector has.
const MOST: u32 = 400;
/// Real time that what was put off gets to come to its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Vectors that are not run so, and why.
const EXEMPT: &[(&str, &str)] = &[
    ("A1", NO_FIXTURE),
    ("V1", NO_FIXTURE),
    ("B5a", ENDS_THE_BUILD),
    ("B5c", ENDS_THE_BUILD),
    (
        "S6",
        "it leaves while another thread stands at a break that only it ends",
    ),
];
const NO_FIXTURE: &str = "where it fails in the middle it takes nothing down";
const ENDS_THE_BUILD: &str = "the disconnect that fails is what ends the build that it waits for";

/// The trial of a vector.
pub(crate) fn trial(vector: &Arc<Vector>) -> Option<Trial> {
    let profile = vector.form.name;
    // The shipped image: the others ask for memory in the same places.
    if !vector.form.is_shipped() {
        return None;
    }
    if let Some((id, why)) = EXEMPT.iter().find(|(id, _)| *id == vector.id) {
        println!("{id} is not run under faults: {why}");
        return None;
    }
    let vector = Arc::clone(vector);
    let name = format!("{profile}::{} under faults", vector.id);
    Some(Trial::test(name, move || {
        let output = run_child(vector.form, &format!("{PREFIX}{}", vector.index))?;
        let points: u64 = output
            .trim()
            .parse()
            .map_err(|_| Failed::from(format!("the child printed {output:?}")))?;
        let name = format!("vector {} under faults, {profile}", vector.id);
        evidence::record(evidence::Kind::Swept, &name, points)?;
        Ok(())
    }))
}

/// Runs a vector until no call stack is new; prints how many there were.
pub(crate) fn run(machine: &Machine, index: u32) -> Result<()> {
    let engine = machine.engine();
    // To find out why one fails, the drivers' calls are recorded.
    ntsim::trace::set_recording(env::var_os(RECORD).is_some());
    passes(machine, index)?;
    let before = account::counts(Some(engine));
    let mut points = 0_u32;
    loop {
        let failed = fault::failed_stacks(engine);
        fault::fail_new_stack(engine, true);
        let result = machine.ask(index)?;
        fault::fail_new_stack(engine, false);
        let text = result.text.as_str();
        ensure!(
            !text.contains("hangs") && !text.contains("broke a rule"),
            "after {points} points: {text}"
        );
        settle(engine, &before, points, text)?;
        if fault::failed_stacks(engine) == failed {
            break;
        }
        points += 1;
        ensure!(points < MOST, "no end of new call stacks");
    }
    passes(machine, index)?;
    println!("{points}");
    Ok(())
}

/// The vector passes without a fault.
fn passes(machine: &Machine, index: u32) -> Result<()> {
    let result = machine.ask(index)?;
    if result.verdict != Verdict::Passed {
        bail!("without a fault: {}", result.text.as_str());
    }
    Ok(())
}

/// The engine holds what it held before the vector.
fn settle(engine: &Image, before: &account::Counts, point: u32, text: &str) -> Result<()> {
    let began = std::time::Instant::now();
    loop {
        let now = account::counts(Some(engine));
        if now == *before {
            return Ok(());
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "after point {point} ({text}) the engine holds {now}, before it {before}"
        );
        thread::sleep(Duration::from_millis(1));
    }
}
