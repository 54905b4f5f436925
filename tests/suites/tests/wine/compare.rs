//! Two tables, compared: what differs must be known, and what is known must differ.

use std::fmt::Write as _;

use super::table::{Told, Vector, Verdict};

/// The part of a vector that takes no routine of the engine: without it the vector does all the same.
const ACCOUNT: &str = "balance of pool, IRPs, handles and references";

/// A difference that is understood.
pub(crate) struct Known {
    pub(crate) id: &'static str,
    /// Whose it is and why, with evidence; docs/wine.md has it.
    pub(crate) reason: &'static str,
}

/// The differences of one run.
pub(crate) fn differences(ntsim: &[Vector], wine: &[Vector]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let ids = |vectors: &[Vector]| -> Vec<String> {
        vectors.iter().map(|vector| vector.id.clone()).collect()
    };
    if ids(ntsim) != ids(wine) {
        found.push((
            "table".to_owned(),
            "the vectors are not the same".to_owned(),
        ));
        return found;
    }
    for (one, other) in ntsim.iter().zip(wine) {
        if let Some(difference) = difference(one, other) {
            found.push((one.id.clone(), difference));
        }
    }
    found
}

fn difference(ntsim: &Vector, wine: &Vector) -> Option<String> {
    match (ntsim.verdict, wine.verdict) {
        (Verdict::Passed, Verdict::Failed) => Some(format!("fails on Wine: {}", wine.text)),
        (Verdict::Failed, Verdict::Passed | Verdict::Skipped) => {
            Some(format!("fails in ntsim: {}", ntsim.text))
        }
        (Verdict::Failed, Verdict::Failed) => Some(format!(
            "fails in both; ntsim: {}; Wine: {}",
            ntsim.text, wine.text
        )),
        // What a kernel cannot do says nothing of the other.
        (Verdict::Skipped, _) => Some(format!("not possible in ntsim: {}", ntsim.text)),
        (Verdict::Passed, Verdict::Skipped) => None,
        (Verdict::Passed, Verdict::Passed) => {
            let text = answers(ntsim, wine) + &history(ntsim, wine);
            (!text.is_empty()).then_some(text)
        }
    }
}

/// Whether the vector did on this kernel all that it does anywhere.
fn is_whole(vector: &Vector) -> bool {
    vector.missing().all(|part| part == ACCOUNT)
}

/// A vector that did the same on both must have told its client the same. One whose history differs from run to run in ntsim, as its
/// threads race, is left out: see [`without_races`].
fn history(ntsim: &Vector, wine: &Vector) -> String {
    if !is_whole(wine) || ntsim.client == Told::default() || ntsim.client == wine.client {
        return String::new();
    }
    format!(
        "the client was told {:?} in ntsim, {:?} on Wine; ",
        ntsim.client, wine.client
    )
}

/// How many vectors have histories that are compared.
pub(crate) fn compared_histories(ntsim: &[Vector], wine: &[Vector]) -> usize {
    ntsim
        .iter()
        .zip(wine)
        .filter(|(one, other)| {
            one.client.callbacks > 0 && other.verdict == Verdict::Passed && is_whole(other)
        })
        .count()
}

/// One table of several runs, without the histories that differ between them.
pub(crate) fn without_races(runs: Vec<Vec<Vector>>) -> Vec<Vector> {
    let mut runs = runs.into_iter();
    let mut table = runs.next().unwrap_or_default();
    for run in runs {
        for (vector, again) in table.iter_mut().zip(&run) {
            if vector.client != again.client {
                vector.client = Told::default();
            }
            if again.verdict != Verdict::Passed {
                *vector = again.clone();
            }
        }
    }
    table
}

/// A vector that did the same on both must have seen the same answers. Where parts were left out on Wine, those seen there must be
/// among the others.
fn answers(ntsim: &Vector, wine: &Vector) -> String {
    let mut text = String::new();
    let mut differ = |here: &Vector, there: &Vector, whose: &str| {
        for (routine, answers) in &here.answers {
            let others = there.answers.get(routine);
            for answer in answers {
                if !others.is_some_and(|others| others.contains(answer)) {
                    let _ = write!(text, "only {whose} {routine} answers {answer}; ");
                }
            }
        }
    };
    differ(wine, ntsim, "on Wine");
    if is_whole(wine) {
        differ(ntsim, wine, "in ntsim");
    }
    text
}

/// What is wrong: differences that nobody explains, and explanations of differences that are not there.
pub(crate) fn faults(found: &[(String, String)], known: &[Known]) -> String {
    let mut faults = String::new();
    for (id, difference) in found {
        if !known.iter().any(|known| known.id == *id) {
            let _ = writeln!(faults, "{id}: {difference}");
        }
    }
    for known in known {
        if !found.iter().any(|(id, _)| id == known.id) {
            let _ = writeln!(
                faults,
                "{} differs no more; its entry must go: {}",
                known.id, known.reason
            );
        }
    }
    faults
}

type Spoil = fn(&mut Vector);

/// Shows that the comparison sees what it is there for: each of these tables differs from `good` in one thing.
pub(crate) fn proof(good: &[Vector]) -> Result<(), String> {
    let sound = |vectors: &[Vector]| differences(good, vectors);
    if !sound(good).is_empty() {
        return Err("a table differs from itself".to_owned());
    }
    let Some(at) = good.iter().position(|vector| {
        vector.verdict == Verdict::Passed
            && !vector.answers.is_empty()
            && vector.client.callbacks > 0
    }) else {
        return Err("no vector has passed".to_owned());
    };
    let spoils: [(&str, Spoil); 4] = [
        ("another history", |vector| {
            "x".clone_into(&mut vector.client.order)
        }),
        ("a failed vector", |vector| vector.verdict = Verdict::Failed),
        ("an answer less", |vector| {
            vector.answers.pop_first();
        }),
        ("an answer more", |vector| {
            vector
                .answers
                .entry("RxCeSend".to_owned())
                .or_default()
                .push("STATUS_X".to_owned());
        }),
    ];
    for (what, spoil) in spoils {
        let mut spoilt = good.to_vec();
        if let Some(vector) = spoilt.get_mut(at) {
            // As if only the account were missing: all answers count.
            vector.text.clear();
            spoil(vector);
        }
        let found = sound(&spoilt);
        if found.len() != 1 {
            return Err(format!("{what} is seen as {found:?}"));
        }
        let known = [Known {
            id: "no such vector",
            reason: "",
        }];
        if faults(&found, &[]).is_empty() || faults(&[], &known).is_empty() {
            return Err(format!("{what} is no fault"));
        }
    }
    Ok(())
}
