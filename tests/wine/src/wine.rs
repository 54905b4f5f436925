//! Where Wine is installed.

use std::path::{Path, PathBuf};

/// An installed Wine: Debian 12's, which is the version whose gaps are known.
#[derive(Clone, Debug)]
pub struct Wine {
    /// Starts programs for Windows.
    pub(crate) loader: PathBuf,
    /// The server of a prefix.
    pub(crate) server: PathBuf,
}

impl Wine {
    /// Looks for it.
    ///
    /// # Errors
    ///
    /// What is missing, for the reader.
    pub fn find() -> Result<Self, String> {
        let directory = Path::new("/usr/lib/wine");
        let wine = Self {
            loader: directory.join("wine64"),
            server: directory.join("wineserver64"),
        };
        let missing = [&wine.loader, &wine.server]
            .into_iter()
            .find(|program| !program.is_file())
            .cloned();
        match missing {
            None => Ok(wine),
            Some(missing) => Err(format!(
                "Wine is not installed: there is no {} (Debian's packages are wine64 and libwine; `cargo xtask setup` \
                 installs them)",
                missing.display()
            )),
        }
    }
}
