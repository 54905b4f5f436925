//! Every scenario of conform.sys against the built rxce.sys, debug and release, once for each thing in it that can fail.
//!
//! Each scenario is a machine of its own. It is run with the first fallible kernel call failing, with the second, and so on
//! until none fails any more; the same for calls by their call stack, and for requests at the transport, which fail at once
//! or later. After each failure the call that failed is repeated, must succeed, and the scenario goes on; with the release
//! image, which ships, there is a second run in which everything is torn down instead. How many points that were is printed and kept as evidence.

#[path = "sweep/child.rs"]
mod child;
#[path = "sweep/redirector.rs"]
mod redirector;
#[path = "sweep/start.rs"]
mod start;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::{Arc, OnceLock},
};

use anyhow::{Result, ensure};
use conform_ioctl::{Answer, Answers, Routine};
use libtest_mimic::{Arguments, Failed, Trial};

/// Tells a child process what to do: `list`, `start`, or the index of a scenario.
const TASK: &str = "SWEEP_TASK";
/// Tells a child process where the images are.
const IMAGES: &str = "SWEEP_IMAGES";
/// Set for a child process that runs each point twice: the shipped image's.
const TWICE: &str = "SWEEP_TWICE";
/// Least number of scenarios: a list that shrinks by accident is no success.
const LEAST: usize = 31;
/// Begins a line that tells how many points of one kind there were: `points KIND N`.
const POINTS: &str = "points";
/// Begins a line that tells how often a kernel routine was made to fail: `failed ROUTINE N`.
const FAILED: &str = "failed";
/// Begins the line with the answers, in hexadecimal.
const ANSWERS: &str = "answers";

