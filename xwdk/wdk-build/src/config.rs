//! What is built, and what cargo is told about it.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{Metadata, MetadataCommand};

use crate::{ConfigError, headers, library};

/// The `cfg` by which the wdk crates tell driver models apart, and its values.
const DRIVER_TYPE_CFG: &str = "driver_model__driver_type";

/// Libraries on the link line of a WDM driver, as upstream has them.
const BASE_LIBRARIES: &[&str] = &["BufferOverflowFastFailK", "ntoskrnl", "hal", "wmilib"];

/// Linker arguments of a WDM driver, as upstream gives them. `/MAP` is left out: nothing reads the map file.
const LINK_ARGUMENTS: &[&str] = &[
    "/DRIVER",
    "/NODEFAULTLIB",
    "/SUBSYSTEM:NATIVE",
    "/KERNEL",
    "/ENTRY:DriverEntry",
    "/IGNORE:4257",
    "/IGNORE:4216",
    "/NXCOMPAT",
    "/DYNAMICBASE",
    "/OPT:REF,ICF",
    "/INTEGRITYCHECK",
    "/MANIFEST:NO",
];

/// The target clang reads the headers for, whatever the driver is built for: mingw-w64's kernel headers know x86 processors only.
/// Both 64-bit Windows targets lay out pointers, integers and bit fields alike, so what differs are the structures that describe the
/// processor itself (`CONTEXT`, `KPCR` and their like): a driver for ARM64 that uses those must be built on Windows.
pub(crate) const CLANG_TARGET: &str = "x86_64-w64-windows-gnu";

/// What is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    cpu_architecture: CpuArchitecture,
    /// The driver model.
    pub driver_config: DriverConfig,
}

/// A driver model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DriverConfig {
    /// Windows Driver Model.
    Wdm,
    /// Kernel-Mode Driver Framework; never produced here.
    Kmdf(KmdfConfig),
    /// User-Mode Driver Framework; never produced here.
    Umdf(UmdfConfig),
}

/// A KMDF version. `wdk-sys` names the type; it is never produced here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KmdfConfig {
    /// Major version.
    pub kmdf_version_major: u8,
    /// Minor version built for.
    pub target_kmdf_version_minor: u8,
    /// Lowest minor version that will do.
    pub minimum_kmdf_version_minor: Option<u8>,
}

/// A UMDF version. `wdk-sys` names the type; it is never produced here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UmdfConfig {
    /// Major version.
    pub umdf_version_major: u8,
    /// Minor version built for.
    pub target_umdf_version_minor: u8,
    /// Lowest minor version that will do.
    pub minimum_umdf_version_minor: Option<u8>,
}

/// A processor that drivers are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuArchitecture {
    /// x64.
    Amd64,
    /// ARM64.
    Arm64,
}

impl CpuArchitecture {
    /// The name in paths of the WDK.
    #[must_use]
    pub const fn as_windows_str(&self) -> &str {
        match self {
            Self::Amd64 => "x64",
            Self::Arm64 => "ARM64",
        }
    }

    /// Converts from the name cargo gives the architecture.
    #[must_use]
    pub fn try_from_cargo_str<S: AsRef<str>>(cargo_str: S) -> Option<Self> {
        match cargo_str.as_ref() {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }
}

/// A part of the kernel's interface.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum ApiSubset {
    /// What every driver needs.
    Base,
    /// Windows Driver Frameworks; empty for a WDM driver.
    Wdf,
    /// GPIO drivers; not supported here.
    Gpio,
    /// HID drivers; not supported here.
    Hid,
    /// Parallel port drivers; not supported here.
    ParallelPorts,
    /// SPB drivers; not supported here.
    Spb,
    /// Storage drivers; not supported here.
    Storage,
    /// USB drivers; not supported here.
    Usb,
}

impl Default for Config {
    fn default() -> Self {
        let architecture = env::var("CARGO_CFG_TARGET_ARCH")
            .ok()
            .and_then(CpuArchitecture::try_from_cargo_str)
            .expect(
                "CARGO_CFG_TARGET_ARCH should be x86_64 or aarch64: build for a Windows target",
            );
        Self {
            cpu_architecture: architecture,
            driver_config: DriverConfig::Wdm,
        }
    }
}

impl Config {
    /// Creates a configuration for a WDM driver and the target being built.
    ///
    /// # Panics
    ///
    /// Panics outside a build script, and for a processor that Windows drivers are not built for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the driver model from the `metadata.wdk.driver-model` sections of the workspace.
    ///
    /// # Errors
    ///
    /// There is no such section, several differ, or the model is not WDM.
    pub fn from_env_auto() -> Result<Self, ConfigError> {
        let manifest = find_top_level_cargo_manifest();
        // Without dependencies: the names in this workspace are all that is asked for, and no resolution means no network.
        let metadata = MetadataCommand::new()
            .current_dir(manifest.parent().unwrap_or(Path::new(".")))
            .manifest_path(&manifest)
            .no_deps()
            .exec()?;
        println!("cargo::rerun-if-changed={}", manifest.display());
        let driver_config = driver_model(&metadata)?;
        let architecture =
            env::var("CARGO_CFG_TARGET_ARCH").map_err(|_| ConfigError::NotInBuildScript {
                name: "CARGO_CFG_TARGET_ARCH".to_owned(),
            })?;
        let cpu_architecture =
            CpuArchitecture::try_from_cargo_str(&architecture).ok_or(ConfigError::Unsupported {
                what: format!("the target architecture {architecture}"),
            })?;
        Ok(Self {
            cpu_architecture,
            driver_config,
        })
    }

