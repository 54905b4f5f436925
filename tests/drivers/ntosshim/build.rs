//! Build script: what the wdk crates need, and the exports. Every name of the kernel's import list is exported: the overridden ones
//! by routines of this crate, the others as forwarders to Wine's kernel.

use std::fs;

use anyhow::{Context, Result, ensure};

#[path = "overrides.rs"]
mod overrides;

/// The names that drivers built here may import.
const KERNEL: &str = "../../../xwdk/lib/ntoskrnl.def";

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=overrides.rs");
    println!("cargo::rerun-if-changed={KERNEL}");
    wdk_build::configure_wdk_binary_build()?;
    let kernel = fs::read_to_string(KERNEL).context(KERNEL)?;
    let names: Vec<&str> = kernel
        .lines()
        .map(|line| line.split(';').next().unwrap_or_default())
        .skip_while(|line| line.trim() != "EXPORTS")
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for name in overrides::ROUTINES.iter().chain(&overrides::VARIABLES) {
        ensure!(names.contains(name), "{name} is not in {KERNEL}");
    }
    for name in names {
        let target = if overrides::VARIABLES.contains(&name) {
            format!("{name}=shim_{name},DATA")
        } else if overrides::ROUTINES.contains(&name) {
            format!("{name}=shim_{name}")
        } else {
            format!("{name}=ntoskrnl.exe.{name}")
        };
        println!("cargo::rustc-cdylib-link-arg=/EXPORT:{target}");
    }
    println!("cargo::rustc-cdylib-link-arg=/RELEASE");
    println!("cargo::rustc-cdylib-link-arg=/Brepro");
    println!("cargo::rustc-cdylib-link-arg=/PDBALTPATH:ntosshim.pdb");
    Ok(())
}
