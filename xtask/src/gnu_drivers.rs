//! The drivers in C of `tests/drivers/c`, built by GNU's compiler and linker with mingw-w64's own headers and libraries: they share
//! neither code nor anything of the toolchain with the other drivers, and `cargo xtask verify` is tried on them.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{c_drivers::GCC, command, workspace};

/// Name of an image, its source, and what is defined for it.
const IMAGES: [(&str, &str, &str); 16] = [
    ("queue.sys", "queue.c", ""),
    ("worker.sys", "worker.c", ""),
    ("library.sys", "library.c", ""),
    ("client.sys", "library.c", "CLIENT"),
    ("careless.sys", "careless.c", "DEFECT=NONE"),
    ("careless-overrun.sys", "careless.c", "DEFECT=OVERRUN"),
    ("careless-paged.sys", "careless.c", "DEFECT=PAGED"),
    ("careless-unchecked.sys", "careless.c", "DEFECT=UNCHECKED"),
    ("careless-leak.sys", "careless.c", "DEFECT=LEAK"),
    ("careless-status.sys", "careless.c", "DEFECT=STATUS_LIE"),
    ("careless-locks.sys", "careless.c", "DEFECT=LOCK_ORDER"),
    ("careless-string.sys", "careless.c", "DEFECT=BAD_STRING"),
    ("careless-impatient.sys", "careless.c", "DEFECT=IMPATIENT"),
    ("careless-overlap.sys", "careless.c", "DEFECT=OVERLAP"),
    ("careless-irql.sys", "careless.c", "DEFECT=WRONG_IRQL"),
    ("careless-executable.sys", "careless.c", "DEFECT=EXECUTABLE"),
];

const FLAGS: [&str; 18] = [
    "-std=gnu11",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    // Pool tags.
    "-Wno-multichar",
    "-D_AMD64_",
    "-D_WIN64",
    "-ffreestanding",
    "-fno-builtin",
    "-mno-stack-arg-probe",
    "-nostdlib",
    "-shared",
    "-Wl,--subsystem,native",
    "-Wl,--entry,DriverEntry",
    "-Wl,--dynamicbase",
    "-Wl,--nxcompat",
    "-Wl,--exclude-all-symbols",
];

/// Where the images go.
pub(crate) fn directory() -> PathBuf {
    workspace::images().join("c")
}

/// Builds all of them.
pub(crate) fn build() -> Result<()> {
    let sources = workspace::root().join("tests/drivers/c");
    let images = directory();
    // The client lies elsewhere than the library, so that it does not find it without being told.
    let client = images.join("client");
    fs::create_dir_all(&client).with_context(|| format!("cannot create {}", client.display()))?;
    for (name, source, define) in IMAGES {
        let is_client = name == "client.sys";
        let image = if is_client { &client } else { &images }.join(name);
        let mut compiler = Command::new(GCC);
        compiler.args(FLAGS);
        if !define.is_empty() {
            compiler.arg(format!("-D{define}"));
        }
        compiler
            .arg(sources.join(source))
            .arg("-o")
            .arg(&image)
            .arg("-lntoskrnl");
        if is_client {
            compiler.arg(images.join("library.sys"));
        }
        command::run(&mut compiler)?;
    }
    println!("built {} drivers in C with GNU tools", IMAGES.len());
    Ok(())
}
