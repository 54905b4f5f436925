//! docs/mutants.md: read, written, compared.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use mutants::Mutant;
use suites::page;

use crate::process::How;

/// What the page says of one defect.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) mutant: Mutant,
    /// Vectors that find it, and how; the first few.
    pub(crate) killers: Vec<(String, How)>,
    /// How many find it.
    pub(crate) count: usize,
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mutants.md")
}

/// Reads the rows of the page; defects that are no more are left out.
///
/// # Errors
///
/// A row cannot be understood.
pub(crate) fn read() -> Result<Vec<Row>> {
    let text = fs::read_to_string(path())
        .context("docs/mutants.md, which `cargo xtask mutants` writes")?;
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, _, killers, count, _] = cells[..] else {
            anyhow::bail!("not a row: {line}");
        };
        let name = name.trim_matches('`');
        let Some(&mutant) = Mutant::ALL.iter().find(|mutant| mutant.name() == name) else {
            continue;
        };
        let killers = killers
            .split(", ")
            .filter(|killer| *killer != NONE)
            .take(NAMED)
            .map(|killer| {
                let (vector, how) = killer.split_once(' ')?;
                Some((vector.to_owned(), How::parse(how)?))
            })
            .collect::<Option<_>>()
            .with_context(|| format!("not understood: {killers}"))?;
        rows.push(Row {
            mutant,
            killers,
            count: count.parse().context("the number of vectors")?,
        });
    }
    Ok(rows)
}

/// How many vectors are named for a defect.
pub(crate) const NAMED: usize = 2;

/// In the place of vectors, where there are none.
const NONE: &str = "none";

/// Writes the page.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn write(rows: &[Row]) -> Result<()> {
    fs::write(path(), render(rows)?).context("docs/mutants.md")
}

/// Compares the page with what would be written.
///
/// # Errors
///
/// The first difference.
pub(crate) fn compare(rows: &[Row]) -> Result<()> {
    let (written, now) = (fs::read_to_string(path())?, render(rows)?);
    page::is_current("docs/mutants.md", &written, &now, "`cargo xtask mutants`")
}

fn render(rows: &[Row]) -> Result<String> {
    let found = rows.iter().filter(|row| !row.killers.is_empty()).count();
    let mut out = String::new();
    write!(
        out,
        "# Mutants\n\n\
         {found} of {} planted defects of the engine are found by the vectors of [the conformance table](conformance.md), or by \
         two unloads\n(`R13-…`, in the suite `service`) that no client could time.\n\n\
         Each defect is one change at a place of `engine/` or `src/` that is marked `mutant!(Name)`; `tests/mutants/` has the \
         list. They are\nbuilt by the feature `mutants` into one image of its own, `target/drivers/mutants/x86_64/rxce.sys`, \
         which has one more export to\nchoose a defect by its number. Without the feature the marks are the word `false`, and \
         a check of the images shows that nothing\nof them is in any other one.\n\n\
         `cargo xtask mutants` runs every vector against every defect and writes this page. `cargo xtask test` runs the vectors \
         that are\nnamed here against their defects again, each in a machine of its own: each must find it. On the same image \
         without a defect all of\nthem must pass. A defect that no vector finds fails the test: it is a missing vector.\n\n\
         *failed*: the vector says what is wrong. *stop*: the simulated kernel was stopped with this code. *hang*: no thread \
         could go on.\n*no end*: it went on for ever. A defect that is a race can show in another way the next time. The last \
         column counts the vectors\nthat found the defect in the full run; up to two are named.\n",
        rows.len()
    )?;
    let mut place = "";
    for row in rows {
        if row.mutant.place() != place {
            place = row.mutant.place();
            write!(
                out,
                "\n## {}\n\n| Mutant | What is wrong | Found by | Vectors |\n|---|---|---|---|\n",
                capitalised(place)
            )?;
        }
        let killers: Vec<String> = row
            .killers
            .iter()
            .map(|(vector, how)| format!("{vector} {how}"))
            .collect();
        let killers = if killers.is_empty() {
            NONE.to_owned()
        } else {
            killers.join(", ")
        };
        writeln!(
            out,
            "| `{}` | {} | {killers} | {} |",
            row.mutant.name(),
            row.mutant.description(),
            row.count
        )?;
    }
    Ok(out)
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
