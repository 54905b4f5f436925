//! Build script: what the wdk crates need, and the linker arguments of a driver.

fn main() -> Result<(), wdk_build::ConfigError> {
    wdk_build::configure_wdk_binary_build()?;
    println!("cargo::rustc-cdylib-link-arg=/RELEASE");
    println!("cargo::rustc-cdylib-link-arg=/Brepro");
    println!("cargo::rustc-cdylib-link-arg=/PDBALTPATH:memrdr.pdb");
    Ok(())
}
