//! Pages of `docs/` that a suite generates, whole or in part.

use anyhow::{Result, ensure};

/// Sees that what is written on a page is what this run would write; `renew` is what writes it anew.
///
/// # Errors
///
/// The first line that differs.
pub fn is_current(page: &str, written: &str, now: &str, renew: &str) -> Result<()> {
    let lines = written.lines().count().max(now.lines().count());
    let padded = |text: &'static str| std::iter::repeat(text);
    let difference = now
        .lines()
        .chain(padded(""))
        .zip(written.lines().chain(padded("")))
        .take(lines)
        .find(|(now, then)| now != then);
    ensure!(
        written == now,
        "{page} is out of date ({renew} writes it anew); first difference: {difference:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_wherever_it_is() {
        assert!(is_current("docs/a.md", "one\ntwo\n", "one\ntwo\n", "X=1").is_ok());
        for (written, now, shown) in [
            ("one\ntwo\n", "one\n2\n", "(\"2\", \"two\")"),
            ("one\n", "one\ntwo\n", "(\"two\", \"\")"),
            ("one\ntwo\n", "one\n", "(\"\", \"two\")"),
        ] {
            let error = is_current("docs/a.md", written, now, "X=1").expect_err("they differ");
            assert!(error.to_string().contains(shown), "{error}");
        }
    }
}
