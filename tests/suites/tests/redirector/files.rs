//! What programs see of the files of a real server.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use ntsim::{DirectoryFlags, File, HowToOpen, io::status};
use suites::diod::Diod;
use tempfile::TempDir;

use crate::{
    Scenario,
    machine::{Redirector, fails, named, open, path, refused},
    servers,
};

pub(crate) const ALL: &[Scenario] = &[
    ("files_are_read_by_path", reads),
    ("a_tree_is_walked_and_equals_the_original", walks),
    ("directories_are_listed_by_pattern", lists),
    ("attributes_are_the_servers", queries),
    ("names_that_lead_nowhere_get_their_status", names),
    ("whatever_writes_is_refused", writes),
    ("several_reads_are_under_way_at_once", asynchronous),
];

/// FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_SYNCHRONOUS_IO_NONALERT.
const DIRECTORY_FILE: u32 = 0x1;
const NON_DIRECTORY_FILE: u32 = 0x40;
const SYNCHRONOUS: u32 = 0x20;

/// A served folder, and the redirector.
struct Bench {
    tree: TempDir,
    diod: Diod,
    redirector: Redirector,
}

impl Bench {
    fn new(profile: &str) -> Result<Self> {
        let tree = servers::tree()?;
        Ok(Self {
            diod: Diod::start(tree.path())?,
            tree,
            redirector: Redirector::started(profile)?,
        })
    }

    fn path(&self, rest: &str) -> String {
        path(self.diod.port(), self.tree.path(), rest)
    }

    fn open(&self, rest: &str) -> Result<File> {
        open(&self.path(rest))
    }
}

fn read_all(file: &File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        match file.read_at(bytes.len() as u64, 100_000) {
            Ok(more) => bytes.extend(more),
            Err(error) => {
                fails::<()>(Err(error), status::END_OF_FILE)?;
                return Ok(bytes);
            }
        }
    }
}

fn reads(profile: &str) -> Result<()> {
    let bench = Bench::new(profile)?;
    for (rest, file) in [
        (r"\hello.txt", "hello.txt"),
        (r"\Hello.txt", "Hello.txt"),
        (r"\empty", "empty"),
        (r"\näme with spaces.txt", "näme with spaces.txt"),
        (r"\big.bin", "big.bin"),
        (r"\one\two\three\deep.txt", "one/two/three/deep.txt"),
        ("\\a\u{F03A}b\u{F03F}", "a:b?"),
    ] {
        let original = fs::read(bench.tree.path().join(file))?;
        let bytes = read_all(&bench.open(rest)?).with_context(|| rest.to_owned())?;
        ensure!(bytes == original, "{rest} differs ({} bytes)", bytes.len());
    }
    // More names than one walk takes.
    let end = format!(r"\d{}\end", r"\d".repeat(20));
    ensure!(read_all(&bench.open(&end)?)? == b"the end\n", "{end}");
    let big = bench.open(r"\big.bin")?;
    let original = fs::read(bench.tree.path().join("big.bin"))?;
    for (offset, length) in [
        (0, 1),
        (1, 65_536),
        (65_535, 65_537),
        (299_999, 10),
        (7, 299_000),
    ] {
        let bytes = big.read_at(offset, length)?;
        let start = usize::try_from(offset)?;
        let end = (start + length).min(original.len());
        ensure!(
            bytes == original[start..end],
            "{length} bytes at {offset} differ"
        );
    }
    fails(big.read_at(300_000, 1), status::END_OF_FILE)?;
    ensure!(big.read_at(5, 0)?.is_empty(), "bytes out of nothing");
    drop(big);
    bench.redirector.end()
}

/// Every file below a directory, by the path that the server knows.
fn collect(bench: &Bench, rest: &str, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let directory = bench.open(rest)?;
    for entry in directory.entries(None).with_context(|| rest.to_owned())? {
        if entry.name == "." || entry.name == ".." {
            continue;
        }
        let below = format!(r"{rest}\{}", entry.name);
        if entry.attributes & 0x10 != 0 {
            collect(bench, &below, found)?;
        } else if entry.attributes & 0x400 == 0 {
            let bytes = read_all(&bench.open(&below)?)?;
            ensure!(
                bytes.len() as u64 == entry.bytes,
                "{below}: {} bytes",
                entry.bytes
            );
            let name = below
                .replace('\\', "/")
                .replace('\u{F03A}', ":")
                .replace('\u{F03F}', "?");
            found.insert(name, bytes);
        }
    }
    Ok(())
}

