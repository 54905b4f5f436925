//! Build script: what the wdk crates need, the version resource, and the linker arguments of a driver.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};

#[path = "../../../build/version.rs"]
mod version;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../../build/version.rs");
    wdk_build::configure_wdk_binary_build()?;
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    let resource = out_dir.join("version.res");
    fs::write(&resource, version::resource()?)
        .with_context(|| format!("cannot write {}", resource.display()))?;
    // The checksum, which a Windows kernel asks of a boot driver; a reproducible time stamp; no path in the image.
    println!("cargo::rustc-cdylib-link-arg=/RELEASE");
    println!("cargo::rustc-cdylib-link-arg=/Brepro");
    println!("cargo::rustc-cdylib-link-arg=/PDBALTPATH:conform.pdb");
    println!("cargo::rustc-cdylib-link-arg={}", resource.display());
    Ok(())
}
