//! Installing what a Linux host lacks. On Debian by `apt-get`; elsewhere it says what is needed.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::{command, peers, toolchain};

/// What the set-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building drivers.
    Build,
    /// Building and running them against a real server.
    Run,
    /// Building and packing the product.
    Package,
    /// Everything.
    All,
}

impl Purpose {
    fn includes(self, other: Self) -> bool {
        self == Self::All || other == Self::Build || self == other
    }
}

/// Something the host must have.
struct Requirement {
    what: &'static str,
    /// Debian 12's packages for it.
    packages: &'static [&'static str],
    is_met: fn() -> bool,
    purpose: Purpose,
}

const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        what: "a compiler with core and alloc for Windows, and a linker for it",
        packages: &["rustc-web", "cargo-web", "rust-web-src", "lld-19"],
        is_met: || toolchain::find().is_some(),
        purpose: Purpose::Build,
    },
    Requirement {
        what: "kernel headers (mingw-w64)",
        packages: &["mingw-w64-x86-64-dev"],
        is_met: has_kernel_headers,
        purpose: Purpose::Build,
    },
    Requirement {
        what: "libclang with its headers (for bindgen)",
        packages: &["libclang1-14", "libclang-common-14-dev"],
        is_met: has_libclang,
        purpose: Purpose::Build,
    },
    Requirement {
        what: "a 9P server (diod)",
        packages: &["diod"],
        is_met: has_diod,
        purpose: Purpose::Run,
    },
    Requirement {
        what: "programs that sign (osslsigncode, openssl)",
        packages: &["osslsigncode", "openssl"],
        is_met: has_signing,
        purpose: Purpose::Package,
    },
];

/// `cargo xtask setup`.
pub(crate) fn run() -> Result<()> {
    if ensure(Purpose::All)? + peers::ensure()? == 0 {
        println!("nothing to install");
    }
    if let Some(way) = toolchain::find() {
        println!("toolchain: {}", way.describe());
    }
    Ok(())
}

/// Installs what is missing for `purpose` and returns the number of packages it took.
pub(crate) fn ensure(purpose: Purpose) -> Result<usize> {
    let missing: Vec<&Requirement> = REQUIREMENTS
        .iter()
        .filter(|requirement| purpose.includes(requirement.purpose))
        .filter(|requirement| !(requirement.is_met)())
        .collect();
    if missing.is_empty() {
        return Ok(0);
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|requirement| requirement.packages.iter().copied())
        .collect();
    for requirement in &missing {
        println!(
            "missing: {} (Debian: {})",
            requirement.what,
            requirement.packages.join(" ")
        );
    }
    install(&packages)?;
    if let Some(still) = missing.iter().find(|requirement| !(requirement.is_met)()) {
        bail!(
            "{} is still missing after installing {}; see docs/building.md",
            still.what,
            still.packages.join(" ")
        );
    }
    Ok(packages.len())
}

fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    if command::output(Command::new("apt-get").arg("--version")).is_none() {
        bail!(
            "no apt-get on this host; install what Debian 12 has as: {}",
            packages.join(" ")
        );
    }
    if privilege().is_none() {
        bail!("installing needs root; run\n\n    sudo {by_hand}\n\nand then this command again");
    }
    println!("installing from Debian's archive: {}", packages.join(" "));
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    // The list of packages may be absent or old: refresh it, but let the installation decide.
    if let Err(error) = command::run(&mut apt(&["update", "-q"])?) {
        eprintln!("warning: {error}");
    }
    command::run(&mut apt(&arguments)?)
}

/// `apt-get` with these arguments, as root.
pub(crate) fn apt(arguments: &[&str]) -> Result<Command> {
    let Some(prefix) = privilege() else {
        bail!("`apt-get {}` needs root", arguments.join(" "));
    };
    let words: Vec<&str> = prefix
        .iter()
        .copied()
        .chain(["apt-get"])
        .chain(arguments.iter().copied())
        .collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    Ok(command)
}

/// The words that make a command run as root: none for root itself.
fn privilege() -> Option<&'static [&'static str]> {
    if command::output(Command::new("id").arg("-u")).as_deref() == Some("0") {
        return Some(&[]);
    }
    command::output(Command::new("sudo").args(["-n", "true"])).map(|_| ["sudo", "-n"].as_slice())
}

fn has_kernel_headers() -> bool {
    match env::var_os("XWDK_MINGW_INCLUDE") {
        Some(directory) => Path::new(&directory).join("ddk/ntifs.h").is_file(),
        None => [
            "/usr/x86_64-w64-mingw32/include/ddk/ntifs.h",
            "/usr/x86_64-w64-mingw32/sys-root/mingw/include/ddk/ntifs.h",
        ]
        .iter()
        .any(|header| Path::new(header).is_file()),
    }
}

/// Looks for a libclang of which the compiler headers are there too.
fn has_libclang() -> bool {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    (9..40).any(|major| {
        let root = format!("/usr/lib/llvm-{major}/lib");
        let library = Path::new(&root).join("libclang.so.1").exists()
            || Path::new(&root)
                .join(format!("libclang-{major}.so.1"))
                .exists();
        let headers = std::fs::read_dir(Path::new(&root).join("clang"));
        library
            && headers.is_ok_and(|entries| {
                entries
                    .flatten()
                    .any(|entry| entry.path().join("include/stddef.h").is_file())
            })
    })
}

fn has_signing() -> bool {
    [("osslsigncode", "--version"), ("openssl", "version")]
        .iter()
        .all(|(program, argument)| command::output(Command::new(program).arg(argument)).is_some())
}

fn has_diod() -> bool {
    ["/usr/sbin/diod", "/usr/bin/diod", "/usr/local/sbin/diod"]
        .iter()
        .any(|program| Path::new(program).is_file())
}