fn main() -> ExitCode {
    if let Some(task) = env::var_os(TASK) {
        let images = PathBuf::from(env::var_os(IMAGES).unwrap_or_default());
        return match child::run(&images, &task.to_string_lossy()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let trials = ["debug", "release"]
        .into_iter()
        .flat_map(trials)
        .chain(redirector::trials())
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What a scenario's process told.
#[derive(Clone, Default)]
struct Swept {
    points: BTreeMap<String, u64>,
    failed: BTreeSet<String>,
    answers: Answers,
}

/// One scenario of one profile's drivers. Whoever needs its result first runs it.
struct Scenario {
    name: String,
    task: String,
    profile: &'static str,
    result: OnceLock<Result<Swept, Failed>>,
}

impl Scenario {
    fn new(profile: &'static str, name: &str, task: String) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            task,
            profile,
            result: OnceLock::new(),
        })
    }

    fn result(&self) -> Result<Swept, Failed> {
        self.result.get_or_init(|| self.run()).clone()
    }

    fn run(&self) -> Result<Swept, Failed> {
        let output = run_child(self.profile, &self.task)?;
        let swept = parse(&output).ok_or_else(|| format!("the child printed {output:?}"))?;
        let sum: u64 = swept.points.values().sum();
        if sum == 0 {
            return Err("nothing in it can fail".into());
        }
        let kinds: Vec<String> = swept
            .points
            .iter()
            .map(|(kind, points)| format!("{kind} {points}"))
            .collect();
        let name = format!("{}, {}", self.name, self.profile);
        evidence::record_with_note(evidence::Kind::Swept, &name, sum, &kinds.join(", "))?;
        Ok(swept)
    }
}

fn parse(output: &str) -> Option<Swept> {
    let mut swept = Swept::default();
    for line in output.lines() {
        let (word, rest) = line.split_once(' ')?;
        match word {
            POINTS => {
                let (kind, count) = rest.rsplit_once(' ')?;
                swept.points.insert(kind.to_owned(), count.parse().ok()?);
            }
            FAILED => drop(swept.failed.insert(rest.to_owned())),
            ANSWERS => {
                let bytes: Option<Vec<u8>> = rest
                    .split_whitespace()
                    .map(|byte| u8::from_str_radix(byte, 16).ok())
                    .collect();
                swept.answers = Answers::from_bytes(&bytes?)?;
            }
            _ => return None,
        }
    }
    Some(swept)
}

/// One test per scenario, and one for their coverage; if the driver cannot say what it has, that is the one test, and it
/// fails.
fn trials(profile: &'static str) -> Vec<Trial> {
    let listed = run_child(profile, "list").and_then(|text| {
        let mut scenarios = vec![Scenario::new(profile, "start and stop", "start".to_owned())];
        for (index, name) in text.lines().enumerate() {
            scenarios.push(Scenario::new(profile, name, index.to_string()));
        }
        if scenarios.len() < LEAST {
            let count = scenarios.len();
            return Err(format!("only {count} scenarios, at least {LEAST} are expected").into());
        }
        Ok(scenarios)
    });
    let scenarios = match listed {
        Ok(scenarios) => scenarios,
        Err(failed) => {
            let name = format!("{profile}::scenarios");
            return vec![Trial::test(name, move || Err(failed))];
        }
    };
    let mut trials: Vec<Trial> = scenarios
        .iter()
        .map(|scenario| {
            let scenario = Arc::clone(scenario);
            Trial::test(format!("{profile}::{}", scenario.name), move || {
                scenario.result().map(drop)
            })
        })
        .collect();
    let name = format!("{profile}::every routine was called, every fallible kernel call failed");
    trials.push(Trial::test(name, move || {
        coverage(profile, &scenarios).map_err(|error| format!("{error:#}").into())
    }));
    trials
}

/// Routines that cannot fail for memory: what they are documented to need is there before.
const NEED_NO_MEMORY: [Routine; 9] = [
    Routine::CancelConnectRequest,
    Routine::ExCancelConnect,
    Routine::ExQueryCounters,
    Routine::FreeIrp,
    Routine::QueryTransportInformation,
    Routine::TearDownAddress,
    Routine::TearDownConnection,
    Routine::TearDownTransport,
    Routine::TearDownVC,
];

/// Extensions that only copy an event table on the stack, or fill one, around a routine that is swept; and one that is a
/// single registration, whose every kernel call a vector of its own fails.
const NOT_SWEPT: [Routine; 4] = [
    Routine::ExAcceptChainedReceives,
    Routine::ExBuildConnectionOverMultipleTransportsSmallTable,
    Routine::ExBuildConnectionSmallTable,
    Routine::ExGetRoutines,
];

/// The scenarios call every routine, see every routine fail that can, and fail every kernel routine that the image
/// imports and that can fail.
fn coverage(profile: &str, scenarios: &[Arc<Scenario>]) -> Result<()> {
    let mut failed = BTreeSet::new();
    let mut all = Vec::new();
    for scenario in scenarios {
        let swept = scenario.result();
        let swept = swept.map_err(|_| anyhow::anyhow!("{} failed", scenario.name))?;
        failed.extend(swept.failed);
        all.push(swept.answers);
    }
    let swept = |routine: &Routine| !NOT_SWEPT.contains(routine);
    for routine in Routine::ALL.into_iter().filter(swept) {
        let seen = |answer| all.iter().any(|answers| answers.has(routine, answer));
        let called = Answer::ALL.into_iter().any(seen);
        ensure!(called, "no scenario calls {}", routine.name());
        let out_of_memory = seen(Answer::InsufficientResources) || seen(Answer::Null);
        ensure!(
            out_of_memory != NEED_NO_MEMORY.contains(&routine),
            "{}: out of memory was seen: {out_of_memory}",
            routine.name()
        );
    }
    let imported = start::fallible_imports(&images(profile)?.join("rxce.sys"))?;
    ensure!(imported.len() > 5, "few fallible imports: {imported:?}");
    let never: Vec<&String> = imported.difference(&failed).collect();
    ensure!(never.is_empty(), "never made to fail: {never:?}");
    Ok(())
}

/// The folder with the images of a profile.
fn images(profile: &str) -> Result<PathBuf> {
    if profile == redirector::FORM {
        redirector::images()
    } else {
        Ok(suites::machine::images(profile))
    }
}

/// Runs this program as a machine of its own; its output, or why it failed.
fn run_child(profile: &str, task: &str) -> Result<String, Failed> {
    let mut child = Command::new(env::current_exe()?);
    child.env(TASK, task).env(IMAGES, images(profile)?);
    if profile == "release" {
        child.env(TWICE, "1");
    }
    let output = child.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(format!("{}\n{out}{err}", output.status).into())
}
