//! Where headers come from: the overlay of this directory, then mingw-w64, and the compiler's own.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::ConfigError;

/// Names the mingw-w64 include directory (the one that holds `ddk/`).
const MINGW_VARIABLE: &str = "XWDK_MINGW_INCLUDE";
/// Names libclang's own include directory (the one that holds `stddef.h`).
const CLANG_VARIABLE: &str = "XWDK_CLANG_INCLUDE";

/// Where distributions put the mingw-w64 headers.
const MINGW_DIRECTORIES: &[&str] = &[
    "/usr/x86_64-w64-mingw32/include",
    "/usr/x86_64-w64-mingw32/sys-root/mingw/include",
    "/usr/share/mingw-w64/include",
];

/// The overlay: what newer headers have and mingw-w64 lacks.
pub(crate) fn overlay() -> PathBuf {
    // Resolved, so that messages and dependency files name the plain path.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include");
    path.canonicalize().unwrap_or(path)
}

/// The mingw-w64 include directories, `ddk` first: names that both carry are the kernel's.
pub(crate) fn mingw() -> Result<[PathBuf; 2], ConfigError> {
    println!("cargo::rerun-if-env-changed={MINGW_VARIABLE}");
    let searched: Vec<PathBuf> = match env::var_os(MINGW_VARIABLE) {
        Some(directory) => vec![directory.into()],
        None => MINGW_DIRECTORIES.iter().map(PathBuf::from).collect(),
    };
    match searched
        .iter()
        .find(|directory| directory.join("ddk/ntifs.h").is_file())
    {
        Some(directory) => Ok([directory.join("ddk"), directory.clone()]),
        None => Err(ConfigError::MingwHeadersNotFound { searched }),
    }
}

/// The include directory that goes with the libclang in use (`stddef.h`, `stdarg.h`, intrinsics).
pub(crate) fn clang() -> Result<PathBuf, ConfigError> {
    println!("cargo::rerun-if-env-changed={CLANG_VARIABLE}");
    let version = bindgen::clang_version();
    let searched = match env::var_os(CLANG_VARIABLE) {
        Some(directory) => vec![PathBuf::from(directory)],
        None => clang_candidates(version.parsed.map(|(major, _)| major)),
    };
    match searched
        .iter()
        .find(|directory| directory.join("stddef.h").is_file())
    {
        Some(directory) => Ok(directory.clone()),
        None => Err(ConfigError::ClangHeadersNotFound {
            version: version.full,
            searched,
        }),
    }
}

/// Resource directories of this major version, in the layouts of Debian and Fedora.
fn clang_candidates(major: Option<u32>) -> Vec<PathBuf> {
    let Some(major) = major else {
        return Vec::new();
    };
    let roots = [
        format!("/usr/lib/llvm-{major}/lib/clang"),
        "/usr/lib/clang".to_owned(),
        "/usr/lib64/clang".to_owned(),
    ];
    let mut candidates = Vec::new();
    for root in roots {
        let Ok(entries) = fs::read_dir(root) else {
            continue;
        };
        candidates.extend(
            entries
                .flatten()
                .filter(|entry| {
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    name.split('.').next() == Some(&major.to_string())
                })
                .map(|entry| entry.path().join("include")),
        );
    }
    candidates
}
