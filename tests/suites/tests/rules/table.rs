//! The table of docs/ntsim.md.

use std::{env, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use breaker_ioctl::{GROUPS, Rule, Stop};
use suites::page;

/// Set by whoever wants the table written instead of compared.
const UPDATE: &str = "RULES_UPDATE";
const BEGIN: &str =
    "<!-- The table below is made by the suite `rules`; RULES_UPDATE=1 writes it. -->\n";
const END: &str = "<!-- End of the table. -->\n";

/// Compares the page with the rules, or writes it.
pub(crate) fn check() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    checks_exist(&root)?;
    let path = root.join("docs/ntsim.md");
    let page = fs::read_to_string(&path).context("docs/ntsim.md")?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no table")?;
    let (written, after) = rest.split_once(END).context("the table has no end")?;
    let table = render();
    if env::var_os(UPDATE).is_some() {
        return fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))
            .context("docs/ntsim.md");
    }
    page::is_current(
        "the table of docs/ntsim.md",
        written,
        &table,
        &format!("{UPDATE}=1"),
    )
}

/// Every file that a rule names is there.
fn checks_exist(root: &Path) -> Result<()> {
    for rule in breaker_ioctl::rules() {
        let file = root.join("tests/ntsim/src").join(rule.check);
        ensure!(file.is_file(), "{}: no file {}", rule.name, rule.check);
    }
    Ok(())
}

fn render() -> String {
    let mut text = String::new();
    for group in GROUPS {
        let _ = writeln!(text, "\n### {}\n", group.subject);
        let _ = writeln!(
            text,
            "| Rule | Stop | Class or page | Check | Breaker and test |"
        );
        let _ = writeln!(text, "|---|---|---|---|---|");
        for rule in group.rules {
            let _ = writeln!(
                text,
                "| {} | `{}` | {} | `{}` | `{}`{} |",
                rule.what,
                stop(rule),
                rule.page,
                rule.check,
                rule.name,
                if rule.has_twin { " ✓" } else { "" }
            );
        }
    }
    text.push('\n');
    text
}

/// A stop as the page writes it: with the first parameter where it is a sub-code.
fn stop(rule: &Rule) -> String {
    match rule.stop {
        Stop::Hang(_) => "hang".to_owned(),
        Stop::BugCheck(code, [Some(first), ..]) => format!("0x{code:X}/0x{first:X}"),
        Stop::BugCheck(code, _) => format!("0x{code:X}"),
    }
}
