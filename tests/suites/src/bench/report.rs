//! The figures: a table for people, JSON for programs.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The middle of some samples, and how far they lie apart.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Summary {
    /// The middle one.
    pub median: f64,
    /// A quarter of the samples lies below the first, a quarter above the second.
    pub quartiles: [f64; 2],
    /// The smallest and the largest.
    pub extremes: [f64; 2],
}

impl Summary {
    /// Of these samples; zeroes if there are none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        Self {
            median: quantile(samples, 0.5),
            quartiles: [quantile(samples, 0.25), quantile(samples, 0.75)],
            extremes: [quantile(samples, 0.0), quantile(samples, 1.0)],
        }
    }
}

/// A comparison with another figure of the same run.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// What it is compared with.
    pub to: String,
    /// Of the rounds' ratios.
    #[serde(flatten)]
    pub summary: Summary,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What the rows around it have in common.
    pub subject: String,
    /// What is measured.
    pub name: String,
    /// How many circuits are alive or in use, where it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuits: Option<u32>,
    /// Bytes of a send, where it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// Of the figures below.
    pub unit: &'static str,
    /// Of the rounds' figures.
    #[serde(flatten)]
    pub summary: Summary,
    /// Against the figures in the same rounds of another row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ratios: Vec<Ratio>,
    /// What is aimed at, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aim: Option<&'static str>,
    /// One of each round.
    #[serde(skip)]
    samples: Vec<f64>,
}

impl Row {
    /// A row of samples, one of each round.
    #[must_use]
    pub fn samples(subject: &str, name: &str, unit: &'static str, samples: Vec<f64>) -> Self {
        Self {
            subject: subject.to_owned(),
            name: name.to_owned(),
            circuits: None,
            bytes: None,
            unit,
            summary: Summary::of(&samples),
            ratios: Vec::new(),
            aim: None,
            samples,
        }
    }

    /// A row with one number.
    #[must_use]
    pub fn number(subject: &str, name: &str, unit: &'static str, number: f64) -> Self {
        Self::samples(subject, name, unit, vec![number])
    }

    /// With so many circuits.
    #[must_use]
    pub const fn circuits(mut self, circuits: u32) -> Self {
        self.circuits = Some(circuits);
        self
    }

    /// For sends of so many bytes.
    #[must_use]
    pub const fn bytes(mut self, bytes: u32) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// With something to aim at.
    #[must_use]
    pub const fn aim(mut self, aim: &'static str) -> Self {
        self.aim = Some(aim);
        self
    }

    /// Compared with another row, round by round.
    #[must_use]
    pub fn against(self, other: &Self, to: &str) -> Self {
        let pairs = self.samples.iter().zip(&other.samples);
        let ratios: Vec<f64> = pairs.map(|(one, other)| one / other).collect();
        self.ratio(to, &ratios)
    }

    /// With a ratio of each round.
    #[must_use]
    pub fn ratio(mut self, to: &str, ratios: &[f64]) -> Self {
        self.ratios.push(Ratio {
            to: to.to_owned(),
            summary: Summary::of(ratios),
        });
        self
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
    /// In the order in which they are shown.
    pub rows: Vec<Row>,
}

impl Report {
    /// Adds rows.
    pub fn rows(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.rows.extend(rows);
    }

    /// The subjects, in order, each with its rows.
    pub fn subjects(&self) -> impl Iterator<Item = (&str, &[Row])> {
        self.rows
            .chunk_by(|one, other| one.subject == other.subject)
            .filter_map(|rows| Some((rows.first()?.subject.as_str(), rows)))
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

/// A number with as many digits as it deserves.
#[must_use]
pub fn digits(number: f64) -> String {
    match number.abs() {
        large if large >= 100.0 => format!("{number:.0}"),
        middle if middle >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (subject, rows) in self.subjects() {
            writeln!(f, "\n{subject}")?;
            writeln!(
                f,
                "  {:<34} {:>8} {:>8} {:>10} {:<6} {:>19}  ratios",
                "", "circuits", "bytes", "median", "", "quartiles"
            )?;
            for row in rows {
                let count = |count: Option<u32>| count.map(|n| n.to_string()).unwrap_or_default();
                let [low, high] = row.summary.quartiles.map(digits);
                write!(
                    f,
                    "  {:<34} {:>8} {:>8} {:>10} {:<6} {low:>9} {high:>9} ",
                    row.name,
                    count(row.circuits),
                    count(row.bytes),
                    digits(row.summary.median),
                    row.unit,
                )?;
                for ratio in &row.ratios {
                    let [low, high] = ratio.summary.quartiles;
                    write!(
                        f,
                        " {:.3} ({low:.3} - {high:.3}) of {}",
                        ratio.summary.median, ratio.to
                    )?;
                }
                match row.aim {
                    Some(aim) => writeln!(f, "  [aim: {aim}]")?,
                    None => writeln!(f)?,
                }
            }
        }
        Ok(())
    }
}

/// The number below which this part of the samples lies; zero if there are none.
#[must_use]
pub fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between zero and the last index"
    )]
    let index = (last * part).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// The middle one of some numbers; zero if there are none.
#[must_use]
pub fn median(numbers: &[f64]) -> f64 {
    quantile(numbers, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let base = Row::samples("", "", "ns", vec![10.0, 20.0, 40.0]);
        let row = Row::samples("", "", "ns", vec![20.0, 30.0, 40.0]).against(&base, "base");
        let ratio = row.ratios.first().map(|ratio| ratio.summary.median);
        assert_eq!(ratio, Some(1.5));
        assert_eq!(row.summary.extremes, [20.0, 40.0]);
    }

    #[test]
    fn quantiles_of_nothing_and_of_many() {
        assert_eq!(quantile(&[], 0.5), 0.0);
        let numbers: Vec<f64> = (0..=1000).rev().map(f64::from).collect();
        assert_eq!(quantile(&numbers, 0.999), 999.0);
    }
}
