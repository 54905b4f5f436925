//! Every vector against every defect.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Result, bail, ensure};
use mutants::Mutant;

use crate::{
    page::{self, NAMED, Row},
    process::{self, How},
    rank,
};

/// How often a vector has to find it in the same way to be named.
const CONFIRMED: usize = 8;
/// Vectors in which chance alone decides who comes first. One may find a defect many times in a row, and not when the machine is
/// busy, so they are counted and never named.
pub(crate) const BY_CHANCE: [&str; 1] = ["V11"];

/// Runs the defects called `which` (`all`, or names), and writes the page; rows of others stay.
///
/// # Errors
///
/// A machine could not be run, or a defect was not found.
pub(crate) fn run(which: &str) -> Result<()> {
    let vectors = process::vectors()?;
    let chosen: Vec<Mutant> = Mutant::ALL
        .iter()
        .copied()
        .filter(|mutant| which == "all" || which.split(',').any(|name| name == mutant.name()))
        .collect();
    ensure!(!chosen.is_empty(), "no such mutant: {which}");
    let rows = Mutex::new(if which == "all" {
        Vec::new()
    } else {
        page::read()?
    });
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(&mutant) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match row(mutant, &vectors) {
                        Ok(row) => {
                            tell(&row);
                            let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                            rows.retain(|one| one.mutant != mutant);
                            rows.push(row);
                        }
                        Err(error) => {
                            let error = error.context(mutant.name());
                            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|row| row.mutant.number());
    page::write(&rows)?;
    let alive: Vec<&str> = rows
        .iter()
        .filter(|row| row.killers.is_empty())
        .map(|row| row.mutant.name())
        .collect();
    println!(
        "{} of {} found; docs/mutants.md is written",
        rows.len() - alive.len(),
        rows.len()
    );
    if !alive.is_empty() {
        bail!("no vector finds {}", alive.join(", "));
    }
    Ok(())
}

fn tell(row: &Row) {
    let killers: Vec<String> = row
        .killers
        .iter()
        .map(|(vector, how)| format!("{vector} {how}"))
        .collect();
    println!(
        "{}: {} ({})",
        row.mutant.name(),
        killers.join(", "),
        row.count
    );
}

/// Every vector against one defect. Those that pass share a machine; one that finds the defect ends it.
fn row(mutant: Mutant, vectors: &[String]) -> Result<Row> {
    let mut left: Vec<u32> = (0..).take(vectors.len()).collect();
    let mut found: Vec<(u32, How)> = Vec::new();
    while !left.is_empty() {
        let Some((at, how)) = process::until_found(mutant, &left)? else {
            break;
        };
        if let Some(&vector) = left.get(at) {
            found.push((vector, how));
        }
        left.drain(..=at);
    }
    let count = found.len();
    found.sort_by_key(|&(vector, how)| (rank(how), vector));
    let mut killers = Vec::new();
    for (vector, how) in found {
        if killers.len() == NAMED {
            break;
        }
        let Some(id) = vectors.get(vector as usize) else {
            continue;
        };
        let mut sure = !BY_CHANCE.contains(&id.as_str());
        for _ in 0..CONFIRMED {
            sure = sure && process::one(Some(mutant), vector)?.0 == Some(how);
        }
        if sure {
            killers.push((id.clone(), how));
        }
    }
    Ok(Row {
        mutant,
        killers,
        count,
    })
}
