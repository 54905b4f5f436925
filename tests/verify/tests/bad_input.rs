//! What bad input gets from the command: one clear message, exit code 1, and nothing run. Files that are no drivers, damaged and
//! malicious ones, circles of imports and of forwarders, unknown words.

#[path = "common/command.rs"]
mod command;
#[path = "common/headers.rs"]
mod headers;
#[path = "common/images.rs"]
mod images;

use command::verify;
use headers::{
    ALIGNMENT, BYTES, CHARACTERISTICS, DATA, ENTRY, HEADER_BYTES, IMAGE_BYTES, MACHINE, SECTION,
    SECTIONS, START, SUBSYSTEM, add_section, address_table_at, directory, directory_of,
    first_section, get32, header16, header32, image_end, import_table, length, pe, put32,
    section32, table, words,
};
use images::c_driver;
use libtest_mimic::{Arguments, Failed, Trial};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use tempfile::TempDir;

/// A change of an image's bytes, and what is said then.
type Damage = (&'static str, fn(&mut Vec<u8>), &'static str);

const DAMAGE: &[Damage] = &[
    (
        "an empty file",
        |file| file.clear(),
        "does not begin with the signature MZ",
    ),
    (
        "a text",
        |file| *file = b"#!/bin/sh\n".to_vec(),
        "does not begin with the signature MZ",
    ),
    (
        "only a signature",
        |file| file.truncate(2),
        "ends within its first header",
    ),
    (
        "headers cut off",
        |file| file.truncate(0x84),
        "ends within its headers",
    ),
    (
        "sections cut off",
        |file| file.truncate(0x500),
        "lies outside the file",
    ),
    (
        "no second signature",
        |file| {
            let at = pe(file);
            file[at] = b'X'
        },
        "has no signature PE",
    ),
    (
        "a header that lies outside",
        |file| put32(file, 0x3C, u32::MAX),
        "has no signature PE",
    ),
    (
        "no relocations",
        |file| {
            let at = pe(file);
            file[at + CHARACTERISTICS] |= 1
        },
        "its relocations are stripped",
    ),
    (
        "headers longer than the file",
        |file| {
            header32(file, IMAGE_BYTES, 0x20_0000);
            header32(file, HEADER_BYTES, 0x10_0000);
        },
        "its headers have 1048576 bytes",
    ),
    (
        "headers longer than the image",
        |file| {
            header32(file, IMAGE_BYTES, 0x1000);
            header32(file, HEADER_BYTES, 0x1200);
        },
        "its headers have 4608 bytes",
    ),
    (
        "overlapping sections",
        |file| {
            let first = first_section(file);
            section32(file, 1, START, first)
        },
        "overlaps what precedes it",
    ),
    (
        "a section that is not aligned",
        |file| {
            let first = first_section(file);
            section32(file, 0, START, first + 1)
        },
        "is not aligned",
    ),
    (
        "writable code",
        |file| {
            let at = table(file);
            file[at + 39] |= 0x80
        },
        "is writable and executable",
    ),
    (
        "a relocation of x86",
        |file| {
            // One block for the first page, with one entry of type HIGHLOW.
            let rva = add_section(file, &words(&[0x1000, 12, 3 << 12]));
            directory(file, 5, rva, 12)
        },
        "it has a relocation of type 3",
    ),
    (
        "a module with a long name",
        |file| {
            let data = [[0; 8].as_slice(), &[b'm'; 600], &[0]].concat();
            import_table(file, 1, &data, |at| [at, at + 8, at])
        },
        "a name in a table has 600 bytes",
    ),
    (
        "too many modules",
        |file| import_table(file, 257, b"\0\0\0\0\0\0\0\0m.sys\0", |at| [at, at + 8, at]),
        "it imports too many modules",
    ),
    (
        "too many routines",
        |file| {
            let ordinals = words(&[1, 1 << 31]).repeat(8193);
            let name = length(&ordinals) + 8;
            let data = [ordinals.as_slice(), &[0; 8], b"m.sys\0"].concat();
            import_table(file, 1, &data, |at| [at, at + name, at])
        },
        "it imports too many routines",
    ),
    (
        "an import address table outside",
        |file| address_table_at(file, 0x7FFF_0000),
        "something at RVA 0x7FFF0000 lies outside the image",
    ),
    (
        "an import address table that wraps around",
        |file| address_table_at(file, 0xFFFF_FFF8),
        "its import address table lies outside the image",
    ),
    (
        "an export outside",
        |file| {
            // IMAGE_EXPORT_DIRECTORY, then the function, the name's place, the ordinal, the name.
            let rva = image_end(file);
            let table = [0, 0, 0, rva + 52, 1, 1, 1, rva + 40, rva + 44, rva + 48];
            let rest = [0x7FFF_0000, rva + 52, 0, u32::from_le_bytes(*b"far\0")];
            add_section(file, &words(&[table.as_slice(), &rest].concat()));
            directory(file, 0, rva, 56)
        },
        "its export far lies outside the image",
    ),
    (
        "relocations of something else",
        |file| {
            let start = get32(file, pe(file) + ENTRY);
            directory(file, 5, start, 400)
        },
        "image",
    ),
];

