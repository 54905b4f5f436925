//! Cost of one operation while more and more circuits are alive.
//!
//! Each round goes through all numbers of circuits, so that whatever else the host does falls on all of them. A batch is so
//! short that most batches are not interrupted: its median counts. Ratios are taken within a round.

use anyhow::Result;
use bench_ioctl::{Operation, Pick};

use super::{
    Effort,
    machine::Machine,
    report::{Row, median},
};

/// Circuits that are used; the others stay alive.
const WORKING_SET: u32 = 100;

/// The operations with the names of their columns, and how many make a batch.
const OPERATIONS: [(Operation, &[&str], u32); 3] = [
    (Operation::LookUp, &["look-up (query)"], 200),
    (Operation::Send, &["send"], 50),
    (
        Operation::Cycle,
        &["initiate", "tear-down", "build", "kernel alone"],
        5,
    ),
];

/// One round's figures for one row.
struct Series {
    name: &'static str,
    subject: &'static str,
    size: u32,
    ticks: Vec<f64>,
}

/// Measures.
///
/// # Errors
///
/// Failures of the drivers.
pub fn rows(machine: &Machine, sizes: &[u32], effort: &Effort) -> Result<Vec<Row>> {
    let mut all: Vec<Series> = Vec::new();
    for _ in 0..effort.rounds {
        for &size in sizes {
            machine.resize(size)?;
            for (subject, pick) in [
                ("100 in use", Pick::Last(WORKING_SET)),
                ("100 in use, far apart", Pick::Spread(WORKING_SET)),
                ("any, at random", Pick::Random),
            ] {
                for (operation, names, each) in OPERATIONS {
                    let columns = machine.measure(operation, pick, effort.batches, each)?;
                    for (&name, batches) in names.iter().zip(columns) {
                        note(&mut all, subject, name, size, median(&batches));
                    }
                }
            }
        }
    }
    machine.resize(0)?;
    let scale = machine.nanoseconds_per_tick();
    let rows = all.iter().map(|series| {
        let nanoseconds = series.ticks.iter().map(|ticks| ticks * scale).collect();
        Row::samples(series.subject, series.name, "ns", nanoseconds).circuits(series.size)
    });
    let rows: Vec<Row> = rows.collect();
    let mut compared: Vec<Row> = rows
        .iter()
        .map(|row| {
            let fewest = rows.iter().find(|other| {
                (&other.subject, &other.name) == (&row.subject, &row.name)
                    && other.circuits == sizes.first().copied()
            });
            match fewest {
                Some(fewest) if row.circuits > fewest.circuits => {
                    let to = format!("{} circuits", fewest.circuits.unwrap_or_default());
                    let row = row.clone().against(fewest, &to);
                    if row.subject == "100 in use" {
                        row.aim("at most 10 % drift")
                    } else {
                        row
                    }
                }
                _ => row.clone(),
            }
        })
        .collect();
    compared.sort_by_key(Row::order);
    Ok(compared)
}

fn note(all: &mut Vec<Series>, subject: &'static str, name: &'static str, size: u32, ticks: f64) {
    let known = all
        .iter_mut()
        .find(|series| (series.subject, series.name, series.size) == (subject, name, size));
    match known {
        Some(series) => series.ticks.push(ticks),
        None => all.push(Series {
            name,
            subject,
            size,
            ticks: vec![ticks],
        }),
    }
}
