//! The INF's source, where the Windows tools look for it.

use std::{fs, io, path::Path};

/// Where the image has RDBSS from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rdbss {
    /// It imports from `rdbss.sys`.
    Imported,
    /// It has its own, or none.
    NotImported,
}

/// Copies `inf/rxce.inx` beside the manifest, as it fits the image, unless the copy is there and the same.
///
/// `cargo make` and `cargo wdk build` look for it there, after the build. Git ignores the copy.
pub(crate) fn place(root: &Path, rdbss: Rdbss) -> io::Result<()> {
    let (source, copy) = (root.join("inf/rxce.inx"), root.join("rxce.inx"));
    let mut text = fs::read_to_string(source)?;
    if rdbss == Rdbss::NotImported {
        // As packaging/src/stamp.rs does; a test compares them.
        text = text
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("Dependencies"))
            .collect();
    }
    if fs::read_to_string(&copy).is_ok_and(|present| present == text) {
        return Ok(());
    }
    fs::write(copy, text)
}
