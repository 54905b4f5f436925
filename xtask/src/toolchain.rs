//! Which compiler builds the drivers.
//!
//! `core` and `alloc` for the Windows target can be had in three ways; they are tried in this order, and the one that is taken is
//! printed. What was found is remembered below `target/`, as asking a network that is not there takes a while.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{command, workspace};

/// Names the way to take, for those who want another than the first that can be had: `target`, `source` or `debian`.
const WAY_VARIABLE: &str = "XTASK_TOOLCHAIN";

/// How long rustup may take: without a network it hangs rather than fails.
const RUSTUP_LIMIT: Duration = Duration::from_secs(20);

/// The targets drivers are built for.
const TARGETS: [&str; 2] = ["x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc"];

/// Where Debian's compiler lies, whatever comes first in `PATH`.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The linker of Debian's `lld-19`. Plain `lld` of Debian 12 (14) knows neither `/KERNEL` nor `/RELEASE`.
const DEBIAN_LINKER: &str = "lld-link-19";
/// The oldest compiler that builds this workspace, as (1, minor).
const MINIMUM_MINOR: u32 = 95;

/// A way to `core` and `alloc` for the Windows target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Prebuilt, installed by rustup.
    RustupTarget,
    /// Built from the `rust-src` component of rustup's toolchain.
    RustupSource,
    /// Built from the sources Debian ships with its own compiler.
    Debian,
}

impl Way {
    const ALL: [Self; 3] = [Self::RustupTarget, Self::RustupSource, Self::Debian];

    fn name(self) -> &'static str {
        match self {
            Self::RustupTarget => "target",
            Self::RustupSource => "source",
            Self::Debian => "debian",
        }
    }

    /// What a reader is told.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::RustupTarget => "way 1: rustup's Windows target",
            Self::RustupSource => "way 2: rustup's compiler, core and alloc built from rust-src",
            Self::Debian => "way 3: Debian's compiler, core and alloc built from its sources",
        }
    }

    /// Whether it can be taken as things are.
    fn is_ready(self) -> bool {
        match self {
            Self::RustupTarget => TARGETS.iter().all(|target| has_target(target)),
            Self::RustupSource => sysroot("rustc").is_some_and(|sysroot| has_sources(&sysroot)),
            Self::Debian => {
                is_new_enough(DEBIAN_CARGO)
                    && sysroot(DEBIAN_RUSTC).is_some_and(|sysroot| has_sources(&sysroot))
                    && command::output(Command::new(DEBIAN_LINKER).arg("--version")).is_some()
            }
        }
    }

    /// Tries to make it ready. Debian's packages are the business of `setup`.
    fn make_ready(self) -> bool {
        let mut rustup = Command::new("rustup");
        match self {
            Self::RustupTarget => rustup.args(["target", "add"]).args(TARGETS),
            Self::RustupSource => rustup.args(["component", "add", "rust-src"]),
            Self::Debian => return false,
        };
        command::succeeds_within(&mut rustup, RUSTUP_LIMIT) && self.is_ready()
    }

    fn builds_std(self) -> bool {
        self != Self::RustupTarget
    }
}

/// Finds the way to take: the remembered one if it still can be, else the first that can be had.
pub(crate) fn choose() -> Result<Way> {
    match find() {
        Some(way) => Ok(way),
        None => bail!(
            "no compiler with core and alloc for {}: run `cargo xtask setup`",
            TARGETS.join(" and ")
        ),
    }
}

/// As [`choose`], but a host without any is no error.
pub(crate) fn find() -> Option<Way> {
    let first = |ways: &[Way]| {
        ways.iter()
            .copied()
            .find(|way| way.is_ready() || way.make_ready())
    };
    if let Ok(asked) = env::var(WAY_VARIABLE) {
        match Way::ALL.into_iter().find(|way| way.name() == asked) {
            Some(way) => return first(&[way]),
            None => eprintln!("warning: {WAY_VARIABLE} is none of target, source, debian; ignored"),
        }
    }
    let memory = workspace::driver_target().join("way");
    let remembered = fs::read_to_string(&memory).ok();
    let remembered = Way::ALL
        .into_iter()
        .find(|way| remembered.as_deref() == Some(way.name()));
    if let Some(way) = remembered.filter(|way| way.is_ready()) {
        return Some(way);
    }
    let way = first(&Way::ALL)?;
    // Only a shortcut: without it, the next run asks again.
    let _ = fs::create_dir_all(workspace::driver_target());
    let _ = fs::write(memory, way.name());
    Some(way)
}

