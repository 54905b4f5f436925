//! Nonpaged pool of the engine for each circuit, by tag.

use std::collections::BTreeMap;

use anyhow::Result;

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

/// Measures.
///
/// # Errors
///
/// Failures of the drivers.
pub fn rows(machine: &Machine, sizes: &[u32]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &size in sizes {
        let tags = per_circuit(machine, size)?;
        let whole = tags.values().sum();
        rows.push(Row::samples(
            "memory",
            "pool of a circuit",
            size,
            "bytes",
            vec![whole],
            None,
        ));
        for (tag, bytes) in tags {
            let name = format!("- tag {tag}");
            rows.push(Row::samples(
                "memory",
                &name,
                size,
                "bytes",
                vec![bytes],
                None,
            ));
        }
    }
    Ok(rows)
}
