//! `cargo xtask explore`: one duel or all of them, for as long as one likes.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use conform_ioctl::DUELS;

use super::{
    find::{self, Job, Way},
    images,
};

/// The duel, or `all`. With it come the bound, the time in seconds, a seed (then priorities are random), and whether threads
/// are stepped; or a schedule to run again.
pub(crate) const DUEL: &str = "EXPLORE_DUEL";
const BOUND: &str = "EXPLORE_BOUND";
const SECONDS: &str = "EXPLORE_SECONDS";
const SEED: &str = "EXPLORE_SEED";
const STEPPING: &str = "EXPLORE_STEPPING";
const REPLAY: &str = "EXPLORE_REPLAY";
const PROFILE: &str = "EXPLORE_PROFILE";

/// Schedules between two looks at the clock, of searches that do not end.
const PORTION: u64 = 4000;

fn number(name: &str) -> Result<Option<u64>> {
    let Ok(text) = env::var(name) else {
        return Ok(None);
    };
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    value
        .map(Some)
        .with_context(|| format!("{name}={text} is not a number"))
}

/// Searches, or runs a schedule again.
pub(crate) fn run() -> Result<()> {
    let wanted = env::var(DUEL).unwrap_or_default();
    let profile = env::var(PROFILE).unwrap_or_else(|_| "release".to_owned());
    // Those with a known defect would end the search: they are run by name only.
    let of_all = |duel: &str| wanted == "all" && !duel.starts_with("racy/");
    let duels: Vec<&str> = DUELS
        .into_iter()
        .filter(|duel| *duel == wanted || of_all(duel))
        .collect();
    ensure!(
        !duels.is_empty(),
        "no duel {wanted}; there are: {}",
        DUELS.join(" ")
    );
    let job = |duel: &str, way| Job {
        images: images(&profile),
        duel: duel.to_owned(),
        way,
        limit: None,
    };
    let stepping = env::var_os(STEPPING).is_some();
    let bound = usize::try_from(number(BOUND)?.unwrap_or(2))?;
    if let Ok(schedule) = env::var(REPLAY) {
        ensure!(duels.len() == 1, "a schedule belongs to one duel");
        for duel in duels {
            let job = job(duel, Way::exhaustive(0));
            let output = find::child(&job, &format!("replay {schedule}"), 1)?;
            print!("{}", String::from_utf8_lossy(&output.stdout));
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            ensure!(output.status.success(), "{}", output.status);
        }
        return Ok(());
    }
    let limit = number(SECONDS)?.map(Duration::from_secs);
    let seed = number(SEED)?;
    let started = Instant::now();
    let each = limit.map(|limit| limit / u32::try_from(duels.len()).unwrap_or(1));
    for duel in duels {
        let begun = Instant::now();
        let mut round = 0;
        loop {
            let way = match seed {
                None => Way::Exhaustive { bound, stepping },
                Some(seed) if stepping => Way::Random {
                    seed: seed.wrapping_add(round * PORTION),
                    stepping,
                    schedules: PORTION,
                },
                Some(seed) => Way::Pct {
                    seed: seed.wrapping_add(round * PORTION),
                    changes: bound,
                    schedules: PORTION,
                },
            };
            let mut job = job(duel, way);
            job.limit = each.map(|each| each.saturating_sub(begun.elapsed()));
            let found = find::explore(&job)?;
            println!("{}", found.line(&profile, duel, way));
            ensure!(found.diverged == 0, "{} schedules diverged", found.diverged);
            round += 1;
            if way.ends() || each.is_none_or(|each| begun.elapsed() >= each) {
                break;
            }
        }
    }
    println!("{} s, nothing found", started.elapsed().as_secs());
    Ok(())
}
