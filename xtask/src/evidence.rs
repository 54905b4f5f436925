//! `cargo xtask evidence`: what the last `cargo xtask test` counted.

use ::evidence::{Figure, Kind};
use anyhow::{Context, Result, bail};

/// Prints every figure, kind by kind, with the sum of each.
pub(crate) fn run() -> Result<()> {
    let figures =
        ::evidence::figures().with_context(|| ::evidence::directory().display().to_string())?;
    if figures.is_empty() {
        bail!("nothing was recorded; `cargo xtask test` does");
    }
    for kind in Kind::ALL {
        let of_kind: Vec<&Figure> = figures
            .iter()
            .filter(|figure| figure.kind == kind)
            .collect();
        println!("\n== {}", kind.word());
        for figure in &of_kind {
            println!("{:>10}  {}  {}", figure.count, figure.name, figure.note);
        }
        let sum: u64 = of_kind.iter().map(|figure| figure.count).sum();
        println!("{sum:>10}  {} in all, {} names", kind.unit(), of_kind.len());
    }
    Ok(())
}
