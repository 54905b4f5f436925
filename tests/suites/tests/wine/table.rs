//! The table of one kernel, as `rxcectl conformance --json` writes it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// What became of a vector.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// One vector on one kernel.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Vector {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) verdict: Verdict,
    pub(crate) parts_not_possible: u32,
    /// Routine → what it answered.
    pub(crate) answers: BTreeMap<String, Vec<String>>,
    /// What was seen and expected, or what was not possible.
    pub(crate) text: String,
    /// What the client was told.
    pub(crate) client: Told,
    /// Which time through the table it was, from 1.
    run: u32,
}

/// The callbacks of a vector and the bytes that came with them: numbers, and hashes of both in their order.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) callbacks: u32,
    pub(crate) order: String,
    pub(crate) bytes: u32,
    pub(crate) data: String,
}

/// What begins the text of a vector that passed in part.
const NOT_POSSIBLE: &str = "not possible here: ";

impl Vector {
    /// The parts that this kernel could not check.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &str> {
        let list = match self.verdict {
            Verdict::Passed => self.text.strip_prefix(NOT_POSSIBLE).unwrap_or_default(),
            Verdict::Failed => "",
            Verdict::Skipped => &self.text,
        };
        list.split("; ").filter(|part| !part.is_empty())
    }
}

#[derive(Deserialize)]
struct Report {
    vectors: Vec<Vector>,
}

/// Reads a report: one table per run.
pub(crate) fn runs(json: &str) -> Result<Vec<Vec<Vector>>> {
    let all = read(json)?;
    let last = all.iter().map(|vector| vector.run).max().unwrap_or(0);
    Ok((1..=last)
        .map(|run| {
            all.iter()
                .filter(|vector| vector.run == run)
                .cloned()
                .collect()
        })
        .collect())
}

/// Reads a report.
pub(crate) fn read(json: &str) -> Result<Vec<Vector>> {
    let report: Report = serde_json::from_str(json)
        .with_context(|| format!("no report of rxcectl; it ends with {}", end_of(json)))?;
    for vector in &report.vectors {
        ensure!(
            vector.verdict != Verdict::Passed
                || vector.missing().count() == vector.parts_not_possible as usize,
            "{} lists other parts than it counts: {}",
            vector.id,
            vector.text
        );
    }
    Ok(report.vectors)
}

/// The last characters of a text, which may be long.
fn end_of(text: &str) -> &str {
    const SHOWN: usize = 500;
    let start = text.len().saturating_sub(SHOWN);
    let start = (start..=text.len())
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}
