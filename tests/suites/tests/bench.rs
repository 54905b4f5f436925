//! The benches work: a little of everything is measured, and no figure is missing. Times are nobody's concern here; what the
//! engine's routines execute is the same in each run, and is held to what was recorded.
//!
//! It needs the release images of rxce.sys and bench.sys (`cargo xtask build --all`).

use std::fs;

use clap::Parser as _;
use suites::bench::{
    self,
    report::{Report, Row},
};

/// What a report must have: subject, and how many rows.
const SUBJECTS: [(&str, usize); 14] = [
    ("ntsim, all rules off", 4),
    ("null transport", 24),
    ("two threads on disjoint circuits", 4),
    ("driver code, null transport", 24),
    ("loopback TCP, one circuit", 17),
    ("loopback TCP, a whole cycle", 4),
    ("64 bytes and an answer, loopback TCP", 9),
    ("bytes sent, loopback TCP", 20),
    ("100 in use", 12),
    ("100 in use, far apart", 12),
    ("any, at random", 12),
    ("nonpaged pool of a circuit", 2),
    ("memory of the host", 2),
    ("release image", 7),
];

/// Instructions and kernel calls of the engine's routines over the null transport. Whoever changes them on purpose records the new
/// ones, and says in docs/benches.md what it was for.
const RECORDED: [(&str, u32, u32); 4] = [
    ("send", 418, 14),
    ("disconnect", 472, 19),
    ("tear-down", 606, 26),
    ("build", 1424, 59),
];
/// The same of the client that keeps the contract by hand: what it costs whoever keeps it. The engine calls the kernel as often.
const PRESCRIBED: [(&str, u32, u32); 4] = [
    ("send", 207, 14),
    ("disconnect", 266, 19),
    ("tear-down", 295, 26),
    ("build", 795, 59),
];
/// Waits of a cycle over loopback that put a thread to sleep, by the engine and by hand: for the association, the connect, the
/// disconnect and the close of the endpoint. One more would be a thread that is woken for nothing.
const SLEEPS: f64 = 4.0;
/// What another compiler may make of the same source.
const BAND: f64 = 0.1;

#[test]
fn every_figure_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (json, html) = (folder.path().join("json"), folder.path().join("html"));
    let images = suites::machine::images("release");
    let options = bench::Options::parse_from([
        "bench".as_ref(),
        "--quick".as_ref(),
        "--images".as_ref(),
        images.as_os_str(),
        "--json".as_ref(),
        json.as_os_str(),
        "--html".as_ref(),
        html.as_os_str(),
    ]);
    let report = bench::run(&options).expect("the benches run");
    check(&report);
    compare(&report);
    let text = fs::read_to_string(&json).expect("the figures are written");
    let value: serde_json::Value = serde_json::from_str(&text).expect("they are JSON");
    let rows = value.get("rows").and_then(|rows| rows.as_array());
    assert_eq!(rows.map(Vec::len), Some(report.rows.len()));
    let page = fs::read_to_string(&html).expect("the page is written");
    // Four plots of bars, one for each number of circuits of the streams, two of costs by circuits alive.
    assert_eq!(page.matches("<svg").count(), 4 + 2 + 2);
    assert!(
        !page.contains("src=") && !page.contains("href="),
        "the page needs other files"
    );
}

fn check(report: &Report) {
    let of_a_tag = |row: &&Row| row.name.starts_with("- tag ");
    let found: Vec<(&str, usize)> = report
        .subjects()
        .map(|(subject, rows)| {
            let others = rows.iter().filter(|row| !of_a_tag(row));
            (subject, others.count())
        })
        .collect();
    assert_eq!(found, SUBJECTS);
    // Whether the registry's tables grow, which have a tag of their own, depends on where the circuits lie.
    let circuits = report.rows.iter().filter(of_a_tag);
    let circuits = circuits.filter(|row| row.name == "- tag RxVc");
    assert_eq!(circuits.count(), 2);
    for row in &report.rows {
        assert!(
            row.summary.median.is_finite() && row.summary.median > 0.0,
            "{row:?}"
        );
        for ratio in &row.ratios {
            assert!(
                ratio.summary.median.is_finite() && ratio.summary.median > 0.0,
                "{row:?}"
            );
        }
    }
}

fn compare(report: &Report) {
    let median = |subject: &str, name: &str, unit: &str| {
        let row = report.rows.iter().find(|row| {
            (row.subject.as_str(), row.name.as_str(), row.unit) == (subject, name, unit)
        });
        row.expect("the figure is there").summary.median
    };
    for name in ["waits that sleep", "waits that sleep, by hand"] {
        let sleeps = median("loopback TCP, a whole cycle", name, "times");
        assert_eq!(sleeps, SLEEPS, "{name}");
    }
    let figure = |name: &str, unit: &str| median("driver code, null transport", name, unit);
    for (name, ..) in RECORDED {
        let contract = figure(&format!("{name}, by hand, as prescribed"), "kernel calls");
        assert_eq!(
            figure(name, "kernel calls"),
            contract,
            "a {name} calls the kernel as often as its contract prescribes"
        );
    }
    let whose = |suffix: &str, recorded: [(&str, u32, u32); 4]| {
        recorded.map(|(name, instructions, calls)| (format!("{name}{suffix}"), instructions, calls))
    };
    let engine = whose("", RECORDED);
    let prescribed = whose(", by hand, as prescribed", PRESCRIBED);
    for (name, instructions, calls) in engine.into_iter().chain(prescribed) {
        assert_eq!(
            figure(&name, "kernel calls"),
            f64::from(calls),
            "kernel calls of a {name}"
        );
        let (now, then) = (figure(&name, "instructions"), f64::from(instructions));
        assert!(
            (now - then).abs() <= then * BAND,
            "a {name} takes {now} instructions; recorded are {then}"
        );
    }
}
