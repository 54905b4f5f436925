//! The figures: a table for people, JSON for programs.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What the rows around it have in common.
    pub subject: String,
    /// What is measured.
    pub name: String,
    /// How many circuits are alive, where it matters.
    pub circuits: Option<u32>,
    /// Of the figures below.
    pub unit: &'static str,
    /// The median over the rounds.
    pub median: f64,
    /// The smallest and the largest.
    pub spread: [f64; 2],
    /// To the row with the fewest circuits: the median of the rounds' ratios.
    pub ratio: Option<f64>,
}

impl Row {
    /// A row of samples, one of each round.
    #[must_use]
    pub fn samples(
        subject: &str,
        name: &str,
        circuits: u32,
        unit: &'static str,
        samples: Vec<f64>,
        ratio: Option<f64>,
    ) -> Self {
        let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let most = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self {
            subject: subject.to_owned(),
            name: name.to_owned(),
            circuits: Some(circuits),
            unit,
            median: median(samples),
            spread: [least, most],
            ratio,
        }
    }

    /// A row with one number.
    #[must_use]
    pub fn number(
        subject: &str,
        name: &str,
        circuits: Option<u32>,
        unit: &'static str,
        number: u64,
    ) -> Self {
        let number = number as f64;
        Self {
            subject: subject.to_owned(),
            name: name.to_owned(),
            circuits,
            unit,
            median: number,
            spread: [number, number],
            ratio: None,
        }
    }

    /// Groups the rows of a subject and of an operation, fewest circuits first.
    #[must_use]
    pub fn order(&self) -> (String, String, Option<u32>) {
        (self.subject.clone(), self.name.clone(), self.circuits)
    }
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds rows.
    pub fn rows(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.rows.extend(rows);
    }

    /// Writes the figures as JSON.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut subject = "";
        for row in &self.rows {
            if row.subject != subject {
                subject = &row.subject;
                writeln!(f, "\n{subject}")?;
                writeln!(
                    f,
                    "  {:<20} {:>9} {:>12} {:>25} {:>7}",
                    "", "circuits", "median", "smallest - largest", "ratio"
                )?;
            }
            let circuits = row.circuits.map(|count| count.to_string());
            let ratio = row.ratio.map(|ratio| format!("{ratio:.3}"));
            let [least, most] = row.spread;
            writeln!(
                f,
                "  {:<20} {:>9} {:>6.0} {:<5} {:>11.0} - {:>11.0} {:>7}",
                row.name,
                circuits.unwrap_or_default(),
                row.median,
                row.unit,
                least,
                most,
                ratio.unwrap_or_default()
            )?;
        }
        Ok(())
    }
}

/// The middle one of some numbers; zero if there are none.
#[must_use]
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
