//! Hostile bytes for the engine's pure code.

use anyhow::Result;

/// One target.
pub(crate) struct Target {
    pub(crate) name: &'static str,
}

pub(crate) const TARGETS: &[Target] = &[];

pub(crate) fn run(_target: &Target, _seed: u64, _count: u64) -> Result<()> {
    Ok(())
}
pub(crate) fn replay(_text: &str) -> Result<()> {
    Ok(())
}
