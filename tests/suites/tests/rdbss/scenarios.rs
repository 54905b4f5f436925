//! What a mini-redirector that keeps the rules sees, and what programs see of its files.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use memrdr_ioctl::{
    BIG, BIG_BYTES, DEVICE_NAME, DIRECTORY, FILES, HELLO, HELLO_BYTES, NO_SERVER, SERVER, SHARE,
    SLOW_SERVER, STUCK, big_byte,
};
use ntsim::{DirectoryFlags, File, HowToOpen, NtStatus, io::status};

use crate::machine::{Redirector, here, open, path, refused};

/// A name and what happens.
pub(crate) type Scenario = (&'static str, fn() -> Result<()>);

pub(crate) const ALL: &[Scenario] = &[
    ("starts_and_stops_answer_as_documented", states),
    ("files_are_read_by_path", reads),
    ("a_directory_is_listed_in_pieces", lists),
    ("queries_keep_the_length_of_the_buffer", queries),
    ("bad_names_get_one_status_each", names),
    ("one_server_and_one_view_serve_all_opens", shares_objects),
    (
        "opens_are_collapsed_when_the_redirector_wants_it",
        collapses,
    ),
    ("sharing_is_checked", sharing),
    ("what_nobody_uses_is_finalised_later", scavenges),
    ("a_stop_with_open_handles_says_so", stops_with_handles),
    ("an_asynchronous_read_is_pending_and_cancelled", cancels),
    ("a_stop_cancels_what_is_pending", stop_cancels),
    ("unc_names_find_the_redirector", unc),
];

/// The status of something that must fail.
fn failure<T>(result: Result<T, NtStatus>) -> Result<NtStatus> {
    match result {
        Ok(_) => anyhow::bail!("it succeeded"),
        Err(status) => Ok(status),
    }
}

fn is(status: NtStatus, wanted: i32) -> Result<()> {
    ensure!(
        status.0 == wanted,
        "{status}, and {} was expected",
        status::name(wanted)
    );
    Ok(())
}

/// The program sleeps in simulated time.
fn sleep(time: Duration) {
    ntsim::clock::sleep(time);
}

fn states() -> Result<()> {
    let redirector = Redirector::load()?;
    is(failure(redirector.stop())?, status::REDIRECTOR_NOT_STARTED)?;
    let early = refused(&here(r"\x"), &HowToOpen::default())?;
    is(early, status::REDIRECTOR_NOT_STARTED)?;
    redirector.start()?;
    is(failure(redirector.start())?, status::REDIRECTOR_STARTED)?;
    redirector.stop()?;
    is(failure(redirector.stop())?, status::REDIRECTOR_NOT_STARTED)?;
    // Again: the state is as before.
    redirector.start()?;
    drop(open(&here(&format!(r"\{HELLO}")))?);
    redirector.end()
}

fn reads() -> Result<()> {
    let redirector = Redirector::started()?;
    let hello = open(&here(&format!(r"\{HELLO}")))?;
    ensure!(hello.read_at(0, 100)? == HELLO_BYTES, "another file");
    ensure!(hello.read_at(7, 3)? == HELLO_BYTES[7..10], "another part");
    is(failure(hello.read_at(100, 1))?, status::END_OF_FILE)?;
    ensure!(hello.read_at(0, 0)?.is_empty(), "bytes out of nothing");
    is(
        failure(hello.write_at(0, b"x"))?,
        status::MEDIA_WRITE_PROTECTED,
    )?;
    ensure!(
        hello.fsctl(0x9_0000, b"echo", 4)? == b"echo",
        "another echo"
    );
    is(
        failure(hello.ioctl(0x22_2000, &[], 0))?,
        status::NOT_IMPLEMENTED,
    )?;
    // A worker completes these.
    let big = open(&here(&format!(r"\{BIG}")))?;
    for offset in [0, 1, 4095, BIG_BYTES - 10] {
        let bytes = big.read_at(offset, 8192)?;
        let wanted = 8192.min(BIG_BYTES - offset);
        ensure!(bytes.len() as u64 == wanted, "{} bytes", bytes.len());
        for (n, byte) in (offset..).zip(&bytes) {
            ensure!(*byte == big_byte(n), "byte {n} differs");
        }
    }
    let directory = open(&here(&format!(r"\{DIRECTORY}")))?;
    is(
        failure(directory.read_at(0, 1))?,
        status::INVALID_DEVICE_REQUEST,
    )?;
    drop((hello, big, directory));
    redirector.end()
}

fn lists() -> Result<()> {
    let redirector = Redirector::started()?;
    let root = open(&here(""))?;
    let names: Vec<String> = root
        .entries(None)?
        .into_iter()
        .map(|one| one.name)
        .collect();
    ensure!(names == [HELLO, BIG, STUCK, DIRECTORY], "{names:?}");
    // The pattern of the first query holds.
    let again = root.entries(Some(HELLO))?;
    ensure!(again.len() == 4, "{again:?}");
    let one = open(&here(r"\"))?.entries(Some(HELLO))?;
    ensure!(one.len() == 1, "{one:?}");
    let directory = open(&here(&format!(r"\{DIRECTORY}")))?;
    let entries = directory.entries(None)?;
    ensure!(entries.len() == FILES as usize, "{} files", entries.len());
    for (n, entry) in entries.iter().enumerate() {
        ensure!(entry.name == n.to_string(), "{entry:?}");
        ensure!(entry.bytes == entry.name.len() as u64, "{entry:?}");
    }
    let single = directory.query_directory(12, None, DirectoryFlags::RESTART, 4096)?;
    let first = directory.query_directory(12, None, DirectoryFlags::SINGLE, 4096)?;
    ensure!(
        first.bytes.len() < single.bytes.len(),
        "{} bytes of one entry",
        first.bytes.len()
    );
    let none = open(&here(&format!(r"\{DIRECTORY}")))?;
    is(
        failure(none.query_directory(37, Some("no"), DirectoryFlags::NONE, 4096))?,
        status::NO_SUCH_FILE,
    )?;
    let file = open(&here(&format!(r"\{HELLO}")))?;
    is(
        failure(file.query_directory(37, None, DirectoryFlags::NONE, 4096))?,
        status::INVALID_PARAMETER,
    )?;
    drop((root, directory, none, file));
    redirector.end()
}

fn queries() -> Result<()> {
    let redirector = Redirector::started()?;
    let file = open(&here(&format!(r"\{HELLO}")))?;
    let standard = file.query_information(5, 0x18)?;
    ensure!(standard.bytes.len() == 0x18, "{standard:?}");
    ensure!(
        standard.bytes[8..16] == (HELLO_BYTES.len() as u64).to_le_bytes(),
        "{standard:?}"
    );
    is(
        failure(file.query_information(5, 0x10))?,
        status::BUFFER_TOO_SMALL,
    )?;
    let name = format!(r"\{SERVER}\{SHARE}\{HELLO}");
    let bytes: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let whole = file.query_information(9, 4 + bytes.len())?;
    is(whole.status, status::SUCCESS)?;
    ensure!(whole.bytes[4..] == bytes, "{whole:?}");
    let part = file.query_information(9, 4 + 6)?;
    is(part.status, status::BUFFER_OVERFLOW)?;
    ensure!(part.bytes[4..] == bytes[..6], "{part:?}");
    ensure!(
        part.bytes[..4] == whole.bytes[..4],
        "the length is the name's"
    );
    let all = file.query_information(18, 0x60 + 4 + bytes.len())?;
    ensure!(
        all.bytes[0x28 + 8..0x28 + 16] == (HELLO_BYTES.len() as u64).to_le_bytes(),
        "{all:?}"
    );
    ensure!(all.bytes[0x64..] == bytes, "{all:?}");
    let size = file.query_volume(3, 0x18)?;
    ensure!(size.bytes[..8] == 1000_u64.to_le_bytes(), "{size:?}");
    let more = file.query_volume(5, 0x18)?;
    is(more.status, status::BUFFER_OVERFLOW)?;
    // The file object knows its position.
    file.read_at(2, 3)?;
    let position = file.query_information(14, 8)?;
    ensure!(position.bytes == 5_u64.to_le_bytes(), "{position:?}");
    drop(file);
    redirector.end()
}

fn names() -> Result<()> {
    let redirector = Redirector::started()?;
    let long = "x".repeat(40_000);
    let cases = [
        (here(r"\none"), status::OBJECT_NAME_NOT_FOUND),
        (here(r"\dir\300"), status::OBJECT_NAME_NOT_FOUND),
        (here(r"\*"), status::OBJECT_NAME_INVALID),
        (here(r"\dir\\1"), status::OBJECT_NAME_INVALID),
        (here(&format!(r"\{long}")), status::OBJECT_NAME_INVALID),
        (path(NO_SERVER, r"\x"), status::BAD_NETWORK_PATH),
        (
            format!(r"{DEVICE_NAME}\{SERVER}\other\x"),
            status::BAD_NETWORK_NAME,
        ),
        (
            format!(r"{DEVICE_NAME}\{SERVER}"),
            status::OBJECT_NAME_INVALID,
        ),
        (format!(r"{DEVICE_NAME}\"), status::OBJECT_NAME_INVALID),
        (format!(r"{DEVICE_NAME}\\\\x"), status::OBJECT_NAME_INVALID),
    ];
    for (path, wanted) in cases {
        let shown: String = path.chars().take(60).collect();
        is(refused(&path, &HowToOpen::default())?, wanted).context(shown)?;
    }
    let with_options = |options: u32| HowToOpen {
        options: options | 0x20,
        ..HowToOpen::default()
    };
    let (directory, file) = (with_options(0x1), with_options(0x40));
    is(
        refused(&here(r"\hello.txt"), &directory)?,
        status::NOT_A_DIRECTORY,
    )?;
    is(refused(&here(r"\dir"), &file)?, status::FILE_IS_A_DIRECTORY)?;
    // A backslash at the end asks for a directory.
    drop(open(&here(r"\dir\"))?);
    is(
        refused(&here(r"\hello.txt\"), &HowToOpen::default())?,
        status::NOT_A_DIRECTORY,
    )?;
    // A drive letter's connection in front.
    drop(open(&format!(r"{DEVICE_NAME}\;X:0\{SERVER}\{SHARE}\dir"))?);
    redirector.end()
}

fn shares_objects() -> Result<()> {
    let redirector = Redirector::started()?;
    let paths: Vec<String> = (0..8)
        .map(|n| path(SLOW_SERVER, &format!(r"\dir\{n}")))
        .collect();
    // All at once: one of them makes the server, the others wait for it.
    let threads: Vec<_> = paths
        .into_iter()
        .map(|path| std::thread::spawn(move || open(&path)?.read_at(0, 9).map_err(Into::into)))
        .collect();
    let results: Vec<Result<Vec<u8>>> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap_or_else(|_| Ok(Vec::new())))
        .collect();
    for (n, result) in results.into_iter().enumerate() {
        ensure!(result? == n.to_string().as_bytes(), "file {n}");
    }
    let [servers, _, views, ..] = redirector.counts()?;
    ensure!(
        (servers, views) == (1, 1),
        "{servers} servers, {views} views"
    );
    redirector.end()
}

fn collapses() -> Result<()> {
    let redirector = Redirector::started()?;
    let name = here(&format!(r"\{HELLO}"));
    let (first, second) = (open(&name)?, open(&name)?);
    redirector.collapse(true)?;
    let third = open(&name)?;
    let counts = redirector.counts()?;
    ensure!((counts[5], counts[6]) == (2, 1), "{counts:?}");
    ensure!(third.read_at(0, 5)? == HELLO_BYTES[..5], "another file");
    drop(first);
    drop(second);
    let counts = redirector.counts()?;
    ensure!(counts[7] == 1, "an open that is still used was closed");
    ensure!(third.read_at(0, 5)? == HELLO_BYTES[..5], "another file");
    drop(third);
    let counts = redirector.counts()?;
    ensure!((counts[7], counts[8], counts[9]) == (2, 3, 1), "{counts:?}");
    redirector.collapse(false)?;
    redirector.end()
}

fn sharing() -> Result<()> {
    let redirector = Redirector::started()?;
    let name = here(&format!(r"\{HELLO}"));
    let alone = HowToOpen {
        share: 0,
        ..HowToOpen::default()
    };
    let first = File::create(&name, &alone)?;
    is(
        refused(&name, &HowToOpen::default())?,
        status::SHARING_VIOLATION,
    )?;
    drop(first);
    drop(open(&name)?);
    redirector.end()
}

fn scavenges() -> Result<()> {
    let redirector = Redirector::started()?;
    let name = here(&format!(r"\{HELLO}"));
    drop(open(&name)?);
    sleep(Duration::from_secs(5));
    drop(open(&name)?);
    let counts = redirector.counts()?;
    ensure!(counts[..4] == [1, 0, 1, 0], "{counts:?}");
    // The view's time, then the server's.
    sleep(Duration::from_secs(25));
    let counts = redirector.counts()?;
    ensure!(counts[..5] == [1, 0, 1, 1, 1], "{counts:?}");
    sleep(Duration::from_secs(45));
    let counts = redirector.counts()?;
    ensure!(counts[..5] == [1, 1, 1, 1, 1], "{counts:?}");
    // An open handle keeps them.
    let file = open(&name)?;
    sleep(Duration::from_secs(120));
    ensure!(
        redirector.counts()?[1] == 1,
        "a server in use was finalised"
    );
    ensure!(file.read_at(0, 5)? == HELLO_BYTES[..5], "another file");
    drop(file);
    redirector.end()
}

fn stops_with_handles() -> Result<()> {
    let redirector = Redirector::started()?;
    let file = open(&here(&format!(r"\{HELLO}")))?;
    is(
        failure(redirector.stop())?,
        status::REDIRECTOR_HAS_OPEN_HANDLES,
    )?;
    is(failure(file.read_at(0, 1))?, status::REDIRECTOR_NOT_STARTED)?;
    drop(file);
    let counts = redirector.counts()?;
    ensure!(counts[..5] == [1, 1, 1, 1, 1], "{counts:?}");
    redirector.unload()
}

fn asynchronous() -> HowToOpen {
    HowToOpen {
        options: 0,
        ..HowToOpen::default()
    }
}

fn cancels() -> Result<()> {
    let redirector = Redirector::started()?;
    let stuck = File::create(&here(&format!(r"\{STUCK}")), &asynchronous())?;
    let read = stuck.begin_read(0, 10);
    ensure!(read.cancel(), "no cancel routine");
    is(failure(read.wait())?, status::CANCELLED)?;
    let big = File::create(&here(&format!(r"\{BIG}")), &asynchronous())?;
    let reads: Vec<_> = (0..16).map(|n| big.begin_read(n * 1000, 1000)).collect();
    for read in reads {
        ensure!(read.wait()?.len() == 1000, "a short read");
    }
    drop((stuck, big));
    redirector.end()
}

fn stop_cancels() -> Result<()> {
    let redirector = Redirector::started()?;
    let stuck = File::create(&here(&format!(r"\{STUCK}")), &asynchronous())?;
    let read = stuck.begin_read(0, 10);
    is(
        failure(redirector.stop())?,
        status::REDIRECTOR_HAS_OPEN_HANDLES,
    )?;
    is(failure(read.wait())?, status::CANCELLED)?;
    drop(stuck);
    redirector.unload()
}

fn unc() -> Result<()> {
    let redirector = Redirector::started()?;
    let name = format!(r"\\{SERVER}\{SHARE}\{HELLO}");
    ensure!(open(&name)?.read_at(0, 100)? == HELLO_BYTES, "another file");
    ensure!(open(&name)?.read_at(0, 100)? == HELLO_BYTES, "another file");
    let [servers, _, views, ..] = redirector.counts()?;
    ensure!(
        (servers, views) == (1, 1),
        "{servers} servers, {views} views"
    );
    let nowhere = format!(r"\\{NO_SERVER}\{SHARE}\x");
    let how = HowToOpen::default();
    is(refused(&nowhere, &how)?, status::BAD_NETWORK_PATH)?;
    redirector.stop()?;
    is(refused(&name, &how)?, status::BAD_NETWORK_PATH)?;
    redirector.start()?;
    redirector.end()
}
