//! A search: child processes one after the other, until one finds something or nothing is left.

use std::{
    env, fmt,
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::child;

/// Schedules of one process: what was freed stays inaccessible in it, and costs memory.
const BATCH: u64 = 4000;

/// How schedules are chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// All of them.
    Exhaustive { bound: usize, stepping: bool },
    /// This many.
    Random {
        seed: u64,
        stepping: bool,
        schedules: u64,
    },
    /// This many.
    Pct {
        seed: u64,
        changes: usize,
        schedules: u64,
    },
}

impl Way {
    pub(crate) const fn exhaustive(bound: usize) -> Self {
        Self::Exhaustive {
            bound,
            stepping: false,
        }
    }

    pub(crate) const fn priorities(seed: u64, schedules: u64) -> Self {
        Self::Pct {
            seed,
            changes: 3,
            schedules,
        }
    }

    pub(crate) const fn steps(seed: u64, schedules: u64) -> Self {
        Self::Random {
            seed,
            stepping: true,
            schedules,
        }
    }

    /// Whether it ends by itself.
    pub(crate) const fn ends(self) -> bool {
        matches!(self, Self::Exhaustive { .. })
    }

    fn limit(self) -> u64 {
        match self {
            Self::Exhaustive { .. } => u64::MAX,
            Self::Random { schedules, .. } | Self::Pct { schedules, .. } => schedules,
        }
    }

    /// The plan of a process, after so many schedules and with this one next.
    fn plan(self, done: u64, next: &str) -> String {
        match self {
            Self::Exhaustive { bound, .. } => format!("exhaustive {bound} {next}"),
            Self::Random { seed, stepping, .. } => {
                format!("random {} {stepping}", seed.wrapping_add(done))
            }
            Self::Pct { seed, changes, .. } => format!("pct {} {changes}", seed.wrapping_add(done)),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhaustive { bound, stepping } => {
                let steps = if *stepping {
                    ", between instructions"
                } else {
                    ""
                };
                write!(out, "bound {bound}{steps}")
            }
            Self::Random { seed, stepping, .. } => {
                let steps = if *stepping {
                    ", between instructions"
                } else {
                    ""
                };
                write!(out, "random from {seed:#x}{steps}")
            }
            Self::Pct { seed, changes, .. } => {
                write!(out, "priorities from {seed:#x}, {changes} changes")
            }
        }
    }
}

/// What is searched.
pub(crate) struct Job {
    pub(crate) images: PathBuf,
    pub(crate) duel: String,
    pub(crate) way: Way,
    /// Real time after which it stops before the next process.
    pub(crate) limit: Option<Duration>,
}

/// What a search did.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) schedules: u64,
    pub(crate) decisions: usize,
    pub(crate) exhausted: bool,
    pub(crate) diverged: u64,
    /// The most outcomes that one process saw.
    pub(crate) outcomes: u32,
    pub(crate) time: Duration,
}

impl Found {
    /// One line for people.
    pub(crate) fn line(&self, profile: &str, duel: &str, way: Way) -> String {
        format!(
            "explored: {duel} ({profile}, {way}) schedules={} decisions={} outcomes={}{} {:.1} s",
            self.schedules,
            self.decisions,
            self.outcomes,
            if self.exhausted { " all" } else { "" },
            self.time.as_secs_f32()
        )
    }
}

/// Searches. An error is what was found, with the schedule and its story.
pub(crate) fn explore(job: &Job) -> Result<Found> {
    let started = Instant::now();
    let mut found = Found::default();
    let stepping = matches!(job.way, Way::Exhaustive { stepping: true, .. });
    let mut next = String::from(if stepping { "s-" } else { "-" });
    while found.schedules < job.way.limit() {
        let rounds = BATCH.min(job.way.limit() - found.schedules);
        let output = child(job, &job.way.plan(found.schedules, &next), rounds)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(story(job, &output));
        }
        next = progress(&mut found, &text)?;
        if found.exhausted || job.limit.is_some_and(|limit| started.elapsed() >= limit) {
            break;
        }
    }
    found.time = started.elapsed();
    Ok(found)
}

/// Adds what a process did; the next schedule.
fn progress(found: &mut Found, text: &str) -> Result<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(child::DONE));
    let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    let [
        schedules,
        decisions,
        exhausted,
        diverged,
        outcomes,
        _hash,
        next,
    ] = words.as_slice()
    else {
        return Err(anyhow!("a process does not tell what it did:\n{text}"));
    };
    let schedules: u64 = schedules.parse()?;
    ensure!(
        schedules > 0 || *exhausted == "true",
        "a process ran no schedule"
    );
    found.schedules += schedules;
    found.decisions = found.decisions.max(decisions.parse()?);
    found.exhausted = exhausted.parse()?;
    found.diverged += diverged.parse::<u64>()?;
    found.outcomes = found.outcomes.max(outcomes.parse()?);
    Ok((*next).to_owned())
}

/// Runs a process.
pub(crate) fn child(job: &Job, plan: &str, rounds: u64) -> Result<Output> {
    Command::new(env::current_exe()?)
        .env(child::IMAGES, &job.images)
        .env(child::DUEL_NAME, &job.duel)
        .env(child::PLAN, plan)
        .env(child::ROUNDS, rounds.to_string())
        .output()
        .context("cannot start this program again")
}

/// What a process found, and the story of its schedule.
fn story(job: &Job, output: &Output) -> anyhow::Error {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let schedule = err.lines().find_map(|line| line.strip_prefix("schedule "));
    let Some(schedule) = schedule else {
        return anyhow!("{}, and no schedule\n{out}{err}", output.status);
    };
    let again = child(job, &format!("replay {schedule}"), 1);
    let again = match &again {
        Ok(again) => format!(
            "{}\n{}{}",
            again.status,
            String::from_utf8_lossy(&again.stdout),
            String::from_utf8_lossy(&again.stderr)
        ),
        Err(error) => format!("{error:#}"),
    };
    anyhow!(
        "{}, schedule {schedule} of {}\n{err}\nrun again on a fresh machine: {again}",
        output.status,
        job.duel
    )
}
