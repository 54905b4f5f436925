//! `cargo xtask soak`: storms with fresh seeds, for as long as one likes.

use anyhow::Result;

use crate::endless::{self, Span};

/// Builds, then runs the suite `storm` in its endless form.
pub(crate) fn run(span: &Span) -> Result<()> {
    endless::run(
        ["suites", "storm"],
        span,
        ["STORM_SOAK", "STORM_SEED"],
        None,
    )
}