    /// Tells cargo which `cfg` values may occur.
    pub fn emit_check_cfg_settings() {
        println!(r#"cargo::rustc-check-cfg=cfg({DRIVER_TYPE_CFG}, values("WDM","KMDF","UMDF"))"#);
    }

    fn emit_cfg_settings() {
        Self::emit_check_cfg_settings();
        println!(r#"cargo::rustc-cfg={DRIVER_TYPE_CFG}="WDM""#);
    }

    /// The directories headers are looked for in, first one first.
    ///
    /// # Errors
    ///
    /// The mingw-w64 headers are not installed.
    pub fn include_paths(&self) -> Result<impl Iterator<Item = PathBuf>, ConfigError> {
        let [ddk, base] = headers::mingw()?;
        Ok([headers::overlay(), ddk, base].into_iter())
    }

    /// The directories libraries are looked for in. Writes the libraries.
    ///
    /// # Errors
    ///
    /// A library could not be made.
    pub fn library_paths(&self) -> Result<impl Iterator<Item = PathBuf>, ConfigError> {
        Ok([library::write_all(self.cpu_architecture)?].into_iter())
    }

    /// The macros that are defined for every header.
    pub fn preprocessor_definitions(&self) -> impl Iterator<Item = (String, Option<String>)> {
        // Those of x64 for ARM64 as well: see `CLANG_TARGET`.
        let architecture: &[(&str, Option<&str>)] =
            &[("_WIN64", None), ("_AMD64_", None), ("AMD64", None)];
        // The WDK's headers take these from its build environment; mingw-w64's need to be told. Windows 10 2004.
        let common: &[(&str, Option<&str>)] = &[
            ("_KERNEL_MODE", None),
            ("_WIN32_WINNT", Some("0x0A00")),
            ("WINVER", Some("0x0A00")),
            ("NTDDI_VERSION", Some("0x0A000008")),
        ];
        architecture
            .iter()
            .chain(common)
            .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
    }

    /// The compiler flags headers are read with.
    pub fn wdk_bindgen_compiler_flags() -> impl Iterator<Item = String> {
        [
            // `-fms-compatibility` undefines `__GNUC__`, and the mingw-w64 headers then drop every `__attribute__`.
            "-fno-ms-compatibility",
            "-fms-extensions",
            "--warn-=no-everything",
        ]
        .into_iter()
        .map(str::to_owned)
    }

    /// The headers of one part of the interface.
    ///
    /// # Errors
    ///
    /// The part is not supported here.
    pub fn headers(
        &self,
        api_subset: ApiSubset,
    ) -> Result<impl Iterator<Item = String>, ConfigError> {
        let headers: &[&str] = match api_subset {
            ApiSubset::Base => &["ntifs.h", "ntddk.h", "ntstrsafe.h"],
            ApiSubset::Wdf => &[],
            other => {
                return Err(ConfigError::Unsupported {
                    what: format!("the API subset {other:?}"),
                });
            }
        };
        Ok(headers.iter().map(|header| (*header).to_owned()))
    }

    /// A header that includes all headers of several parts, for bindgen.
    ///
    /// # Errors
    ///
    /// A part is not supported here.
    pub fn bindgen_header_contents(
        &self,
        api_subsets: impl IntoIterator<Item = ApiSubset> + fmt::Debug,
    ) -> Result<String, ConfigError> {
        let mut contents = String::new();
        for api_subset in api_subsets {
            for header in self.headers(api_subset)? {
                contents.push_str(&format!("#include \"{header}\"\n"));
            }
        }
        Ok(contents)
    }

    /// The `#[link]` attributes of one part, as Rust source.
    #[must_use]
    pub fn bindgen_library_link_raw_lines(&self, api_subset: ApiSubset) -> Option<String> {
        (api_subset == ApiSubset::Base).then(|| {
            BASE_LIBRARIES
                .iter()
                .map(|name| {
                    format!(
                        "#[cfg(not(any(test, feature = \"suppress-wdk-linking\")))]\n\
                         #[link(name = \"{name}\", kind = \"static\", modifiers = \"-bundle\")]\n\
                         unsafe extern \"C\" {{}}\n"
                    )
                })
                .collect()
        })
    }

    /// Configures the build of a library.
    ///
    /// # Errors
    ///
    /// None today; the signature is upstream's.
    pub fn configure_library_build(&self) -> Result<(), ConfigError> {
        Self::emit_cfg_settings();
        Ok(())
    }

    /// The name of the framework's function table: none, as only WDM is supported.
    #[must_use]
    pub fn compute_wdffunctions_symbol_name(&self) -> Option<String> {
        None
    }

    /// Configures the build of a driver: libraries and linker arguments.
    ///
    /// # Errors
    ///
    /// The static C runtime is not selected, or a library could not be made.
    pub fn configure_binary_build(&self) -> Result<(), ConfigError> {
        let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
        if !features.split(',').any(|feature| feature == "crt-static") {
            return Err(ConfigError::StaticCrtNotEnabled);
        }
        for path in self.library_paths()? {
            println!("cargo::rustc-link-search={}", path.display());
        }
        for argument in LINK_ARGUMENTS {
            println!("cargo::rustc-cdylib-link-arg={argument}");
        }
        Self::emit_cfg_settings();
        Ok(())
    }
}

/// Finds the one driver model that the workspace's manifests agree on.
fn driver_model(metadata: &Metadata) -> Result<DriverConfig, ConfigError> {
    let sections = metadata
        .packages
        .iter()
        .map(|package| &package.metadata)
        .chain([&metadata.workspace_metadata]);
    let mut models: Vec<String> = sections
        .filter_map(|section| {
            section
                .get("wdk")?
                .get("driver-model")?
                .get("driver-type")?
                .as_str()
        })
        .map(str::to_uppercase)
        .collect();
    models.sort();
    models.dedup();
    match models.as_slice() {
        [] => Err(ConfigError::NoWdkConfigurationsDetected),
        [model] if model == "WDM" => Ok(DriverConfig::Wdm),
        [model] => Err(ConfigError::Unsupported {
            what: format!("the driver model {model}"),
        }),
        _ => Err(ConfigError::MultipleWdkConfigurationsDetected { models }),
    }
}

/// Finds the manifest of the workspace whose build runs this script.
///
/// # Panics
///
/// Panics outside a build script, and when cargo does not find the workspace.
#[must_use]
pub fn find_top_level_cargo_manifest() -> PathBuf {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("OUT_DIR is set in a build script"));
    // The target directory lies in the workspace it belongs to; a dependency's own directory may lie anywhere.
    let inside = out_dir
        .ancestors()
        .find(|path| path.join("Cargo.toml").is_file() && path.join("Cargo.lock").is_file())
        .or_else(|| {
            out_dir
                .ancestors()
                .find(|path| path.join("Cargo.toml").is_file())
        })
        .expect("the target directory should lie inside the workspace");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let located = Command::new(cargo)
        .args(["locate-project", "--workspace", "--message-format=plain"])
        .current_dir(inside)
        .output();
    match located {
        Ok(output) if output.status.success() => {
            PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => inside.join("Cargo.toml"),
    }
}

/// Configures the build of a library that depends on the WDK.
///
/// # Errors
///
/// See [`Config::from_env_auto`]; a workspace without any driver is no error.
pub fn configure_wdk_library_build() -> Result<(), ConfigError> {
    configure_wdk_library_build_and_then(|_| Ok(()))
}

/// Configures the build of a library that depends on the WDK, then calls `f`.
///
/// # Errors
///
/// Those of [`configure_wdk_library_build`] and of `f`.
pub fn configure_wdk_library_build_and_then<F, E>(mut f: F) -> Result<(), E>
where
    F: FnMut(Config) -> Result<(), E>,
    E: From<ConfigError>,
{
    match Config::from_env_auto() {
        Ok(config) => {
            config.configure_library_build()?;
            f(config)
        }
        Err(ConfigError::NoWdkConfigurationsDetected) => {
            println!("cargo::warning=no WDK configuration in this workspace");
            Config::emit_check_cfg_settings();
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Configures the build of a driver.
///
/// # Errors
///
/// See [`Config::from_env_auto`] and [`Config::configure_binary_build`].
pub fn configure_wdk_binary_build() -> Result<(), ConfigError> {
    Config::from_env_auto()?.configure_binary_build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config {
        cpu_architecture: CpuArchitecture::Amd64,
        driver_config: DriverConfig::Wdm,
    };

    #[test]
    fn framework_headers_are_empty_and_other_subsets_are_refused() {
        assert_eq!(CONFIG.headers(ApiSubset::Wdf).unwrap().count(), 0);
        assert!(CONFIG.headers(ApiSubset::Usb).is_err());
    }

    #[test]
    fn header_contents_include_the_base_headers_in_order() {
        let contents = CONFIG.bindgen_header_contents([ApiSubset::Base]).unwrap();
        assert_eq!(
            contents,
            "#include \"ntifs.h\"\n#include \"ntddk.h\"\n#include \"ntstrsafe.h\"\n"
        );
    }

    #[test]
    fn only_the_base_subset_links_libraries() {
        assert!(
            CONFIG
                .bindgen_library_link_raw_lines(ApiSubset::Wdf)
                .is_none()
        );
        let lines = CONFIG
            .bindgen_library_link_raw_lines(ApiSubset::Base)
            .unwrap();
        assert!(lines.contains("name = \"ntoskrnl\""));
    }
}
