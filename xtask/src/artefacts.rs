//! What is built: packages, processors, profiles, forms of the product, and where the images are.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::workspace;

/// The product.
pub(crate) const PRODUCT: &str = "rxce";
/// All driver packages. The package name is the image's.
pub(crate) const PACKAGES: [&str; 7] = [
    PRODUCT, "bench", "breaker", "conform", "exchange", "memrdr", "p9probe",
];
/// What stands between drivers and Wine's kernel. It is built like a driver, but is none, and no Windows kernel could use it.
pub(crate) const SHIM: &str = "ntosshim";

/// The programs for Windows: the package, and its executable's name. They are built as the drivers are.
pub(crate) const PROGRAMS: [(&str, &str); 1] = [("rxcectl-windows", "rxcectl")];

/// A processor and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    X64,
    Arm64,
}

impl Architecture {
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::X64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X64 => "x86_64-pc-windows-msvc",
            Self::Arm64 => "aarch64-pc-windows-msvc",
        }
    }
}

/// A cargo profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

impl Profile {
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// What the product is built as (docs/redirector.md). The third form, with the WDK's `rdbsslib.lib`, cannot be linked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A library of routines and nothing else. It lies beside the drivers that import from it.
    Export,
    /// The default of the package: a mini-redirector besides, which imports from `rdbss.sys`. It lies in a folder of its own.
    Redirector,
}

impl Form {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Export, Self::Redirector];

    /// What follows the directory of a kind.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Export => "",
            Self::Redirector => "redirector",
        }
    }
}

/// The directory of the images of one kind, with the product in its export form.
pub(crate) fn directory(profile: Profile, architecture: Architecture) -> PathBuf {
    workspace::images()
        .join(profile.directory())
        .join(architecture.directory())
}

/// The product in one of its forms, without its extension.
pub(crate) fn product(form: Form, profile: Profile, architecture: Architecture) -> PathBuf {
    directory(profile, architecture)
        .join(form.folder())
        .join(PRODUCT)
}

/// The name of a package's image, without extension.
pub(crate) fn image_name(package: &str) -> &str {
    PROGRAMS
        .iter()
        .find(|(program, _)| *program == package)
        .map_or(package, |(_, image)| image)
}