fn originals(folder: &Path, rest: &str, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let below = format!("{rest}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            originals(&entry.path(), &below, found)?;
        } else if kind.is_file() {
            found.insert(below, fs::read(entry.path())?);
        }
    }
    Ok(())
}

fn walks(profile: &str) -> Result<()> {
    let bench = Bench::new(profile)?;
    let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
    collect(&bench, "", &mut here)?;
    originals(bench.tree.path(), "", &mut there)?;
    ensure!(there.len() > 300, "{} files", there.len());
    let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    ensure!(names(&here) == names(&there), "{:?}", names(&here));
    ensure!(here == there, "contents differ");
    bench.redirector.end()
}

fn names_of(file: &File, pattern: Option<&str>) -> Result<Vec<String>> {
    let mut names: Vec<String> = file
        .entries(pattern)?
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    Ok(names)
}

fn lists(profile: &str) -> Result<()> {
    let bench = Bench::new(profile)?;
    let list = |pattern: &str| names_of(&bench.open("")?, Some(pattern));
    ensure!(list("*.TXT")? == ["Hello.txt", "hello.txt", "näme with spaces.txt"]);
    ensure!(list("hello.txt")? == ["hello.txt"]);
    ensure!(list("HELLO.TXT")?.is_empty());
    ensure!(list("h?llo*")? == ["Hello.txt", "hello.txt"]);
    ensure!(list("*")?.starts_with(&[".".to_owned(), "..".to_owned()]));
    ensure!(names_of(&bench.open(r"\many")?, None)?.len() == 302);
    // In small pieces, the same.
    let many = bench.open(r"\many")?;
    let mut count = 0;
    let mut flags = DirectoryFlags::RESTART;
    loop {
        match many.query_directory(12, None, flags, 256) {
            Ok(answer) => {
                ensure!(!answer.bytes.is_empty() && answer.bytes.len() <= 256);
                let mut at = 0;
                loop {
                    count += 1;
                    let next =
                        u32::from_le_bytes(*answer.bytes[at..].first_chunk().context("cut")?);
                    if next == 0 {
                        break;
                    }
                    at += usize::try_from(next)?;
                }
            }
            Err(error) => {
                fails::<()>(Err(error), status::NO_MORE_FILES)?;
                break;
            }
        }
        flags = DirectoryFlags::NONE;
    }
    ensure!(count == 302, "{count} entries in small pieces");
    let single = many.query_directory(37, None, DirectoryFlags::SINGLE, 4096);
    fails(single, status::NO_MORE_FILES)?;
    cut_names(&bench.open("")?)?;
    let nothing = bench.open("")?;
    fails(
        nothing.query_directory(37, Some("nothing*"), DirectoryFlags::NONE, 4096),
        status::NO_SUCH_FILE,
    )?;
    fails(
        nothing.query_directory(4, None, DirectoryFlags::RESTART, 4096),
        INVALID_INFO_CLASS,
    )?;
    drop((many, nothing));
    bench.redirector.end()
}

/// A buffer for a part of the first name gets that part, and the whole length; one for no entry at all gets none.
fn cut_names(root: &File) -> Result<()> {
    let query = |flags, room| root.query_directory(12, Some("hello.txt"), flags, room);
    let answer = query(DirectoryFlags::RESTART, 12 + 5)?;
    ensure!(
        answer.status.0 == status::BUFFER_OVERFLOW,
        "{}",
        answer.status
    );
    ensure!(answer.bytes[8..] == *b"\x12\0\0\0h\0e\0", "{answer:?}");
    fails(query(DirectoryFlags::NONE, 100), status::NO_MORE_FILES)?;
    let none = query(DirectoryFlags::RESTART, 11);
    fails(none, status::BUFFER_TOO_SMALL)
}

