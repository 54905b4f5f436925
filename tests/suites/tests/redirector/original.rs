//! A tree of thousands of files on this host, made from a seed, and what is in it.

use std::{collections::BTreeMap, ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::PathBuf};

use anyhow::Result;
use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Directories that one directory has at most.
const BRANCHES: usize = 6;
/// Most bytes of file data in an answer of the protocol, as client and server agree (64 KiB), and what a client may ask for
/// where sizes count the header.
const DATA: usize = 1 << 16;
/// Sizes that lie at the borders of blocks, pages, answers, and two answers.
const SIZES: &[usize] = &[
    0,
    1,
    511,
    512,
    4095,
    4096,
    4097,
    DATA - 25,
    DATA - 24,
    DATA - 23,
    DATA - 11,
    DATA - 1,
    DATA,
    DATA + 1,
    2 * DATA - 1,
    2 * DATA,
    2 * DATA + 1,
];
/// Most bytes of an ordinary file.
const ORDINARY: usize = 3000;

/// SHA-256.
pub(crate) type Digest = [u8; 32];

/// Every file by its path below the root, in the server's bytes.
pub(crate) type Contents = BTreeMap<PathBuf, Digest>;

/// The digest of a file's bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// A name of 255 bytes, which is the most that a file system has, of characters of one, two and three bytes.
fn long_name(random: &mut StdRng) -> Vec<u8> {
    let character = *["x", "é", "語"]
        .get(random.random_range(0..3))
        .unwrap_or(&"x");
    let number = format!("{:08}", random.random_range(0..100_000_000));
    let count = (255 - number.len()) / character.len();
    [number.as_str(), &character.repeat(count)].concat().into()
}

/// A name, some of which Windows does not allow.
fn name(random: &mut StdRng, number: usize) -> Vec<u8> {
    match random.random_range(0..24) {
        0 => long_name(random),
        1 => format!("naïve {number} Größe.txt").into(),
        2 => format!("日本語{number}").into(),
        3 => format!("𝄞{number}.mid").into(),
        4 => format!("what? {number}: \"a*b\" <c|d>").into(),
        5 => format!("ends with a dot {number}.").into(),
        6 => format!("ends with a space {number} ").into(),
        7 => format!("back\\slash{number}").into(),
        8 => [b"latin1 \xE9\xFC ", number.to_string().as_bytes()].concat(),
        9 => format!(".hidden{number}").into(),
        10 => format!("FILE{number}.TXT").into(),
        _ => format!("file{number}.txt").into(),
    }
}

/// Makes a tree of so many files and directories: the same for the same seed.
pub(crate) fn make(seed: u64, count: usize) -> Result<(TempDir, Contents)> {
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::Builder::new()
        .prefix("rxce-redirector-")
        .tempdir()?;
    let mut directories = vec![PathBuf::new()];
    let mut contents = Contents::new();
    for number in 0..count {
        let parent = directories
            .get(random.random_range(0..directories.len()))
            .cloned()
            .unwrap_or_default();
        let below = parent.join(OsStr::from_bytes(&name(&mut random, number)));
        // One in twelve is a directory, now and then below the deepest one.
        if number % BRANCHES == 0 && random.random_range(0..2) == 0 {
            fs::create_dir(folder.path().join(&below))?;
            directories.push(below);
            continue;
        }
        let bytes = bytes(&mut random, number);
        fs::write(folder.path().join(&below), &bytes)?;
        contents.insert(below, digest(&bytes));
    }
    Ok((folder, contents))
}

/// What a file holds: each size of the list now and then, else a little.
fn bytes(random: &mut StdRng, number: usize) -> Vec<u8> {
    let size = match SIZES.get(number % 200) {
        Some(size) => *size,
        None => random.random_range(0..ORDINARY),
    };
    let mut bytes = vec![0; size];
    random.fill_bytes(&mut bytes);
    bytes
}
