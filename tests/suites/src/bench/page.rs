//! The report as a page by itself: plots, then every figure.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    plot::{self, Bar, Labels, Point, Series},
    report::{Report, Row, digits},
};

const STYLE: &str = "body{font-family:sans-serif;max-width:1100px;margin:2em auto;color:#222}\
table{border-collapse:collapse;margin-bottom:1.5em}td,th{padding:2px 10px;text-align:right;border-bottom:1px solid #ddd}\
td:first-child,th:first-child,td:last-child{text-align:left}svg{max-width:100%;height:auto;display:block;margin:1em 0}";

/// Writes the page.
///
/// # Errors
///
/// A plot cannot be drawn, or the file cannot be written.
pub fn write(report: &Report, path: &Path) -> Result<()> {
    let page = page(report)?.into_string();
    fs::write(path, page).with_context(|| path.display().to_string())
}

fn page(report: &Report) -> Result<Markup> {
    let plots = plots(report)?;
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "What rxce.sys costs" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "What rxce.sys costs" }
                p {
                    "The release image in ntsim, with ntsim's checks off. Each figure is the median of the rounds; "
                    "whiskers and brackets are quartiles. Ratios compare figures of the same round."
                }
                @for plot in &plots { (PreEscaped(plot)) }
                @for (subject, rows) in report.subjects() {
                    h2 { (subject) }
                    (table(rows))
                }
            }
        }
    })
}

fn table(rows: &[Row]) -> Markup {
    let count = |count: Option<u32>| count.map(|count| count.to_string()).unwrap_or_default();
    html! {
        table {
            tr {
                th { "" } th { "circuits" } th { "bytes" } th { "median" } th { "quartiles" } th { "smallest, largest" }
                th { "ratio" } th { "aim" }
            }
            @for row in rows {
                @let [low, high] = row.summary.quartiles.map(digits);
                @let [least, most] = row.summary.extremes.map(digits);
                tr {
                    td { (row.name) }
                    td { (count(row.circuits)) }
                    td { (count(row.bytes)) }
                    td { (digits(row.summary.median)) " " (row.unit) }
                    td { (low) " – " (high) }
                    td { (least) ", " (most) }
                    td {
                        @for ratio in &row.ratios {
                            @let [low, high] = ratio.summary.quartiles;
                            div {
                                (format!("{:.3} ({low:.3} – {high:.3})", ratio.summary.median)) " of " (ratio.to)
                            }
                        }
                    }
                    td { (row.aim.unwrap_or_default()) }
                }
            }
        }
    }
}

fn plots(report: &Report) -> Result<Vec<String>> {
    let mut plots = Vec::new();
    for (subject, rows) in report.subjects() {
        match subject {
            "null transport" | "ntsim, all rules off" | "loopback TCP, one circuit" => {
                plots.push(plot::bars(subject, "ns", &bars(rows))?);
            }
            "64 bytes and an answer, loopback TCP" => {
                plots.push(plot::bars(subject, "µs", &bars(rows))?);
            }
            "bytes sent, loopback TCP" => {
                for rows in rows.chunk_by(|one, other| one.circuits == other.circuits) {
                    let circuits = rows
                        .first()
                        .and_then(|row| row.circuits)
                        .unwrap_or_default();
                    let labels = Labels {
                        title: &format!("{subject}, circuits: {circuits}"),
                        x: "bytes of a send",
                        y: "MB/s",
                    };
                    plots.push(plot::lines(&labels, &series(rows, |row| row.bytes))?);
                }
            }
            "100 in use" | "any, at random" => {
                let labels = Labels {
                    title: &format!("cost of an operation: {subject}"),
                    x: "circuits alive",
                    y: "ns",
                };
                plots.push(plot::lines(&labels, &series(rows, |row| row.circuits))?);
            }
            _ => {}
        }
    }
    Ok(plots)
}

fn bars(rows: &[Row]) -> Vec<Bar> {
    let kind = |row: &Row| match row.name.rsplit_once(", ") {
        Some((_, "by hand")) => 1,
        Some((_, "plain sockets")) => 2,
        _ => 0,
    };
    rows.iter()
        .map(|row| Bar {
            name: row.name.clone(),
            middle: row.summary.median,
            quartiles: row.summary.quartiles,
            kind: kind(row),
        })
        .collect()
}

/// One series for each name.
fn series(rows: &[Row], x: impl Fn(&Row) -> Option<u32>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for row in rows {
        let point = Point {
            x: x(row).unwrap_or_default().into(),
            middle: row.summary.median,
            quartiles: row.summary.quartiles,
        };
        match all.iter_mut().find(|series| series.name == row.name) {
            Some(series) => series.points.push(point),
            None => all.push(Series {
                name: row.name.clone(),
                points: vec![point],
            }),
        }
    }
    all
}
