//! The table of docs/wine.md, which a run writes and checks.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use suites::page;

use super::{
    Bench,
    known::KNOWN,
    table::{Vector, Verdict},
    vectors::Tables,
};

/// Set by whoever wants the table written instead of compared.
const UPDATE: &str = "WINE_UPDATE";
/// The generated part lies between these lines.
const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

/// The document has the table of this run.
pub(crate) fn is_current(bench: &Bench) -> Result<()> {
    let table = render(&Tables::of(bench)?)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/wine.md");
    let text = fs::read_to_string(&path).context("docs/wine.md")?;
    let (before, rest) = text.split_once(BEGIN).context("no begin of the table")?;
    let (written, after) = rest.split_once(END).context("no end of the table")?;
    if env::var_os(UPDATE).is_some() {
        return fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))
            .context("docs/wine.md");
    }
    page::is_current("docs/wine.md", written, &table, &format!("{UPDATE}=1"))
}

fn render(tables: &Tables) -> Result<String> {
    let mut out = String::new();
    let count = |verdict| {
        tables
            .wine
            .iter()
            .filter(|vector| vector.verdict == verdict)
            .count()
    };
    let mut parts: BTreeMap<&str, usize> = BTreeMap::new();
    for part in tables.wine.iter().flat_map(Vector::missing) {
        *parts.entry(part).or_default() += 1;
    }
    write!(
        out,
        "{} vectors: on Wine {} pass, {} fail, {} are not possible there. In ntsim all pass.\n\n\
         What Wine cannot do, and how many vectors miss it, in part or as a whole:\n\n\
         | Missing on Wine | Vectors |\n|---|---|\n",
        tables.wine.len(),
        count(Verdict::Passed),
        count(Verdict::Failed),
        count(Verdict::Skipped),
    )?;
    for (part, vectors) in &parts {
        writeln!(out, "| {part} | {vectors} |")?;
    }
    out.push_str("\nDifferences, and why:\n\n");
    if KNOWN.is_empty() {
        out.push_str("None.\n");
    }
    for known in KNOWN {
        writeln!(out, "- **{}**: {}", known.id, known.reason)?;
    }
    out.push_str("\n| Vector | Shows | ntsim | Wine |\n|---|---|---|---|\n");
    for (ntsim, wine) in tables.ntsim.iter().zip(&tables.wine) {
        writeln!(
            out,
            "| {} | {} | {} | {} |",
            ntsim.id,
            ntsim.title,
            cell(ntsim),
            cell(wine)
        )?;
    }
    Ok(out)
}

fn cell(vector: &Vector) -> &'static str {
    match (vector.verdict, vector.parts_not_possible) {
        (Verdict::Passed, 0) => "passed",
        (Verdict::Passed, _) => "passed in part",
        (Verdict::Failed, _) => "failed",
        (Verdict::Skipped, _) => "not possible",
    }
}
