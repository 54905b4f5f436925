//! What every suite does with a machine: find the built drivers, load and start them, see that nothing is left.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use ntsim::{Driver, account::Counts};

/// Where `cargo xtask build --all` puts the x64 images of a profile, `debug` or `release`.
#[must_use]
pub fn images(profile: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/drivers")
        .join(profile)
        .join("x86_64")
}

/// Fills a folder with links to the x64 images of a profile, the product being the one in its redirector form: what imports
/// from `rxce.sys` finds that form there.
///
/// # Errors
///
/// The folder cannot be made, or there is no such image.
pub fn with_redirector(profile: &str, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let images = fs::canonicalize(images(profile)).context("no images")?;
    for name in ["conform.sys", "redirector/rxce.sys"] {
        let image = images.join(name);
        ensure!(image.is_file(), "there is no {}", image.display());
        let link = folder.join(image.file_name().unwrap_or_default());
        symlink(&image, link)?;
    }
    Ok(())
}

/// Loads a driver into the booted machine and runs its `DriverEntry`.
///
/// # Errors
///
/// A missing image, and an entry that fails.
pub fn start(path: &Path) -> Result<Driver> {
    start_prepared(path, |_| Ok(()))
}

/// As [`start`], with something to do to the driver before its `DriverEntry`.
///
/// # Errors
///
/// As [`start`], and those of `prepare`.
pub fn start_prepared(path: &Path, prepare: impl FnOnce(&Driver) -> Result<()>) -> Result<Driver> {
    let driver = Driver::load(path).with_context(|| {
        format!(
            "cannot load {} (made by `cargo xtask build --all`)",
            path.display()
        )
    })?;
    prepare(&driver)?;
    let status = driver.start();
    ensure!(
        status >= 0,
        "DriverEntry of {} returned {status:#010X}",
        path.display()
    );
    Ok(driver)
}

/// Sees that no driver has left anything behind.
///
/// # Errors
///
/// What is left.
pub fn nothing_is_left() -> Result<()> {
    let account = ntsim::account();
    ensure!(
        account.total == Counts::default(),
        "something is left:\n{account}"
    );
    Ok(())
}
