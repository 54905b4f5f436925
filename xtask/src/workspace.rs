//! Where things lie in this checkout.

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // The parent of this package, wherever the checkout lies now.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package
        .parent()
        .map_or_else(|| package.clone(), Path::to_path_buf)
}

/// The target directory of driver builds, apart from the host's: another compiler, other flags.
pub(crate) fn driver_target() -> PathBuf {
    root().join("target/xwdk")
}

/// The directory finished images are put in.
pub(crate) fn images() -> PathBuf {
    root().join("target/drivers")
}

/// `path` as a reader wants to see it: from the root.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}
