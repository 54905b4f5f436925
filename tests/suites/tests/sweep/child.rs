//! The machine in which one scenario is swept.

use std::{collections::BTreeMap, env, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use conform_ioctl::{
    Answer, Answers, DEVICE_NAME, INTERFACE_VERSION, IOCTL_SCENARIOS, IOCTL_SWEEP, ListHeader,
    Routine, ScenarioInfo, SweepRequest, SweepResult, SweepWay, Verdict,
};
use ntsim::{File, Options, TraceMode, fault};

use crate::{ANSWERS, FAILED, POINTS, TWICE, start};

/// Real time that one scenario gets.
const LIMIT: Duration = Duration::from_secs(900);
/// More points than any scenario has.
const MOST: u32 = 1000;
/// How failing requests end, in turn: STATUS_LINK_FAILED, _INSUFFICIENT_RESOURCES, _CONNECTION_ABORTED, _CANCELLED and
/// _IO_TIMEOUT.
const STATUSES: [u32; 5] = [
    0xC000_013E,
    0xC000_009A,
    0xC000_0241,
    0xC000_0120,
    0xC000_00B5,
];

/// Boots and does the task.
pub(crate) fn run(images: &Path, task: &str) -> Result<()> {
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!(
            "the machine hangs: no result in {} s of real time",
            LIMIT.as_secs()
        );
        std::process::exit(97);
    });
    ntsim::boot(Options {
        trace: TraceMode::Ring(2000),
        ..Options::default()
    });
    if task == "start" {
        return start::sweep(images);
    }
    let load = |name: &str| suites::machine::start(&images.join(name));
    let (rxce, conform) = (load("rxce.sys")?, load("conform.sys")?);
    let device = File::open(DEVICE_NAME).with_context(|| format!("cannot open {DEVICE_NAME}"))?;
    let result = match task {
        "list" => list(&device),
        index => sweep(&device, index.parse()?, env::var_os(TWICE).is_some()),
    };
    for routine in fault::failed_by_routine(rxce.image()).keys() {
        println!("{FAILED} {routine}");
    }
    // After a failure nothing is torn down, and an unload would only say so.
    result?;
    drop(device);
    conform.unload().context("conform.sys")?;
    rxce.unload().context("rxce.sys")?;
    Ok(())
}

fn list(device: &File) -> Result<()> {
    let room = ListHeader::SIZE + 256 * ScenarioInfo::SIZE;
    let output = device
        .ioctl(IOCTL_SCENARIOS, &[], room)
        .context("IOCTL_SCENARIOS")?;
    let header = ListHeader::from_bytes(&output).context("the list has no header")?;
    ensure!(
        header.version == INTERFACE_VERSION,
        "conform.sys has interface version {}",
        header.version
    );
    let records = output
        .get(ListHeader::SIZE..)
        .unwrap_or_default()
        .chunks_exact(ScenarioInfo::SIZE);
    ensure!(
        records.len() == header.count as usize,
        "{} of {} scenarios listed",
        records.len(),
        header.count
    );
    for record in records {
        let info = ScenarioInfo::from_bytes(record).context("a record is malformed")?;
        println!("{}", info.name.as_str());
    }
    Ok(())
}

/// Sweeps one scenario in every way. After a failure the call is repeated and the scenario goes on; if `twice`, there is also
/// a run in which everything is torn down instead.
fn sweep(device: &File, scenario: u32, twice: bool) -> Result<()> {
    let mut answers = Answers::none();
    let nothing = SweepRequest {
        scenario,
        way: SweepWay::Nothing,
        nth: 0,
        status: 0,
        again: false,
    };
    let mut once = |request: SweepRequest| -> Result<bool> {
        let result = run_once(device, &request)?;
        if matches!(request.way, SweepWay::AtOnce | SweepWay::Later) {
            // What a routine passes on from a request says nothing about its own need of memory.
            return Ok(result.hit);
        }
        for routine in Routine::ALL {
            for answer in Answer::ALL {
                if result.answers.has(routine, answer) {
                    answers.note(routine, answer);
                }
            }
        }
        Ok(result.hit)
    };
    once(nothing)?;
    let mut points = BTreeMap::new();
    for (way, kind) in [
        (SweepWay::Call, "kernel calls"),
        (SweepWay::NewStack, "call stacks"),
        (SweepWay::AtOnce, "requests at once"),
        (SweepWay::Later, "requests later"),
    ] {
        let statuses = STATUSES.into_iter().cycle();
        for (nth, status) in (1..=MOST).zip(statuses) {
            let request = SweepRequest {
                scenario,
                way,
                nth,
                status: status.cast_signed(),
                // A stack fails once: there is no second run.
                again: way != SweepWay::NewStack,
            };
            if !once(request)? {
                break;
            }
            ensure!(nth < MOST, "{way:?}: no end of points");
            *points.entry(kind).or_insert(0_u64) += 1;
            if request.again && twice {
                once(SweepRequest {
                    again: false,
                    ..request
                })?;
            }
        }
        once(nothing)?;
    }
    for (kind, count) in points {
        println!("{POINTS} {kind} {count}");
    }
    let bytes = answers.to_bytes().map(|byte| format!("{byte:02x}"));
    println!("{ANSWERS} {}", bytes.join(" "));
    Ok(())
}

fn run_once(device: &File, request: &SweepRequest) -> Result<SweepResult> {
    let output = device
        .ioctl(IOCTL_SWEEP, &request.to_bytes(), SweepResult::SIZE)
        .context("IOCTL_SWEEP")?;
    let result = SweepResult::from_bytes(&output).context("the result is malformed")?;
    let text = result.text.as_str();
    match result.verdict {
        Verdict::Passed => Ok(result),
        Verdict::Failed => bail!("{request:?}: {text}"),
        Verdict::NotPossible => bail!("{request:?}: not possible here, which must not be: {text}"),
    }
}
