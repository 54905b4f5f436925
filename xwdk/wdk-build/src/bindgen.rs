//! How bindgen reads the headers.

use std::{borrow::Borrow, fmt};

use bindgen::Builder;

use crate::{Config, ConfigError, config::CLANG_TARGET, headers};

/// The Rust version generated code may need: the one upstream `wdk-build` 0.6 names.
const RUST_VERSION: (u64, u64) = (91, 0);

/// Makes a [`bindgen::Builder`] that is configured for kernel headers.
pub trait BuilderExt {
    /// Returns a builder with the same conventions as upstream's: `core` only, enums as modules of constants, deprecated
    /// routines left out.
    ///
    /// # Errors
    ///
    /// A directory with headers is missing.
    fn wdk_default(config: impl Borrow<Config> + fmt::Debug) -> Result<Builder, ConfigError>;
}

impl BuilderExt for Builder {
    fn wdk_default(config: impl Borrow<Config> + fmt::Debug) -> Result<Self, ConfigError> {
        let config = config.borrow();
        let (minor, patch) = RUST_VERSION;
        let rust_target = bindgen::RustTarget::stable(minor, patch).map_err(|error| {
            ConfigError::MsrvNotSupportedByBindgen {
                msrv: format!("1.{minor}.{patch}"),
                reason: error.to_string(),
            }
        })?;

        let builder = Self::default()
            .use_core()
            .derive_default(true)
            .generate_cstr(true)
            .detect_include_paths(false)
            .clang_arg(format!("--target={}", CLANG_TARGET))
            .clang_args(["-nostdinc", "-fno-builtin"])
            .clang_args(
                config
                    .include_paths()?
                    .map(|path| format!("--include-directory={}", path.display())),
            )
            .clang_args([
                "-isystem".to_owned(),
                headers::clang()?.display().to_string(),
            ])
            .clang_args(
                config
                    .preprocessor_definitions()
                    .map(|(key, value)| match value {
                        Some(value) => format!("--define-macro={key}={value}"),
                        None => format!("--define-macro={key}"),
                    }),
            )
            .clang_args(Config::wdk_bindgen_compiler_flags())
            // Tells the overlay's headers that they are read for Rust.
            .clang_arg("-D__BINDGEN__")
            // Deprecated in the WDK: use ExAllocatePool2. Upstream leaves them out as well.
            .blocklist_item("ExAllocatePoolWithTag")
            .blocklist_item("ExAllocatePoolWithQuotaTag")
            .blocklist_item("ExAllocatePoolWithTagPriority")
            .blocklist_item("ExAllocatePool")
            // AMX tiles of clang's own intrinsics: packed and aligned at once, which Rust refuses.
            .blocklist_item(".*tile1024i.*")
            .must_use_type("NTSTATUS")
            .must_use_type("HRESULT")
            .default_enum_style(bindgen::EnumVariation::ModuleConsts)
            .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
            .formatter(bindgen::Formatter::Prettyplease)
            .rust_target(rust_target)
            .rust_edition(bindgen::RustEdition::Edition2024);
        Ok(builder)
    }
}
