//! A tree of thousands of files of a real server: walked and hashed by path, and again with the server killed half-way.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ntsim::{File, HowToOpen, NtStatus, io::status};
use suites::{
    diod::Diod,
    mount::name::{to_linux, to_windows},
};

use crate::{
    Scenario,
    machine::{Redirector, path},
    original::{self, Contents},
};

pub(crate) const ALL: &[Scenario] = &[
    ("thousands_of_files_equal_the_original", equal),
    ("a_server_killed_half_way", killed),
];

/// The seed of the tree, and how many files and directories it has.
const SEED: u64 = 0x9_2000;
const FILES: usize = 3300;
/// Most that a walk may take, of real time: many times what it takes, for busy hosts.
const LIMIT: Duration = Duration::from_secs(300);
/// After how many files the server is killed.
const HALF: usize = 400;
/// Threads that read while the server dies.
const READERS: usize = 3;
/// FILE_ATTRIBUTE_DIRECTORY.
const DIRECTORY: u32 = 0x10;

/// STATUS_CONNECTION_DISCONNECTED and _RESET: what requests under way get. STATUS_CONNECTION_REFUSED: what opens get then.
const DEAD: &[i32] = &[
    0xC000_020C_u32.cast_signed(),
    0xC000_020D_u32.cast_signed(),
    0xC000_0236_u32.cast_signed(),
];

/// The path that the redirector is asked for.
fn windows_path(below: &Path) -> String {
    below
        .iter()
        .map(|name| format!(r"\{}", to_windows(name)))
        .collect()
}

/// Opens a file, and hashes it.
fn hash(place: &str) -> Result<original::Digest, NtStatus> {
    let file = File::create(place, &HowToOpen::default())?;
    let mut bytes = Vec::new();
    loop {
        match file.read_at(bytes.len() as u64, 100_000) {
            Ok(more) => bytes.extend(more),
            Err(NtStatus(status::END_OF_FILE)) => return Ok(original::digest(&bytes)),
            Err(other) => return Err(other),
        }
    }
}

/// Walks below a directory as programs do: by the names that it lists.
fn walk(root: &str, below: &Path, found: &mut Contents) -> Result<()> {
    let place = format!("{root}{}", windows_path(below));
    let directory = File::create(&place, &HowToOpen::default()).with_context(|| place.clone())?;
    for entry in directory.entries(None).with_context(|| place.clone())? {
        if entry.name == "." || entry.name == ".." {
            continue;
        }
        let child = below.join(to_linux(&entry.name));
        if entry.attributes & DIRECTORY != 0 {
            walk(root, &child, found)?;
            continue;
        }
        let place = format!(r"{place}\{}", entry.name);
        let digest = hash(&place).with_context(|| place.clone())?;
        found.insert(child, digest);
    }
    Ok(())
}

fn equal(profile: &str) -> Result<()> {
    let (tree, contents) = original::make(SEED, FILES)?;
    ensure!(contents.len() >= 3000, "{} files", contents.len());
    let diod = Diod::start(tree.path())?;
    let redirector = Redirector::started(profile)?;
    let root = path(diod.port(), tree.path(), "");
    let began = Instant::now();
    let mut found = Contents::new();
    walk(&root, Path::new(""), &mut found)?;
    let took = began.elapsed();
    compare(&found, &contents)?;
    ensure!(took < LIMIT, "it took {took:?}");
    println!("{} files in {took:?}", contents.len());
    redirector.end()
}

/// Says the first difference.
fn compare(found: &Contents, contents: &Contents) -> Result<()> {
    for (below, digest) in contents {
        match found.get(below) {
            None => bail!("{} was not found", below.display()),
            Some(other) => ensure!(digest == other, "{} differs", below.display()),
        }
    }
    for below in found.keys() {
        ensure!(contents.contains_key(below), "{} is new", below.display());
    }
    Ok(())
}

/// Reads files until the list ends; each is right, or its server is dead. Returns how many were right.
fn read_on(
    root: &str,
    files: &[(&PathBuf, &original::Digest)],
    read: &AtomicUsize,
) -> Result<usize> {
    let mut right = 0;
    let mut dead = false;
    for (below, digest) in files {
        let place = format!("{root}{}", windows_path(below));
        match hash(&place) {
            Ok(other) => {
                ensure!(!dead, "{place} was read after its server had died");
                ensure!(**digest == other, "{place} differs");
                right += 1;
                read.fetch_add(1, Ordering::Relaxed);
            }
            Err(NtStatus(status)) => {
                ensure!(DEAD.contains(&status), "{place}: {}", status::name(status));
                dead = true;
            }
        }
    }
    Ok(right)
}

fn killed(profile: &str) -> Result<()> {
    let (tree, contents) = original::make(SEED, FILES)?;
    let files: Vec<_> = contents.iter().collect();
    let first = Diod::start(tree.path())?;
    let port = first.port();
    let redirector = Redirector::started(profile)?;
    let root = path(port, tree.path(), "");
    let open = File::create(&root, &HowToOpen::default()).context("the root")?;
    let read = AtomicUsize::new(0);
    let began = Instant::now();
    let right = thread::scope(|scope| -> Result<usize> {
        let part = files.len().div_ceil(READERS);
        let readers: Vec<_> = files
            .chunks(part)
            .map(|part| scope.spawn(|| read_on(&root, part, &read)))
            .collect();
        while read.load(Ordering::Relaxed) < HALF && began.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(1));
        }
        // SIGKILL.
        drop(first);
        let mut right = 0;
        for reader in readers {
            right += reader
                .join()
                .map_err(|_| anyhow::anyhow!("a reader panicked"))??;
        }
        Ok(right)
    })?;
    let took = began.elapsed();
    ensure!(took < LIMIT, "it took {took:?}");
    ensure!(
        right >= HALF && right < files.len(),
        "{right} files were right"
    );
    // What was open stays dead, and can be closed.
    match open.entries(None) {
        Err(NtStatus(status)) if DEAD.contains(&status) => {}
        other => bail!("the dead root: {:?}", other.map(|entries| entries.len())),
    }
    drop(open);

    // The server comes back, under the same address: the next open finds it. Another one is found as well.
    for again in [
        Diod::start_at(tree.path(), port)?,
        Diod::start(tree.path())?,
    ] {
        let root = path(again.port(), tree.path(), "");
        let few = files.get(..50).unwrap_or_default();
        ensure!(read_on(&root, few, &read)? == few.len(), "not all of them");
    }
    redirector.end()?;

    // And the machine begins anew.
    let diod = Diod::start(tree.path())?;
    let redirector = Redirector::again(profile)?;
    let few = files.get(..50).unwrap_or_default();
    let root = path(diod.port(), tree.path(), "");
    ensure!(read_on(&root, few, &read)? == few.len(), "not all of them");
    println!("{right} of {} files, then none, in {took:?}", files.len());
    redirector.end()
}
