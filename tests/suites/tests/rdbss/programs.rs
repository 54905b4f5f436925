//! Linux programs on the redirector's files, through FUSE.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use memrdr_ioctl::{BIG, BIG_BYTES, FILES, HELLO_BYTES, big_byte};
use sha2::{Digest as _, Sha256};
use suites::mount::Mount;

use crate::machine::{Redirector, here};

/// What a program prints on its standard output; it must succeed.
fn output(at: &Path, program: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(at)
        .output()
        .with_context(|| program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

pub(crate) fn see_the_files() -> Result<()> {
    let redirector = Redirector::started()?;
    let folder = tempfile::tempdir()?;
    let mount = Mount::new(&here(""), folder.path()).context("mount")?;
    let result = use_them(folder.path());
    mount.end().context("unmount")?;
    result?;
    redirector.end()
}

fn use_them(at: &Path) -> Result<()> {
    ensure!(output(at, "cat", &["hello.txt"])? == HELLO_BYTES, "cat");
    let names = String::from_utf8(output(at, "ls", &["-1"])?)?;
    ensure!(names == "big\ndir\nhello.txt\nstuck\n", "ls: {names}");
    let found = String::from_utf8(output(at, "find", &["dir", "-type", "f"])?)?;
    ensure!(found.lines().count() == FILES as usize, "find: {found}");
    let sum = String::from_utf8(output(at, "sha256sum", &[BIG])?)?;
    let bytes: Vec<u8> = (0..BIG_BYTES).map(big_byte).collect();
    let digest = Sha256::digest(&bytes);
    let wanted: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(sum.starts_with(&wanted), "sha256sum: {sum}, not {wanted}");
    let grep = String::from_utf8(output(at, "grep", &["-r", "-l", "-x", "27.", "dir"])?)?;
    ensure!(grep.lines().count() == 10, "grep: {grep}");
    for (name, mode) in [("none", "read"), ("hello.txt", "write")] {
        let path = at.join(name);
        let error = match mode {
            "read" => std::fs::read(path).err(),
            _ => std::fs::write(path, b"x").err(),
        };
        let number = error.and_then(|error| error.raw_os_error());
        // ENOENT and EROFS.
        let wanted = if mode == "read" { 2 } else { 30 };
        ensure!(number == Some(wanted), "{mode} of {name}: error {number:?}");
    }
    Ok(())
}
