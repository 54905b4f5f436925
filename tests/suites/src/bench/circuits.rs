//! Cost of one operation while more and more circuits are alive.
//!
//! Each round goes through all numbers of circuits, so that whatever else the host does falls on all of them. A batch is so
//! short that most batches are not interrupted: its median counts. Ratios are taken within a round.

use anyhow::Result;
use bench_ioctl::{Operation, Pick};

use super::{
    machine::Machine,
    report::{Row, median},
};

/// Circuits that are used; the others stay alive.
const WORKING_SET: u32 = 100;
/// Batches of one measurement.
const BATCHES: u32 = 200;

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
pub fn rows(machine: &Machine, sizes: &[u32], rounds: u32) -> Result<Vec<Row>> {
    let mut all: Vec<Series> = Vec::new();
    for _ in 0..rounds {
        for &size in sizes {
            machine.resize(size)?;
            for (subject, pick) in [
                ("100 in use", Pick::Last(WORKING_SET)),
                ("100 in use, far apart", Pick::Spread(WORKING_SET)),
                ("any, at random", Pick::Random),
            ] {
                for (operation, names, each) in OPERATIONS {
                    let columns = machine.measure(operation, pick, BATCHES, each)?;
                    for (&name, batches) in names.iter().zip(columns) {
                        note(&mut all, subject, name, size, median(batches));
                    }
                }
            }
        }
    }
    let scale = machine.nanoseconds_per_tick();
    let first = sizes.first().copied().unwrap_or_default();
    let rows = all.iter().map(|series| {
        let base = all.iter().find(|other| {
            (other.subject, other.name, other.size) == (series.subject, series.name, first)
        });
        let ratio = base.map(|base| {
            let pairs = series.ticks.iter().zip(&base.ticks);
            median(pairs.map(|(now, base)| now / base).collect())
        });
        let nanoseconds = series.ticks.iter().map(|ticks| ticks * scale).collect();
        Row::samples(
            series.subject,
            series.name,
            series.size,
            "ns",
            nanoseconds,
            ratio,
        )
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by_key(|row| row.order());
    Ok(rows)
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