/// Starts a cargo command line for driver packages: compiler, configuration and target directory are set.
pub(crate) fn cargo(way: Way, subcommand: &str) -> Command {
    let root = workspace::root();
    let mut cargo = match way {
        Way::RustupTarget | Way::RustupSource => Command::new("cargo"),
        Way::Debian => {
            let mut cargo = Command::new(DEBIAN_CARGO);
            cargo.env("PATH", "/usr/bin:/bin");
            cargo
        }
    };
    forget_outer_cargo(&mut cargo);
    cargo
        .current_dir(&root)
        // `lockfile-path` and `build-std` are unstable switches of a stable cargo.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", workspace::driver_target())
        // First: `cargo clippy` hands on what follows it, not what precedes it.
        .arg(subcommand)
        .arg("--config")
        .arg(Path::new("xwdk").join("cargo-config.toml"));
    if way.builds_std() {
        cargo
            .arg("--config")
            .arg(Path::new("xwdk").join("build-std.toml"));
    }
    if way != Way::Debian {
        for target in TARGETS {
            cargo.args(["--config", &format!("target.{target}.linker=\"rust-lld\"")]);
        }
    }
    cargo
}

/// Starts a command line for the linker of this way.
pub(crate) fn linker(way: Way) -> Result<Command> {
    if way == Way::Debian {
        return Ok(Command::new(DEBIAN_LINKER));
    }
    let libraries = command::output(Command::new("rustc").args(["--print", "target-libdir"]));
    // Beside the libraries for the host.
    let directory = libraries.as_deref().map(Path::new).and_then(Path::parent);
    let Some(directory) = directory else {
        bail!("rustc does not say where its libraries are");
    };
    let mut linker = Command::new(directory.join("bin/rust-lld"));
    linker.args(["-flavor", "link"]);
    Ok(linker)
}

/// Removes what the cargo that runs this program has told it about itself.
fn forget_outer_cargo(cargo: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let is_cargo = text.starts_with("CARGO")
            && text != "CARGO_HOME"
            && !text.starts_with("CARGO_NET")
            && !text.starts_with("CARGO_HTTP")
            && !text.starts_with("CARGO_REGISTR")
            && !text.starts_with("CARGO_TERM")
            && !text.starts_with("CARGO_BUILD_JOBS");
        let is_compiler = matches!(
            &*text,
            "RUSTC"
                | "RUSTDOC"
                | "RUSTFLAGS"
                | "RUSTC_WRAPPER"
                | "RUSTUP_TOOLCHAIN"
                | "RUST_RECURSION_COUNT"
                | "LD_LIBRARY_PATH"
        );
        if is_cargo || is_compiler {
            cargo.env_remove(&name);
        }
    }
}

/// Whether clippy comes with the compiler of this way.
pub(crate) fn has_clippy(way: Way) -> bool {
    let mut cargo = cargo(way, "clippy");
    command::output(cargo.arg("--version")).is_some()
}

fn has_target(target: &str) -> bool {
    let directory = command::output(Command::new("rustc").args([
        "--print",
        "target-libdir",
        "--target",
        target,
    ]));
    let entries = directory.and_then(|directory| fs::read_dir(directory).ok());
    entries.is_some_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("liballoc-"))
    })
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    command::output(Command::new(rustc).args(["--print", "sysroot"])).map(PathBuf::from)
}

fn has_sources(sysroot: &Path) -> bool {
    sysroot
        .join("lib/rustlib/src/rust/library/Cargo.lock")
        .is_file()
}

fn is_new_enough(cargo: &str) -> bool {
    let version = command::output(Command::new(cargo).arg("--version"));
    version.as_deref().and_then(minor_version) >= Some(MINIMUM_MINOR)
}

/// `cargo 1.96.0 (…)` → 96.
fn minor_version(text: &str) -> Option<u32> {
    let number = text.split_whitespace().nth(1)?;
    let mut parts = number.split('.');
    (parts.next()? == "1").then(|| parts.next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_line_gives_the_minor_number() {
        assert_eq!(
            minor_version("cargo 1.96.0 (30a34c682 2026-05-25)"),
            Some(96)
        );
        assert_eq!(minor_version("cargo 2.1.0"), None);
        assert_eq!(minor_version(""), None);
    }

    #[test]
    fn an_old_or_absent_compiler_is_not_new_enough() {
        assert!(!is_new_enough("/nonexistent/cargo"));
    }
}
