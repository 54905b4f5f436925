//! Whether the same sources give the same image: the product is built a second time, with other paths, and compared bit for bit.
//!
//! Three things may differ, because the linker makes them from the PDB, which holds the name of a temporary folder: the time stamps (they are
//! a hash), the checksum over them, and the identification of the PDB with the hash beside it.

use std::{fs, ops::Range, os::unix::fs::symlink, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use object::{
    LittleEndian as LE, Object,
    pe::{
        IMAGE_DEBUG_TYPE_CODEVIEW, IMAGE_DEBUG_TYPE_REPRO, IMAGE_DIRECTORY_ENTRY_DEBUG,
        ImageDebugDirectory,
    },
    pod::slice_from_bytes,
    read::pe::PeFile64,
};

use crate::{
    artefacts::{self, Architecture, Form, PRODUCT, Profile},
    tally::Tally,
    toolchain, workspace,
};

/// Another path to the same target directory: what is not built again is shared, and every path that the build is told is different.
const OTHER: &str = "target/xwdk-by-another-name";

/// Builds the product again and compares.
pub(crate) fn check_all(tally: &mut Tally) -> Result<()> {
    let started = Instant::now();
    // What the package's default features make.
    let first = artefacts::product(Form::Redirector, Profile::Release, Architecture::X64)
        .with_extension("sys");
    let first = fs::read(&first).with_context(|| format!("cannot read {}", first.display()))?;
    let second = build_again()?;
    let what = "the same sources give the same image, bit for bit";
    match compare(&first, &second) {
        Ok(()) => tally.pass(what),
        Err(why) => tally.fail(what, &format!("{why:#}")),
    }
    // The proof that a difference is seen: in the middle of the file is code.
    let mut changed = second.clone();
    let middle = changed.len() / 2;
    if let Some(byte) = changed.get_mut(middle) {
        *byte ^= 1;
    }
    match compare(&first, &changed) {
        Err(_) => tally.pass_quietly(),
        Ok(()) => tally.fail("proof: a changed byte is seen", "it is not"),
    }
    for path in paths() {
        let what = format!("the image does not name {path}");
        if holds(&first, &path) || holds(&second, &path) {
            tally.fail(&what, "it does");
        } else {
            tally.pass_quietly();
        }
    }
    println!("     {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}

/// Compiles and links the product anew, below the other path.
fn build_again() -> Result<Vec<u8>> {
    let root = workspace::root();
    let other = root.join(OTHER);
    if !other.is_symlink() {
        symlink(workspace::driver_target(), &other)
            .with_context(|| format!("cannot make {}", other.display()))?;
    }
    let way = toolchain::choose()?;
    for (subcommand, packages) in [
        ("clean", &[PRODUCT, "rxce-engine", "rxce-netfs", "p9"][..]),
        ("build", &[PRODUCT][..]),
    ] {
        let mut cargo = toolchain::cargo(way, subcommand);
        cargo.env("CARGO_TARGET_DIR", &other).args([
            "--quiet",
            "--release",
            "--target",
            Architecture::X64.target(),
        ]);
        for package in packages {
            cargo.args(["--package", package]);
        }
        crate::command::run(&mut cargo)?;
    }
    let image = other
        .join(Architecture::X64.target())
        .join("release")
        .join(format!("{PRODUCT}.dll"));
    fs::read(&image).with_context(|| format!("cannot read {}", image.display()))
}

/// Paths of this machine.
fn paths() -> Vec<String> {
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| Ok::<_, std::env::VarError>(std::env::var("HOME")? + "/.cargo"));
    let root = workspace::root().display().to_string();
    std::iter::once(root).chain(home).collect()
}

/// Whether an image holds a text, in ASCII or UTF-16.
fn holds(image: &[u8], text: &str) -> bool {
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [text.as_bytes(), &wide]
        .iter()
        .any(|text| image.windows(text.len()).any(|window| window == *text))
}

/// Compares all but what may differ.
fn compare(one: &[u8], other: &[u8]) -> Result<()> {
    let (one, other) = (masked(one)?, masked(other)?);
    ensure!(
        one.len() == other.len(),
        "{} bytes and {} bytes",
        one.len(),
        other.len()
    );
    let differences = one
        .iter()
        .zip(&other)
        .filter(|(one, other)| one != other)
        .count();
    if let Some(first) = one.iter().zip(&other).position(|(one, other)| one != other) {
        bail!("{differences} bytes differ, the first at {first:#x}");
    }
    Ok(())
}

/// The image with zeroes where two builds may differ.
fn masked(image: &[u8]) -> Result<Vec<u8>> {
    let mut masked = image.to_vec();
    for range in may_differ(image)? {
        masked
            .get_mut(range)
            .context("a header points out of the file")?
            .fill(0);
    }
    Ok(masked)
}

// Offsets from "PE Format" of the Microsoft documentation.

/// `e_lfanew` in the DOS header.
const NEW_HEADER: usize = 0x3C;
/// `TimeDateStamp` from the `PE` signature on.
const TIME_STAMP: usize = 8;
/// `CheckSum` from there on.
const CHECKSUM: usize = 24 + 64;
/// `TimeDateStamp` in an entry of the debug directory.
const ENTRY_TIME_STAMP: usize = 4;

fn may_differ(image: &[u8]) -> Result<Vec<Range<usize>>> {
    let file = PeFile64::parse(image)?;
    let header = image
        .get(NEW_HEADER..NEW_HEADER + 4)
        .context("no PE header")?;
    let header = usize::try_from(u32::from_le_bytes(header.try_into()?))?;
    let four = |at: usize| at..at + 4;
    let mut ranges = vec![four(header + TIME_STAMP), four(header + CHECKSUM)];

    let sections = file.section_table();
    let directory = file
        .data_directory(IMAGE_DIRECTORY_ENTRY_DEBUG)
        .context("no debug directory")?;
    let (offset, size) = directory
        .file_range(&sections)
        .context("the debug directory lies outside the file")?;
    let (start, size) = (usize::try_from(offset)?, usize::try_from(size)?);
    let bytes = image.get(start..start + size).context("cut off")?;
    let count = size / size_of::<ImageDebugDirectory>();
    let Ok((entries, _)) = slice_from_bytes::<ImageDebugDirectory>(bytes, count) else {
        bail!("the debug directory cannot be read");
    };
    for (index, entry) in entries.iter().enumerate() {
        let at = start + index * size_of::<ImageDebugDirectory>();
        ranges.push(four(at + ENTRY_TIME_STAMP));
        let data = usize::try_from(entry.pointer_to_raw_data.get(LE))?;
        match entry.typ.get(LE) {
            // `RSDS`, then the GUID; age and name of the PDB have to be the same.
            IMAGE_DEBUG_TYPE_CODEVIEW => ranges.push(data + 4..data + 20),
            IMAGE_DEBUG_TYPE_REPRO => {
                ranges.push(data..data + usize::try_from(entry.size_of_data.get(LE))?);
            }
            _ => {}
        }
    }
    ensure!(
        file.pdb_info()?.is_some(),
        "the image names no PDB: nothing could differ"
    );
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_in_both_forms() {
        assert!(holds(b"..abc..", "abc"));
        assert!(holds(b".a\0b\0c\0.", "abc"));
        assert!(!holds(b"ab", "abc"));
    }

    #[test]
    fn what_is_no_image_cannot_be_compared() {
        assert!(compare(b"x", b"x").is_err());
    }
}
