//! What the loader takes and what it refuses.

use crate::driver::{Builder, put};
use crate::scenarios::{boot, builder, library};
use ntsim::image::{self, LoadError};
use ntsim::{Driver, Options};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Images of a process.
const MOST_IMAGES: usize = 64;
/// Imports of an image, and entries of the table that their thunks lead to.
const MOST_IMPORTS: u32 = 8192;
const MOST_ENTRIES: u32 = 16 * 1024;

pub(crate) fn refuses_bad_files() {
    boot(Options::default());
    let folder = TempDir::new().unwrap();
    let refused = |change: fn(&mut Builder), says: &str| {
        let mut driver = builder(|_| {});
        change(&mut driver);
        let path = driver.write(folder.path(), "bad.sys");
        let text = Driver::load(&path).map(|_| ()).unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
    };
    refused(|driver| driver.machine = 0xAA64, "machine type 0xAA64");
    refused(
        |driver| driver.text_flags |= 0x8000_0000,
        "section .text is writable and executable",
    );
    refused(
        |driver| driver.characteristics |= 1,
        "relocations are stripped",
    );
    let path = builder(|_| {}).write(folder.path(), "short.sys");
    let file = std::fs::read(&path).unwrap();
    std::fs::write(&path, &file[..0x80]).unwrap();
    assert!(Driver::load(&path).is_err());
    std::fs::write(&path, b"no driver").unwrap();
    assert!(Driver::load(&path).is_err());
    assert!(Driver::load(&folder.path().join("missing.sys")).is_err());
    // A file cut off anywhere is refused or loaded, never a crash.
    for length in (0..file.len()).step_by(97) {
        std::fs::write(&path, &file[..length]).unwrap();
        let _ = image::load(&path);
    }
}

pub(crate) fn refuses_more_images_than_fit() {
    boot(Options::default());
    let folder = TempDir::new().unwrap();
    let path = builder(|_| {}).write(folder.path(), "test.sys");
    for number in 0..MOST_IMAGES {
        let image = image::load(&path).unwrap();
        assert_eq!(image.id as usize, number);
    }
    for _ in 0..2 {
        assert_refused(&path, "too many images are loaded");
    }
    assert_eq!(image::loaded().len(), MOST_IMAGES);
}

/// Every import from a driver has an entry, for which there is room for two such images.
pub(crate) fn refuses_more_imports_from_drivers_than_fit() {
    boot(Options::default());
    let folder = TempDir::new().unwrap();
    load_library(folder.path());
    let path = importer(folder.path(), MOST_IMPORTS, 0);
    let held = (0..3).take_while(|_| image::load(&path).is_ok()).count();
    assert_eq!(held, 1, "the kernel's own routines have entries too");
    for _ in 0..2 {
        assert_refused(&path, "it imports too many routines of other drivers");
    }
}

/// Entries are never given back: an image that is refused must not get any.
pub(crate) fn refuses_an_address_table_outside_before_it_is_bound() {
    boot(Options::default());
    let folder = TempDir::new().unwrap();
    load_library(folder.path());
    let count = MOST_IMPORTS / 2;
    let damaged = importer(folder.path(), count, 1);
    for _ in 0..=MOST_ENTRIES / count {
        let LoadError::Format(text) = image::load(&damaged).err().unwrap() else {
            panic!("refused for another reason");
        };
        assert!(text.contains("lies outside the image"), "{text}");
    }
    assert!(image::load(&importer(folder.path(), count, 0)).is_ok());
}

fn assert_refused(path: &Path, says: &str) {
    let text = image::load(path).err().unwrap().to_string();
    assert!(text.contains(says), "{text}");
}

fn load_library(folder: &Path) {
    let mut lib = Builder::new();
    library(&mut lib);
    image::load(&lib.write(folder, "lib.sys")).unwrap();
}

/// A driver that imports `lib.sys!Add` so many times; the addresses of the last ones belong behind the image's end.
fn importer(folder: &Path, count: u32, outside: u32) -> PathBuf {
    let path = builder(|_| {}).write(folder, "test.sys");
    let mut file = std::fs::read(&path).unwrap();
    add_import_table(&mut file, count, outside);
    std::fs::write(&path, file).unwrap();
    path
}

/// Adds a section with an import table, which takes the place of the old one.
fn add_import_table(file: &mut Vec<u8>, count: u32, outside: u32) {
    const SECTIONS: u32 = 0x46;
    const OPTIONAL: u32 = 0x58;
    const IMAGE_BYTES: u32 = OPTIONAL + 56;
    const IMPORTS: u32 = OPTIONAL + 112 + 8;
    const SECTION_TABLE: u32 = OPTIONAL + 240;
    /// A descriptor and the empty one that ends the table.
    const DESCRIPTORS: u32 = 2 * 20;
    // At the same offset in the file and in memory, as all sections of these files.
    let start = u32::try_from(file.len()).unwrap();
    let (module, import) = (start + DESCRIPTORS, start + DESCRIPTORS + 8);
    let names = import + 8;
    let end = (names + (count + 1) * 8).next_multiple_of(0x1000);
    file.resize(end as usize, 0);
    put(file, module, b"lib.sys\0");
    put(file, import, b"\0\0Add\0");
    let addresses = match outside {
        0 => names,
        outside => end + outside * 8 - count * 8,
    };
    put_words(file, start, &[names, 0, 0, module, addresses]);
    for position in 0..count {
        put_words(file, names + position * 8, &[import, 0]);
    }
    let sections = file[SECTIONS as usize];
    let header = SECTION_TABLE + u32::from(sections) * 40;
    let bytes = end - start;
    put(file, header, b".more");
    put_words(file, header + 8, &[bytes, start, bytes, start]);
    put_words(file, header + 36, &[0x4000_0040]);
    put(file, SECTIONS, &[sections + 1]);
    put_words(file, IMAGE_BYTES, &[end]);
    put_words(file, IMPORTS, &[start, DESCRIPTORS]);
}

fn put_words(file: &mut [u8], at: u32, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    put(file, at, &bytes);
}
