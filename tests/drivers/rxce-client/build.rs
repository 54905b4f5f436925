//! Generates the Rust form of rxce.h and tdikrnl.h, and the import library `rxce.lib`.

use std::{env, fs::File, path::PathBuf};

use anyhow::{Context, Result};
use bindgen::{
    Builder,
    callbacks::{DeriveTrait, ImplementsTrait, ParseCallbacks},
};
use implib::{Flavor, ImportLibrary, MachineType};
use wdk_build::{ApiSubset, BuilderExt, Config};

fn main() -> Result<()> {
    let out = PathBuf::from(env::var("OUT_DIR").context("OUT_DIR")?);
    let include = PathBuf::from(env::var("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR")?)
        .join("../../../include")
        .canonicalize()
        .context("the project's include directory")?;

    bindings(&include, &out.join("rxce.rs"))?;
    small_table(&include, &out.join("small.rs"))?;
    // A build for the original takes rxce.lib from the WDK, where the host has one. Elsewhere it is linked with a library that
    // has the documented names only, to see that no others are needed.
    let original = env::var_os("CARGO_FEATURE_ORIGINAL").is_some();
    if !(original && cfg!(windows)) {
        let names = if original {
            Names::Documented
        } else {
            Names::All
        };
        import_library(&include.join("rxce.def"), names, &out.join("rxce.lib"))?;
        println!("cargo::rustc-link-search=native={}", out.display());
    }
    println!("cargo::rustc-link-lib=dylib=rxce");
    if original && cfg!(windows) {
        // What the original engine stands on.
        println!("cargo::rustc-link-lib=dylib=rdbsslib");
    }
    Ok(())
}

/// Tells bindgen what it cannot see: that the types of wdk-sys, plain data all, may be copied.
#[derive(Debug)]
struct KernelTypes;

impl ParseCallbacks for KernelTypes {
    fn blocklisted_type_implements_trait(
        &self,
        _name: &str,
        derive: DeriveTrait,
    ) -> Option<ImplementsTrait> {
        (derive == DeriveTrait::Copy).then_some(ImplementsTrait::Yes)
    }
}

/// The header, preceded by `first`. Types that wdk-sys already has are left out and taken from there.
fn header(include: &std::path::Path, first: &str) -> Result<Builder> {
    let config = Config::from_env_auto()?;
    let mut headers = config.bindgen_header_contents([ApiSubset::Base])?;
    headers.push_str(first);
    headers.push_str("#include \"tdikrnl.h\"\n#include \"rxce.h\"\n");
    Ok(Builder::wdk_default(&config)?
        .clang_arg(format!("--include-directory={}", include.display()))
        .header_contents("rxce-input.h", &headers)
        .allowlist_recursively(false)
        .parse_callbacks(Box::new(KernelTypes)))
}

/// What a client gets that defines RXCEX_SMALL_EVENT_TABLE, where it differs.
fn small_table(include: &std::path::Path, output: &std::path::Path) -> Result<()> {
    header(include, "#define RXCEX_SMALL_EVENT_TABLE\n")?
        .allowlist_type("_?P?RXCE_CONNECTION_EVENT_HANDLER")
        .allowlist_function("RxCex?Build.*Connection.*")
        .generate()?
        .write_to_file(output)?;
    Ok(())
}

fn bindings(include: &std::path::Path, output: &std::path::Path) -> Result<()> {
    header(include, "")?
        .allowlist_type("_ADAPTER_STATUS")
        .allowlist_type("_?P?(RXCEX|RXCE|RX|TDI|TA|TRANSPORT|CONNECTION)_.*")
        .allowlist_type("_RDBSS_DEVICE_OBJECT")
        .allowlist_type("eNameBufferType")
        // Plug and play notifications, which need more of NDIS than a client of the engine does.
        .blocklist_type(".*(PNP_POWER_HANDLER|CLIENT_INTERFACE_INFO)")
        .allowlist_function("RxCe.*")
        .allowlist_var("((RXCE|RXCEX|TDI)|IOCTL_INTERNAL_RXCEX)_.*")
        .generate()?
        .write_to_file(output)?;
    println!(
        "cargo::rerun-if-changed={}",
        include.join("rxce.h").display()
    );
    Ok(())
}

/// Which routines a client can import.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// All.
    All,
    /// Those of Microsoft's documentation.
    Documented,
}

fn import_library(def: &std::path::Path, names: Names, output: &std::path::Path) -> Result<()> {
    println!("cargo::rerun-if-changed={}", def.display());
    let text = std::fs::read_to_string(def).with_context(|| def.display().to_string())?;
    let is_wanted = |line: &&str| names == Names::All || !line.trim().starts_with("RxCex");
    let text: String = text
        .lines()
        .filter(is_wanted)
        .flat_map(|line| [line, "\n"])
        .collect();
    let machine = match env::var("CARGO_CFG_TARGET_ARCH")
        .context("CARGO_CFG_TARGET_ARCH")?
        .as_str()
    {
        "aarch64" => MachineType::ARM64,
        _ => MachineType::AMD64,
    };
    let library = ImportLibrary::new(&text, machine, Flavor::Msvc)?;
    library.write_to(&mut File::create(output)?)?;
    Ok(())
}
