//! What goes wrong, with the names upstream gives it where it has one.

use std::path::PathBuf;

use thiserror::Error;

/// What an I/O error was about.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum IoErrorMetadata {
    /// One path.
    #[error(r#"failed to perform an IO operation on "{path}""#)]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// A source and a destination.
    #[error(r#"failed to perform an IO operation from "{from_path}" to "{to_path}""#)]
    SrcDestPaths {
        /// The source.
        from_path: PathBuf,
        /// The destination.
        to_path: PathBuf,
    },
}

/// An I/O error that knows its path.
#[derive(Debug, Error)]
#[error("{metadata}")]
pub struct IoError {
    metadata: IoErrorMetadata,
    #[source]
    source: std::io::Error,
}

impl IoError {
    /// Makes an error about one path.
    pub fn with_path(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self {
            metadata: IoErrorMetadata::Path { path: path.into() },
            source,
        }
    }

    /// Makes an error about a source and a destination.
    pub fn with_src_dest_paths(
        from_path: impl Into<PathBuf>,
        to_path: impl Into<PathBuf>,
        source: std::io::Error,
    ) -> Self {
        Self {
            metadata: IoErrorMetadata::SrcDestPaths {
                from_path: from_path.into(),
                to_path: to_path.into(),
            },
            source,
        }
    }
}

/// Why a build could not be configured.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file could not be read or written.
    #[error(transparent)]
    IoError(#[from] IoError),

    /// A directory is missing.
    #[error("cannot find directory: {directory}")]
    DirectoryNotFound {
        /// The directory.
        directory: String,
    },

    /// No mingw-w64 headers were found.
    #[error(
        "no mingw-w64 headers with a `ddk` directory found in {searched:?}. Install them (Debian: `apt-get install \
         mingw-w64-x86-64-dev`), or name their directory in XWDK_MINGW_INCLUDE"
    )]
    MingwHeadersNotFound {
        /// Where they were looked for.
        searched: Vec<PathBuf>,
    },

    /// The compiler headers that go with libclang were not found.
    #[error(
        "no compiler headers (stddef.h) for libclang {version} found in {searched:?}. Install them (Debian: `apt-get install \
         libclang-common-14-dev`, same number as libclang1), or name their directory in XWDK_CLANG_INCLUDE"
    )]
    ClangHeadersNotFound {
        /// The version of libclang in use.
        version: String,
        /// Where they were looked for.
        searched: Vec<PathBuf>,
    },

    /// `cargo metadata` failed.
    #[error(transparent)]
    CargoMetadataError(#[from] cargo_metadata::Error),

    /// No package or workspace says which driver model it uses.
    #[error("no `metadata.wdk.driver-model` section in any Cargo.toml of this workspace")]
    NoWdkConfigurationsDetected,

    /// Several packages ask for different driver models.
    #[error("several different driver models in one workspace: {models:?}")]
    MultipleWdkConfigurationsDetected {
        /// The driver models.
        models: Vec<String>,
    },

    /// A driver model, API subset or CPU that this stand-in does not know.
    #[error(
        "{what} is not supported where the WDK is replaced by mingw-w64 headers; build this driver on Windows"
    )]
    Unsupported {
        /// What was asked for.
        what: String,
    },

    /// The static C runtime is not selected.
    #[error(
        "the C runtime is not configured to be statically linked, which a driver needs: add \
         `-Ctarget-feature=+crt-static` to the rustflags of the Windows target in .cargo/config.toml"
    )]
    StaticCrtNotEnabled,

    /// The Rust version is one bindgen does not know.
    #[error("Rust version {msrv} not supported by bindgen: {reason}")]
    MsrvNotSupportedByBindgen {
        /// The version.
        msrv: String,
        /// Why.
        reason: String,
    },

    /// A variable that cargo sets for build scripts is missing.
    #[error("{name} is not set: call this from a cargo build script")]
    NotInBuildScript {
        /// The variable.
        name: String,
    },
}
