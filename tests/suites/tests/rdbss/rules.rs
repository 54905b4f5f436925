//! The rules that memrdr.sys breaks.

use std::fs;

use anyhow::{Result, bail, ensure};
use memrdr_ioctl::{BIG, DIRECTORY, HELLO, RULES, Rule, Stop};
use ntsim::DirectoryFlags;

use crate::machine::{Redirector, here, open};

/// Does everything once: whatever the rule is about comes to pass.
pub(crate) fn break_rule(name: &str) -> Result<()> {
    let redirector = Redirector::load()?;
    let started_first = name == "unregister_while_started";
    if started_first {
        redirector.start()?;
    }
    redirector.break_rule(name)?;
    if !started_first {
        redirector.start()?;
    }
    let file = open(&here(&format!(r"\{HELLO}")))?;
    file.read_at(0, 4)?;
    file.query_information(5, 0x18)?;
    open(&here(&format!(r"\{BIG}")))?.read_at(0, 4)?;
    // What happens in workers has happened then: this time passes at once where nobody runs any more.
    ntsim::clock::sleep(std::time::Duration::from_secs(5));
    let directory = open(&here(&format!(r"\{DIRECTORY}")))?;
    directory.query_directory(37, None, DirectoryFlags::NONE, 4096)?;
    drop((file, directory));
    redirector.stop()?;
    redirector.unload()?;
    bail!("nobody minded")
}

/// Whether a machine ended as a rule says, and said who did it.
pub(crate) fn judge(rule: &Rule, code: Option<i32>, report: &str) -> Result<(), String> {
    let (wanted, first) = match rule.stop {
        Stop::Hang if code == Some(98) => return Ok(()),
        Stop::Hang => return Err("no hang".to_owned()),
        Stop::BugCheck(wanted, first) => (wanted, first),
    };
    if code != Some(ntsim::stop::EXIT_CODE) {
        return Err("no stop".to_owned());
    }
    let begins = match first {
        Some(first) => format!("*** STOP 0x{wanted:08X} (0x{first:X}, "),
        None => format!("*** STOP 0x{wanted:08X} ("),
    };
    if !report.contains(&begins) {
        return Err(format!("expected {begins}…"));
    }
    if report.contains("memrdr.sys") {
        Ok(())
    } else {
        Err("the report does not name the driver".to_owned())
    }
}

/// Whether docs/rdbss.md has every rule, with its stop, and every file that checks one is there.
pub(crate) fn check_table() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/rdbss.md"))?;
    for rule in RULES {
        let line = line(rule);
        ensure!(
            page.contains(&line),
            "docs/rdbss.md does not have this line:\n{line}"
        );
        let file = root.join("tests/ntsim/src").join(rule.check);
        ensure!(file.is_file(), "{}: no file {}", rule.name, rule.check);
    }
    let rows = page
        .lines()
        .filter(|line| line.ends_with("` |") && line.contains("` | `"))
        .count();
    ensure!(
        rows == RULES.len(),
        "docs/rdbss.md has {rows} rows, there are {} rules",
        RULES.len()
    );
    Ok(())
}

fn line(rule: &Rule) -> String {
    let stop = match rule.stop {
        Stop::Hang => "hang".to_owned(),
        Stop::BugCheck(code, Some(first)) => format!("0x{code:X}/0x{first:X}"),
        Stop::BugCheck(code, None) => format!("0x{code:X}"),
    };
    format!(
        "| {} | `{stop}` | `{}` | `{}` |",
        rule.what, rule.check, rule.name
    )
}