fn queries(profile: &str) -> Result<()> {
    let bench = Bench::new(profile)?;
    let file = bench.open(r"\big.bin")?;
    let number = |bytes: &[u8], at: usize| -> Result<u64> {
        Ok(u64::from_le_bytes(
            *bytes[at..].first_chunk().context("short")?,
        ))
    };
    let standard = file.query_information(5, 24)?.bytes;
    ensure!(number(&standard, 8)? == 300_000, "{standard:?}");
    let basic = file.query_information(4, 40)?.bytes;
    let modified = fs::metadata(bench.tree.path().join("big.bin"))?
        .modified()?
        .duration_since(std::time::UNIX_EPOCH)?;
    let wanted = (modified.as_secs() + 11_644_473_600) * 10_000_000
        + u64::from(modified.subsec_nanos()) / 100;
    ensure!(
        number(&basic, 16)? == wanted,
        "another time of the last write"
    );
    ensure!(
        file.query_information(18, 1024)?.bytes.len() > 100,
        "all information"
    );
    fails(file.query_information(4, 39), status::INFO_LENGTH_MISMATCH)?;
    fails(file.query_information(77, 100), INVALID_INFO_CLASS)?;
    let attribute = file.query_volume(5, 100)?.bytes;
    ensure!(attribute[12..] == *b"9\0P\0", "{attribute:?}");
    for class in [1, 3, 4, 7] {
        ensure!(
            !file.query_volume(class, 200)?.bytes.is_empty(),
            "class {class}"
        );
    }
    fails(file.query_volume(99, 100), INVALID_INFO_CLASS)?;
    drop(file);
    bench.redirector.end()
}

fn names(profile: &str) -> Result<()> {
    let bench = Bench::new(profile)?;
    let how = HowToOpen::default();
    for (rest, wanted) in [
        (r"\nothing", status::OBJECT_NAME_NOT_FOUND),
        (r"\nothing\more", status::OBJECT_PATH_NOT_FOUND),
        (r"\hello.txt\more", status::OBJECT_PATH_NOT_FOUND),
        (r"\HELLO.TXT", status::OBJECT_NAME_NOT_FOUND),
        (r"\a:b?", status::OBJECT_NAME_INVALID),
        (r"\dot.", status::OBJECT_NAME_INVALID),
        (r"\a/b", status::OBJECT_NAME_INVALID),
        (r"\hello.txt:stream", status::OBJECT_NAME_INVALID),
        (r"\hello.txt::$DATA", status::OBJECT_NAME_INVALID),
        (r"\one\..\hello.txt", status::OBJECT_NAME_INVALID),
        (r"\.\hello.txt", status::OBJECT_NAME_INVALID),
        (r"\one\\two", status::OBJECT_NAME_INVALID),
        (r"\hel*", status::OBJECT_NAME_INVALID),
        ("\\bell\u{7}", status::OBJECT_NAME_INVALID),
        ("\\zero\0", status::OBJECT_NAME_INVALID),
        // Second forms of a name.
        ("\\hello\u{F02E}txt", status::OBJECT_NAME_INVALID),
        (
            "\\n\u{F0C3}\u{F0A4}me with spaces.txt",
            status::OBJECT_NAME_INVALID,
        ),
        (r"\link", IO_REPARSE_TAG_NOT_HANDLED),
    ] {
        refused(&bench.path(rest), &how, wanted)?;
    }
    for long in [
        format!(r"\{}", "x".repeat(256)),
        format!(r"\{}\y", "語".repeat(256)),
    ] {
        refused(&bench.path(&long), &how, NAME_TOO_LONG)?;
    }
    // As long as a path can be: 32,767 characters are the most of a UNICODE_STRING.
    let room = 0x7fff - bench.path("").encode_utf16().count();
    for (deep, wanted) in [
        (r"\d".repeat(room / 2), status::OBJECT_PATH_NOT_FOUND),
        (r"\d".repeat(room), status::OBJECT_NAME_INVALID),
    ] {
        refused(&bench.path(&deep), &how, wanted).map_err(|error| {
            anyhow::anyhow!("{} characters: {}", deep.len(), error.root_cause())
        })?;
    }
    let directory = HowToOpen {
        options: SYNCHRONOUS | DIRECTORY_FILE,
        ..how
    };
    refused(
        &bench.path(r"\hello.txt"),
        &directory,
        status::NOT_A_DIRECTORY,
    )?;
    let plain = HowToOpen {
        options: SYNCHRONOUS | NON_DIRECTORY_FILE,
        ..how
    };
    refused(&bench.path(r"\one"), &plain, status::FILE_IS_A_DIRECTORY)?;
    let port = bench.diod.port();
    for server in [
        "fileserver",
        "127.0.0.1",
        "127.0.0.1@0",
        "127.0.0.1@x",
        "300.0.0.1@564",
        "@127.0.0.1@564",
        "4294967296@127.0.0.1@564",
        "127.0.0.1@65536",
        &"9".repeat(20_000),
    ] {
        refused(&named(server, "x", r"\y"), &how, status::BAD_NETWORK_PATH)?;
    }
    let server = format!("127.0.0.1@{port}");
    for share in ["a/b", &"x".repeat(1024), &"!".repeat(20_000)] {
        refused(
            &named(&server, share, r"\y"),
            &how,
            status::BAD_NETWORK_NAME,
        )?;
    }
    ensure!(
        File::create(&named(&server, "no!such!tree", r"\y"), &how).is_err(),
        "a tree that is not exported was attached"
    );
    bench.redirector.end()
}

