//! Build script of the driver: what the wdk crates need, bindings to the TDI headers, the version resource, linker arguments.
//!
//! The same on Windows (upstream `wdk-build`) and on Linux (the stand-in of `xwdk/`).

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use bindgen::CodegenConfig;
use wdk_build::{ApiSubset, BuilderExt, Config};

#[path = "build/inx.rs"]
#[cfg(windows)]
mod inx;
#[path = "build/version.rs"]
mod version;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/version.rs");
    let config = Config::from_env_auto()?;
    config.configure_binary_build()?;

    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    // Only the Windows tools want it; on Linux, `cargo xtask package` reads the source itself.
    #[cfg(windows)]
    place_inx()?;
    tdi_bindings(&config, &out_dir)?;
    link_arguments(&out_dir)
}

/// Puts the INF's source where `cargo make` and `cargo wdk build` look for it.
#[cfg(windows)]
fn place_inx() -> Result<()> {
    println!("cargo::rerun-if-changed=build/inx.rs");
    println!("cargo::rerun-if-changed=inf/rxce.inx");
    println!("cargo::rerun-if-changed=rxce.inx");
    let root = env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?;
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    let rdbss = if has("REDIRECTOR") && !has("RDBSS_STATIC") {
        inx::Rdbss::Imported
    } else {
        inx::Rdbss::NotImported
    };
    inx::place(Path::new(&root), rdbss).context("cannot copy inf/rxce.inx beside Cargo.toml")
}

/// Writes `tdi.rs`: the types and constants of the TDI headers, over the types of `wdk-sys`.
///
/// Functions are left out: all the driver needs are inline macros, and nothing is to be imported from `tdi.sys`.
fn tdi_bindings(config: &Config, out_dir: &Path) -> Result<()> {
    let header = format!(
        "{}#include \"tdikrnl.h\"\n#include \"tdiinfo.h\"\n",
        config.bindgen_header_contents([ApiSubset::Base])?
    );
    bindgen::Builder::wdk_default(config)?
        .header_contents("tdi-input.h", &header)
        .with_codegen_config(CodegenConfig::TYPES | CodegenConfig::VARS)
        // Only what these headers define; everything they refer to is wdk-sys's.
        .allowlist_file(r"(?i).*[/\\](tdi|tdikrnl|tdistat|tdiinfo|ntddtdi|netpnp)\.h")
        .allowlist_recursively(false)
        .raw_line("use wdk_sys::*;")
        .generate()
        .context("bindings to tdikrnl.h")?
        .write_to_file(out_dir.join("tdi.rs"))
        .context("cannot write tdi.rs")
}

/// Adds what `wdk-build` does not: checksum, reproducible time stamp, PDB name without a path, version resource.
fn link_arguments(out_dir: &Path) -> Result<()> {
    let resource = out_dir.join("version.res");
    fs::write(&resource, version::resource()?)
        .with_context(|| format!("cannot write {}", resource.display()))?;
    let name = env::var("CARGO_PKG_NAME").context("CARGO_PKG_NAME is not set")?;
    for argument in [
        "/RELEASE".to_owned(),
        "/Brepro".to_owned(),
        format!("/PDBALTPATH:{name}.pdb"),
        resource.display().to_string(),
    ] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
    Ok(())
}
