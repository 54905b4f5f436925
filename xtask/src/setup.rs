//! Installing what a Linux host lacks. On Debian by `apt-get`; elsewhere it says what is needed.

use std::{env, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{apt, c_drivers, command, peers, toolchain};

/// What the set-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building drivers.
    Build,
    /// Building all of them, those in C too.
    BuildAll,
    /// Building and running them against a real server.
    Run,
    /// Building drivers and showing their files to Linux programs.
    Mount,
    /// Building and packing the product.
    Package,
    /// Running the drivers on a kernel that is not ours.
    SecondOpinion,
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
    need: Need,
}

/// What becomes of a host that cannot have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing works without it.
    Must,
    /// This is left out without it.
    May(&'static str),
}

const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        what: "a compiler with core and alloc for Windows, and a linker for it",
        packages: &["rustc-web", "cargo-web", "rust-web-src", "lld-19"],
        is_met: || toolchain::find().is_some(),
        purpose: Purpose::Build,
        need: Need::Must,
    },
    Requirement {
        what: "kernel headers (mingw-w64)",
        packages: &["mingw-w64-x86-64-dev"],
        is_met: has_kernel_headers,
        purpose: Purpose::Build,
        need: Need::Must,
    },
    Requirement {
        what: "libclang with its headers (for bindgen)",
        packages: &["libclang1-14", "libclang-common-14-dev"],
        is_met: has_libclang,
        purpose: Purpose::Build,
        need: Need::Must,
    },
    Requirement {
        what: "compilers for drivers in C (clang, mingw-w64's GCC)",
        packages: &[
            "clang-14",
            "gcc-mingw-w64-x86-64-win32",
            "g++-mingw-w64-x86-64-win32",
        ],
        is_met: c_drivers::has_compilers,
        purpose: Purpose::BuildAll,
        need: Need::Must,
    },
    Requirement {
        what: "a 9P server (diod)",
        packages: &["diod"],
        is_met: has_diod,
        purpose: Purpose::Run,
        need: Need::Must,
    },
    Requirement {
        what: "a program that mounts for users (fusermount3)",
        packages: &["fuse3"],
        is_met: can_mount,
        purpose: Purpose::Mount,
        need: Need::May("only root can use `cargo xtask mount`"),
    },
    Requirement {
        what: "programs that sign (osslsigncode, openssl)",
        packages: &["osslsigncode", "openssl"],
        is_met: has_signing,
        purpose: Purpose::Package,
        need: Need::Must,
    },
    Requirement {
        what: "a second kernel for the drivers (Wine)",
        packages: &["wine64", "libwine"],
        is_met: has_wine,
        purpose: Purpose::SecondOpinion,
        need: Need::May("the drivers are not run on Wine, and those tests are skipped"),
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
    for requirement in &missing {
        println!(
            "missing: {} (Debian: {})",
            requirement.what,
            requirement.packages.join(" ")
        );
    }
    let (must, may): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .partition(|requirement| requirement.need == Need::Must);
    let mut installed = 0;
    if !must.is_empty() {
        installed += satisfy(&must)?;
    }
    for requirement in may {
        match (satisfy(&[requirement]), requirement.need) {
            (Ok(packages), _) => installed += packages,
            (Err(error), Need::May(consequence)) => {
                eprintln!(
                    "warning: without {}, {consequence}: {error}",
                    requirement.what
                );
            }
            (Err(error), Need::Must) => return Err(error),
        }
    }
    Ok(installed)
}

/// Installs what these take, and returns the number of packages.
fn satisfy(missing: &[&Requirement]) -> Result<usize> {
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|requirement| requirement.packages.iter().copied())
        .collect();
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
    if apt::privilege().is_none() {
        bail!("installing needs root; run\n\n    sudo {by_hand}\n\nand then this command again");
    }
    println!("installing from Debian's archive: {}", packages.join(" "));
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    // The list of packages may be absent or old: refresh it, but let the installation decide.
    if let Err(error) = command::run(&mut apt::get(&["update", "-q"])?) {
        eprintln!("warning: {error}");
    }
    command::run(&mut apt::get(&arguments)?)
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

/// Root mounts by itself.
fn can_mount() -> bool {
    command::output(Command::new("id").arg("-u")).as_deref() == Some("0")
        || command::output(Command::new("fusermount3").arg("--version")).is_some()
}

fn has_signing() -> bool {
    [("osslsigncode", "--version"), ("openssl", "version")]
        .iter()
        .all(|(program, argument)| command::output(Command::new(program).arg(argument)).is_some())
}

/// Looks for Debian's 64-bit loader, and for the kernel that it carries.
fn has_wine() -> bool {
    [
        "/usr/lib/wine/wine64",
        "/usr/lib/wine/wineserver64",
        "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/ntoskrnl.exe",
    ]
    .iter()
    .all(|file| Path::new(file).is_file())
}

fn has_diod() -> bool {
    ["/usr/sbin/diod", "/usr/bin/diod", "/usr/local/sbin/diod"]
        .iter()
        .any(|program| Path::new(program).is_file())
}