/// The same with one field of a header, or one entry of the table of directories.
#[rustfmt::skip]
const FIELDS: &[Damage] = &[
    ("for ARM64", |file| header16(file, MACHINE, 0xAA64), "machine type 0xAA64, not for x64"),
    ("for x86", |file| header16(file, MACHINE, 0x14C), "machine type 0x14C, not for x64"),
    ("a program", |file| header16(file, SUBSYSTEM, 3), "its subsystem is 3, not native (1)"),
    ("small alignment", |file| header32(file, ALIGNMENT, 512), "section alignment is 512 bytes"),
    ("a huge image", |file| header32(file, IMAGE_BYTES, 0xFFFF_F000), "bytes of memory"),
    ("no image", |file| header32(file, IMAGE_BYTES, 0), "it wants 0 bytes of memory"),
    ("headers that claim too much", |file| header32(file, HEADER_BYTES, 0x10_0000), "its headers have 1048576 bytes"),
    ("headers that claim too little", |file| header32(file, HEADER_BYTES, 16), "its headers have 16 bytes"),
    ("an alignment that is no power of two", |file| header32(file, ALIGNMENT, 0x1800), "section alignment is 6144 bytes"),
    ("an entry point outside", |file| header32(file, ENTRY, 0x7FFF_0000), "entry point is not in a section that may run"),
    ("no entry point", |file| header32(file, ENTRY, 0), "has no entry point"),
    ("too many sections", |file| header16(file, SECTIONS, 0xFFFF), "image"),
    ("a section outside", |file| section32(file, 1, BYTES, 0x7FFF_FFFF), "outside the image"),
    ("data outside the file", |file| section32(file, 0, DATA, 0xFFFF_FE00), "lies outside the file"),
    ("imports that lead nowhere", |file| directory(file, 1, 0x7FFF_0000, 100), "not a valid PE32+ image"),
    ("relocations that lead nowhere", |file| directory(file, 5, 0x7FFF_0000, 100), "not a valid PE32+ image"),
    ("exports that lead nowhere", |file| directory(file, 0, 0x7FFF_0000, 100), "not a valid PE32+ image"),
    ("a function table outside", |file| directory(file, 3, 0xFFFF_FFF0, 0xFFFF_FFF0), "function table lies outside the image"),
];

/// Words, and what is said to them.
const WORDS: &[(&[&str], &str)] = &[
    (&[], "no driver is named"),
    (&["--rc", "1"], "no driver is named"),
    (&["--flags", "0x"], "0x is no set of flags"),
    (&["--flags", "special"], "special is no set of flags"),
    (&["--flags", "0"], "flags 0 choose no rule"),
    (&["--flags", "0x1001"], "flags 0x1000 are no rule classes"),
    (
        &["--flags", "0x80"],
        "none of the chosen rules does anything here: DMA checking",
    ),
    (
        &["--flags", "0x200"],
        "force pending I/O (class 10, flag 0x200) needs I/O verification",
    ),
    (&["--rc", "7"], "there is no rule class 7; there are 1 2 3"),
    (&["--rc", "one", "2"], "one is no number of a rule class"),
    (
        &["--rc", "19"],
        "systematic low resources (class 19, flag 0x40000) needs DIF mode",
    ),
    (
        &["--rc", "34"],
        "WDF verification (class 34) does not apply here: no WDF is simulated",
    ),
    (&["--standard", "--flags", "0x1"], "cannot be used with"),
    (&["--faults", "0"], "1 to 10000 calls of 10,000 can fail"),
    (
        &["--faults", "600", "Tag1", "", "7"],
        "--faults takes one number here",
    ),
    (&["--volatile"], "unexpected argument '--volatile'"),
    (
        &["--verify-start", "--flags", "0x10"],
        "--verify-start is a setting of special pool",
    ),
    (&["--limit", "0"], "0 is not in 1..=86400"),
];

