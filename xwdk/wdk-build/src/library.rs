//! Import libraries, made from the `.def` files in `lib/`.
//!
//! A library that upstream links but that a driver built here needs nothing from is an empty one.

use std::{
    env, fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use implib::{Flavor, ImportLibrary, MachineType};

use crate::{ConfigError, CpuArchitecture, IoError};

/// Import libraries with a definition file each.
const DEFINED: &[&str] = &["ntoskrnl", "hal"];

/// Libraries of the WDM link line from which nothing is used: stack cookies are MSVC's, WMI and the ARM64 runtime are not called.
const EMPTY: &[&str] = &["BufferOverflowFastFailK", "wmilib", "arm64rt"];

/// The archive signature with no member behind it.
const EMPTY_ARCHIVE: &[u8] = b"!<arch>\n";

/// The directory with the definition files.
fn definitions() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib");
    path.canonicalize().unwrap_or(path)
}

/// Writes every library of the link line for `architecture` below `OUT_DIR` and returns the directory.
pub(crate) fn write_all(architecture: CpuArchitecture) -> Result<PathBuf, ConfigError> {
    let out_dir = env::var_os("OUT_DIR").ok_or_else(|| ConfigError::NotInBuildScript {
        name: "OUT_DIR".to_owned(),
    })?;
    let directory = Path::new(&out_dir).join("xwdk-lib");
    fs::create_dir_all(&directory).map_err(|source| IoError::with_path(&directory, source))?;

    for name in DEFINED {
        let definition = definitions().join(format!("{name}.def"));
        println!("cargo::rerun-if-changed={}", definition.display());
        let text = fs::read_to_string(&definition)
            .map_err(|source| IoError::with_path(&definition, source))?;
        let library = import_library(&text, architecture)
            .map_err(|source| IoError::with_path(&definition, source))?;
        write(&directory, name, &library)?;
    }
    for name in EMPTY {
        write(&directory, name, EMPTY_ARCHIVE)?;
    }
    Ok(directory)
}

fn import_library(definition: &str, architecture: CpuArchitecture) -> std::io::Result<Vec<u8>> {
    let machine = match architecture {
        CpuArchitecture::Amd64 => MachineType::AMD64,
        CpuArchitecture::Arm64 => MachineType::ARM64,
    };
    let mut archive = Cursor::new(Vec::new());
    ImportLibrary::new(definition, machine, Flavor::Msvc)?.write_to(&mut archive)?;
    Ok(archive.into_inner())
}

fn write(directory: &Path, name: &str, contents: &[u8]) -> Result<(), IoError> {
    let path = directory.join(format!("{name}.lib"));
    fs::write(&path, contents).map_err(|source| IoError::with_path(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_names_the_image_and_the_routine() {
        for architecture in [CpuArchitecture::Amd64, CpuArchitecture::Arm64] {
            let library =
                import_library("LIBRARY ntoskrnl.exe\nEXPORTS\nDbgPrint\n", architecture).unwrap();
            let contains = |text: &[u8]| library.windows(text.len()).any(|window| window == text);
            assert!(contains(b"__imp_DbgPrint"));
            assert!(contains(b"ntoskrnl.exe"));
        }
    }

    #[test]
    fn every_definition_file_is_well_formed() {
        for name in DEFINED {
            let text = fs::read_to_string(definitions().join(format!("{name}.def"))).unwrap();
            import_library(&text, CpuArchitecture::Amd64).unwrap();
        }
    }
}