/// STATUS_INVALID_INFO_CLASS, STATUS_IO_REPARSE_TAG_NOT_HANDLED, STATUS_NAME_TOO_LONG.
const INVALID_INFO_CLASS: i32 = 0xC000_0003_u32.cast_signed();
const IO_REPARSE_TAG_NOT_HANDLED: i32 = 0xC000_0279_u32.cast_signed();
const NAME_TOO_LONG: i32 = 0xC000_0106_u32.cast_signed();

fn writes(profile: &str) -> Result<()> {
    let bench = Bench::new(profile)?;
    let how = HowToOpen::default();
    let protected = status::MEDIA_WRITE_PROTECTED;
    let hello = bench.path(r"\hello.txt");
    // FILE_WRITE_DATA, FILE_APPEND_DATA, DELETE, WRITE_DAC.
    for access in [0x2, 0x4, 0x1_0000, 0x4_0000] {
        let how = HowToOpen { access, ..how };
        refused(&hello, &how, protected)?;
    }
    // FILE_SUPERSEDE, FILE_CREATE, FILE_OPEN_IF, FILE_OVERWRITE, FILE_OVERWRITE_IF.
    for (disposition, there, missing) in [
        (0, protected, protected),
        (2, status::OBJECT_NAME_COLLISION, protected),
        (4, protected, status::OBJECT_NAME_NOT_FOUND),
        (5, protected, protected),
    ] {
        let how = HowToOpen { disposition, ..how };
        refused(&hello, &how, there)?;
        refused(&bench.path(r"\new"), &how, missing)?;
    }
    let open_if = HowToOpen {
        disposition: 3,
        ..how
    };
    drop(File::create(&hello, &open_if)?);
    refused(&bench.path(r"\new"), &open_if, protected)?;
    // FILE_DELETE_ON_CLOSE.
    let delete = HowToOpen {
        options: SYNCHRONOUS | 0x1000,
        ..how
    };
    refused(&hello, &delete, protected)?;
    let file = open(&hello)?;
    fails(file.write_at(0, b"x"), protected)?;
    fails(file.set_information(4, &[0; 40]), protected)?;
    ensure!(file.read_at(0, 100)? == b"hello\n", "it was changed");
    drop(file);
    bench.redirector.end()
}

fn asynchronous(profile: &str) -> Result<()> {
    let bench = Bench::new(profile)?;
    let how = HowToOpen {
        options: 0,
        ..HowToOpen::default()
    };
    let file = File::create(&bench.path(r"\big.bin"), &how)?;
    let original = fs::read(bench.tree.path().join("big.bin"))?;
    let pending: Vec<_> = (0..40_u64)
        .map(|n| (n * 7000, file.begin_read(n * 7000, 10_000)))
        .collect();
    for (offset, read) in pending {
        let bytes = read.wait().with_context(|| format!("at {offset}"))?;
        let start = usize::try_from(offset)?;
        ensure!(
            bytes == original[start..start + 10_000],
            "bytes at {offset} differ"
        );
    }
    drop(file);
    bench.redirector.end()
}
