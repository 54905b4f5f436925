//! Compares docs/ntsim.md with what the scenarios do.

use libtest_mimic::{Failed, Trial};

/// The page.
const PAGE: &str = include_str!("../../../../docs/ntsim.md");

/// A rule: what it is, its stop, and the scenarios that break it.
struct Rule {
    stop: &'static str,
    tests: Vec<&'static str>,
}

/// Rows of the tables that have a stop in their second column.
fn rules() -> Vec<Rule> {
    let rows = PAGE.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, _, stop, tests @ ..] = cells.as_slice() else {
            return None;
        };
        let stop = stop.strip_prefix('`')?.strip_suffix('`')?;
        let tests = tests.first().copied().unwrap_or_default();
        (stop.starts_with("0x") || stop == "hang").then(|| Rule {
            stop,
            tests: quoted(tests),
        })
    });
    rows.collect()
}

/// What stands between backquotes.
fn quoted(text: &'static str) -> Vec<&'static str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether the page, if it names this scenario, says of it what its report says: `*** STOP 0x000000C4 (0x13, …` is `0xC4/0x13` or `0xC4`.
pub(crate) fn check(suite: &str, scenario: &str, report: &str) -> Result<(), Failed> {
    let name = format!("{suite} {scenario}");
    let rules = rules();
    let Some(rule) = rules
        .iter()
        .find(|rule| rule.tests.contains(&name.as_str()))
    else {
        // It breaks a rule to see the report of it; the rule has its own test.
        return Ok(());
    };
    let met = stop_of(report).ok_or("the report has no stop")?;
    if met == rule.stop || met.split('/').next() == Some(rule.stop) {
        return Ok(());
    }
    let documented = rule.stop;
    Err(format!("docs/ntsim.md says `{documented}` of `{name}`, which ended with `{met}`").into())
}

/// The stop of a report, as the page writes it.
fn stop_of(report: &str) -> Option<String> {
    if report.contains("*** HANG") {
        return Some("hang".to_owned());
    }
    let numbers = report.split_once("*** STOP ")?.1;
    let (code, rest) = numbers.split_once(" (")?;
    let code = u32::from_str_radix(code.strip_prefix("0x")?, 16).ok()?;
    Some(format!("0x{code:X}/{}", rest.split(',').next()?))
}

/// A test: every scenario of this suite that the page names exists.
pub(crate) fn trial(suite: &'static str, scenarios: Vec<&'static str>) -> Trial {
    Trial::test("the_page_names_scenarios_that_exist", move || {
        let named: Vec<&str> = rules().into_iter().flat_map(|rule| rule.tests).collect();
        let own: Vec<&str> = named
            .iter()
            .filter_map(|name| name.strip_prefix(suite)?.strip_prefix(' '))
            .collect();
        match own.iter().find(|name| !scenarios.contains(name)) {
            _ if own.is_empty() => Err("the page names no scenario".into()),
            Some(unknown) => {
                Err(format!("docs/ntsim.md names {suite} {unknown}, which is none").into())
            }
            None => Ok(()),
        }
    })
}
