//! `cargo xtask evidence`: what the last `cargo xtask test` counted, on the terminal or into the documentation.

use std::{fmt::Write as _, fs};

use ::evidence::{Figure, Kind};
use anyhow::{Context, Result, bail};
use clap::Args;

use crate::workspace;

/// Where the figures go.
#[derive(Args)]
pub(crate) struct Options {
    /// Write the figures into docs/evidence.md too.
    #[arg(long)]
    document: bool,
}

/// Between these lines of the page the figures stand.
const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- end of figures -->";

/// Prints every figure, kind by kind, with the sum of each.
pub(crate) fn run(options: &Options) -> Result<()> {
    let figures = read()?;
    if figures.is_empty() {
        bail!("nothing was recorded; `cargo xtask test` does");
    }
    for kind in Kind::ALL {
        println!("\n== {}", kind.word());
        for figure in of(&figures, kind) {
            println!("{:>10}  {}  {}", figure.count, figure.name, figure.note);
        }
        println!("{}", sum(&figures, kind));
    }
    if options.document {
        document(&figures)?;
    }
    Ok(())
}

/// Prints the sums, at the end of a run.
pub(crate) fn print_sums() -> Result<()> {
    let figures = read()?;
    for kind in Kind::ALL {
        println!("{}: {}", kind.word(), sum(&figures, kind));
    }
    Ok(())
}

fn read() -> Result<Vec<Figure>> {
    ::evidence::figures().with_context(|| ::evidence::directory().display().to_string())
}

fn of(figures: &[Figure], kind: Kind) -> impl Iterator<Item = &Figure> {
    figures.iter().filter(move |figure| figure.kind == kind)
}

fn sum(figures: &[Figure], kind: Kind) -> String {
    let count: u64 = of(figures, kind).map(|figure| figure.count).sum();
    let names = of(figures, kind).count();
    format!("{count} {} under {names} names", kind.unit())
}

/// Replaces the figures of the page.
fn document(figures: &[Figure]) -> Result<()> {
    let path = workspace::root().join("docs/evidence.md");
    let page = fs::read_to_string(&path).context("docs/evidence.md")?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no figures")?;
    let (_, after) = rest.split_once(END).context("the figures have no end")?;
    let tables = tables(figures)?;
    fs::write(&path, format!("{before}{BEGIN}\n{tables}{END}{after}")).context("docs/evidence.md")
}

fn tables(figures: &[Figure]) -> Result<String> {
    let mut out = String::new();
    for kind in Kind::ALL {
        let word = kind.word();
        write!(out, "\n### {}{}\n\n", word[..1].to_uppercase(), &word[1..])?;
        writeln!(out, "{}.\n", sum(figures, kind))?;
        writeln!(out, "| Name | {} | |\n|---|---|---|", kind.unit())?;
        for figure in of(figures, kind) {
            writeln!(
                out,
                "| {} | {} | {} |",
                figure.name, figure.count, figure.note
            )?;
        }
    }
    out.push('\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_by_kind() {
        let figure = |kind, count: u64| Figure {
            kind,
            name: count.to_string(),
            count,
            note: String::new(),
        };
        let figures = [
            figure(Kind::Swept, 2),
            figure(Kind::Swept, 3),
            figure(Kind::Fuzzed, 9),
        ];
        assert_eq!(sum(&figures, Kind::Swept), "5 points under 2 names");
        assert_eq!(sum(&figures, Kind::Explored), "0 schedules under 0 names");
    }

    #[test]
    fn the_page_has_room_for_figures() {
        let page = fs::read_to_string(workspace::root().join("docs/evidence.md")).unwrap();
        let (_, rest) = page.split_once(BEGIN).unwrap();
        assert!(rest.contains(END));
    }
}
