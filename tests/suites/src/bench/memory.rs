//! Nonpaged pool of the engine for each circuit, by tag.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::{machine::Machine, report::Row};

/// Bytes that `rxce.sys` has under each pool tag.
fn by_tag() -> BTreeMap<String, u64> {
    ntsim::account::pool_by_tag("rxce.sys")
        .into_iter()
        .map(|(tag, usage)| (tag, usage.bytes))
        .collect()
}

/// What each of `count` further circuits takes, by tag: bytes, IRPs not counted.
///
/// # Errors
///
/// Failures of the drivers.
pub fn per_circuit(machine: &Machine, count: u32) -> Result<BTreeMap<String, f64>> {
    machine.resize(1)?;
    let before = by_tag();
    machine.resize(count + 1)?;
    let grown = by_tag().into_iter().filter_map(|(tag, bytes)| {
        let growth = bytes.saturating_sub(before.get(&tag).copied().unwrap_or_default());
        (growth > 0).then(|| (tag, growth as f64 / f64::from(count)))
    });
    Ok(grown.collect())
}

/// Bytes of this process that are in the machine's memory.
///
/// # Errors
///
/// A kernel without `/proc`.
pub fn resident_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: f64 = kibibytes
        .context("no VmRSS in /proc/self/status")?
        .parse()?;
    Ok(kibibytes * 1024.0)
}

/// Measures.
///
/// # Errors
///
/// Failures of the drivers.
pub fn rows(machine: &Machine, sizes: &[u32]) -> Result<Vec<Row>> {
    let (mut rows, mut host) = (Vec::new(), Vec::new());
    for &size in sizes {
        machine.resize(size)?;
        let resident = resident_bytes()?;
        let row = Row::number(
            "memory of the host",
            "resident set of ntsim",
            "bytes",
            resident,
        );
        host.push(row.circuits(size).aim("4 GiB with 100,000"));
        let tags = per_circuit(machine, size)?;
        let row = |name: &str, bytes| {
            Row::number("nonpaged pool of a circuit", name, "bytes", bytes).circuits(size)
        };
        rows.push(row("all of it", tags.values().sum()).aim("at most 512"));
        rows.extend(
            tags.iter()
                .map(|(tag, &bytes)| row(&format!("- tag {tag}"), bytes)),
        );
    }
    machine.resize(0)?;
    rows.append(&mut host);
    Ok(rows)
}
