//! Where the images are.

use std::path::{Path, PathBuf};

/// An image of GNU tools; `cargo xtask build --all` makes them.
pub(crate) fn c_driver(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/drivers/c")
        .join(name)
}
