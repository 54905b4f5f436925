//! The differences between ntsim and Wine that are understood. An entry that no longer differs is an error.

use super::compare::Known;

pub(crate) const KNOWN: &[Known] = &[];
