//! Variants of the drivers, each in a directory of its own: with planted defects, or for old kernels. None of them ships.

use anyhow::{Result, bail};

use crate::{
    artefacts::{Architecture, PRODUCT},
    linking,
    toolchain::{self, Way},
    workspace,
};

/// A variant, built by a feature of its packages, optimised, for x64.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// The feature, and the directory of the images.
    pub(crate) name: &'static str,
    pub(crate) packages: &'static [&'static str],
    /// What the product exports besides.
    pub(crate) exports: &'static [&'static str],
    /// What its images may import besides, and from where.
    pub(crate) imports: &'static [(&'static str, &'static str)],
}

/// The engine with the defects of the crate `mutants`, one of which can be chosen.
pub(crate) const MUTANTS: Variant = Variant {
    name: "mutants",
    packages: &[PRODUCT],
    exports: &["RxcexSelectMutant"],
    imports: &[],
};

/// For kernels back to Windows Server 2003 x64, and compatible ones: what the conformance table needs.
pub(crate) const LEGACY: Variant = Variant {
    name: "legacy",
    packages: &[PRODUCT, "conform"],
    exports: &[],
    // Newer kernels export it themselves; hal.dll forwards it there.
    imports: &[("hal.dll", "KeQueryPerformanceCounter")],
};

/// All of them.
pub(crate) const ALL: [&Variant; 2] = [&MUTANTS, &LEGACY];

/// Makes cargo put a hash of features and the like into the names of DLLs, as it does for libraries: a variant and what ships
/// have one target directory, and would overwrite each other's images. The build of Rust itself relies on it. A cargo that
/// did not know it would be found out by the image checks, which look for what only a variant has.
const SEPARATE_IMAGES: (&str, &str) = ("__CARGO_DEFAULT_LIB_METADATA", "variants");

impl Variant {
    /// The directory of its images.
    pub(crate) fn directory(&self) -> std::path::PathBuf {
        workspace::images()
            .join(self.name)
            .join(Architecture::X64.directory())
    }

    /// Builds it.
    pub(crate) fn build(&self, way: Way) -> Result<()> {
        println!("building {} ({})", self.packages.join(", "), self.name);
        let (variable, value) = SEPARATE_IMAGES;
        let mut cargo = toolchain::cargo(way, "build");
        cargo
            .env(variable, value)
            .args(["--release", "--no-default-features"])
            .args(["--target", Architecture::X64.target()]);
        for package in self.packages {
            let feature = format!("{package}/{}", self.name);
            cargo.args(["--package", package, "--features", &feature]);
        }
        let (built, status) = linking::link(cargo)?;
        if !status.success() {
            bail!("the variant {} cannot be built", self.name);
        }
        for package in self.packages {
            match built.get(*package) {
                Some(library) => linking::publish(package, library, &self.directory())?,
                None => bail!("not built: {package} ({})", self.name),
            }
        }
        Ok(())
    }
}