fn main() -> ExitCode {
    let mut trials = vec![
        Trial::test("a file that is not there", || {
            refused(&["/nowhere/some.sys".into()], "cannot read the image")
        }),
        Trial::test("a folder", || {
            let folder = TempDir::new()?;
            refused(&[folder.path().to_owned()], "it is no file")
        }),
        Trial::test("a file that is too large", || {
            let folder = TempDir::new()?;
            let path = write(&folder, "large.sys", b"MZ")?;
            fs::File::options()
                .write(true)
                .open(&path)?
                .set_len((256 << 20) + 1)?;
            refused(&[path], "the file has 268435457 bytes")
        }),
        Trial::test("drivers that import from each other", import_circle),
        Trial::test("forwarders in a circle", forwarder_circle),
        Trial::test("a companion that nobody needs", || {
            let words = [
                c_driver("queue.sys"),
                "--with".into(),
                c_driver("worker.sys"),
            ];
            refused(&words, "nothing is imported from it")
        }),
        Trial::test("a companion that is not there", || {
            let words = [
                c_driver("queue.sys"),
                "--with".into(),
                "/nowhere/b.sys".into(),
            ];
            refused(&words, "/nowhere/b.sys")
        }),
    ];
    for (name, damage, says) in FIELDS.iter().chain(DAMAGE) {
        trials.push(Trial::test(*name, move || {
            let folder = TempDir::new()?;
            let mut file = fs::read(c_driver("worker.sys"))?;
            damage(&mut file);
            refused(&[write(&folder, "bad.sys", &file)?], says)
        }));
    }
    for (words, says) in WORDS {
        trials.push(Trial::test(
            format!("words: {}", words.join(" ")),
            move || {
                let mut words: Vec<PathBuf> = words.iter().map(PathBuf::from).collect();
                if *says != "no driver is named" {
                    words.splice(0..0, [c_driver("queue.sys")]);
                }
                refused(&words, says)
            },
        ));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn write(folder: &TempDir, name: &str, file: &[u8]) -> std::io::Result<PathBuf> {
    let path = folder.path().join(name);
    fs::write(&path, file)?;
    Ok(path)
}

/// The command refuses these words, in one message that has this text.
fn refused(words: &[PathBuf], says: &str) -> Result<(), Failed> {
    let said = verify(words)?;
    let message = if said.result() == "no result" {
        said.err.clone()
    } else {
        said.result().to_owned()
    };
    let harmless = ["panicked", "*** STOP", "DriverEntry:"]
        .iter()
        .all(|sign| !said.whole().contains(sign));
    if said.code == Some(1) && message.contains(says) && harmless {
        Ok(())
    } else {
        Err(format!("it does not say {says:?}\n{}", said.whole()).into())
    }
}

/// Gives an image another name for what it imports from.
fn rename_import(file: &mut [u8], from: &str, to: &str) -> Result<(), Failed> {
    let place = file
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .ok_or("no such import")?;
    file[place..place + from.len()].fill(0);
    file[place..place + to.len()].copy_from_slice(to.as_bytes());
    Ok(())
}

fn import_circle() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    for (name, other) in [("a.sys", "b.sys"), ("b.sys", "c.sys"), ("c.sys", "b.sys")] {
        let mut file = fs::read(c_driver("queue.sys"))?;
        rename_import(&mut file, "ntoskrnl.exe", other)?;
        write(&folder, name, &file)?;
    }
    refused(
        &[folder.path().join("a.sys")],
        "drivers import from each other in a circle: b.sys → c.sys → b.sys",
    )
}

/// An export of `library.sys` is turned into a forwarder to itself.
fn forwarder_circle() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let mut exporter = fs::read(c_driver("library.sys"))?;
    forward_exports(&mut exporter, b"b.DbgPrint\0")?;
    write(&folder, "b.sys", &exporter)?;
    let mut importer = fs::read(c_driver("queue.sys"))?;
    rename_import(&mut importer, "ntoskrnl.exe", "b.sys")?;
    let importer = write(&folder, "a.sys", &importer)?;
    refused(&[importer], "is forwarded from b in a circle")
}

/// Lets the first export be `DbgPrint`, and lead to where this text lies: in the export table, which makes it a forwarder.
fn forward_exports(file: &mut [u8], text: &[u8]) -> Result<(), Failed> {
    let (start, bytes) = directory_of(file, 0);
    let sections = table(file);
    let header = (0..16)
        .map(|n| sections + n * SECTION)
        .find(|header| get32(file, header + START) == start)
        .ok_or("the export table has no section of its own")?;
    let raw = get32(file, header + DATA) as usize;
    let offset = |rva: u32| raw + (rva - start) as usize;
    let (addresses, names) = (get32(file, raw + 28), get32(file, raw + 32));
    // The longest name has room for both texts.
    let place = file[raw..raw + bytes as usize]
        .windows(b"LibraryCountOfCallsSoFar".len())
        .position(|window| window == b"LibraryCountOfCallsSoFar")
        .ok_or("no long name")?;
    file[raw + place..raw + place + text.len()].copy_from_slice(text);
    let name = raw + place + text.len();
    file[name..name + 9].copy_from_slice(b"DbgPrint\0");
    let rva = |place: usize| start + u32::try_from(place).unwrap_or(0);
    let ordinals = get32(file, raw + 36);
    let first = usize::from(u16::from_le_bytes([
        file[offset(ordinals)],
        file[offset(ordinals) + 1],
    ]));
    put32(file, offset(addresses) + first * 4, rva(place));
    put32(file, offset(names), rva(place + text.len()));
    Ok(())
}
