//! What the exploration is worth: known defects are found, their repaired twins are not reported, and a run comes again
//! exactly.

use anyhow::{Result, ensure};
use libtest_mimic::{Failed, Trial};

use super::{
    find::{self, Job, Way},
    images,
};

const BETWEEN_INSTRUCTIONS: Way = Way::Exhaustive {
    bound: 1,
    stepping: true,
};

/// A defect of conform.sys, the way to look for it, and what the report says.
const DEFECTS: [(&str, Way, &str); 4] = [
    (
        "lost-update",
        Way::exhaustive(1),
        "the sum: seen 1, expected 2",
    ),
    ("lock-order", Way::exhaustive(1), "spinning"),
    ("lost-wake-up", Way::exhaustive(1), "HANG"),
    (
        "plain-memory",
        BETWEEN_INSTRUCTIONS,
        "how many won: seen 2, expected 1",
    ),
];

pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    let known = DEFECTS.into_iter().flat_map(|(name, way, says)| {
        [
            Trial::test(format!("known::{name} is found"), move || {
                is_found(name, way, says)
            }),
            Trial::test(format!("known::{name}, repaired, is not"), move || {
                is_fine(&format!("fixed/{name}"), way)
            }),
        ]
    });
    known.chain([
        Trial::test(
            "known::plain-memory is found between instructions only",
            || is_fine("racy/plain-memory", Way::exhaustive(1)),
        ),
        Trial::test("known::a search comes again exactly", || Ok(comes_again()?)),
    ])
}

fn job(duel: &str, way: Way) -> Job {
    Job {
        images: images("debug"),
        duel: duel.to_owned(),
        way,
        limit: None,
    }
}

/// The report names what is wrong, twice: when it was found, and when its schedule was run again.
fn is_found(name: &str, way: Way, says: &str) -> Result<(), Failed> {
    let Err(report) = find::explore(&job(&format!("racy/{name}"), way)) else {
        return Err("nothing was found".into());
    };
    let report = format!("{report:#}");
    let (first, again) = report
        .split_once("run again on a fresh machine")
        .ok_or("it was not run again")?;
    for part in [first, again] {
        if !part.contains(says) {
            return Err(format!("the report does not say {says:?}:\n{part}").into());
        }
    }
    Ok(())
}

fn is_fine(duel: &str, way: Way) -> Result<(), Failed> {
    let found = find::explore(&job(duel, way))?;
    if !found.exhausted || found.diverged != 0 || found.schedules < 3 {
        return Err(format!("not explored as it should be: {found:?}").into());
    }
    Ok(())
}

/// Two processes with one seed meet the same decisions, in the same places, and end in the same way.
fn comes_again() -> Result<()> {
    let job = job("send/tear-down", Way::exhaustive(0));
    let mut seen = Vec::new();
    for seed in [7, 7, 8] {
        let output = find::child(&job, &format!("random {seed} true"), 100)?;
        ensure!(output.status.success(), "{output:?}");
        seen.push(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    ensure!(
        seen.first() == seen.get(1),
        "the same seed, and not the same: {seen:?}"
    );
    ensure!(
        seen.first() != seen.get(2),
        "another seed, and all the same: {seen:?}"
    );
    Ok(())
}
