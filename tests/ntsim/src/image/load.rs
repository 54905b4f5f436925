//! Maps a PE32+ driver file: headers, sections, relocations, imports, page protection.
//!
//! Facts: "PE Format" of the Win32 documentation. What the headers say is checked by [`super::layout`]; every address that
//! tables of the file contain goes through [`Memory`], which knows the bounds. The suite `fuzz` (`images`) tries that.

use super::layout::{self, Layout};
use super::{Image, bind, checksum, exports, register, unwind};
use crate::arena::{self, Kind};
use core::fmt::{self, Display, Formatter};
use core::sync::atomic::{AtomicBool, AtomicUsize};
use object::pe;
use object::read::pe::{ImageNtHeaders as _, ImageOptionalHeader as _, PeFile64};
use std::path::Path;

/// Longest name in a table.
const LONGEST_NAME: usize = 512;

/// Why a file cannot be loaded as a driver.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Io(std::io::Error),
    /// It is no PE file, or a damaged one.
    Format(String),
    /// It is one, but not one that a 64-bit x86 kernel would take.
    Refused(String),
}

impl Display for LoadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot read the image: {error}"),
            Self::Format(text) => write!(f, "not a valid PE32+ image: {text}"),
            Self::Refused(text) => write!(f, "image refused: {text}"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<object::read::Error> for LoadError {
    fn from(error: object::read::Error) -> Self {
        Self::Format(error.to_string())
    }
}

pub(super) type Result<T> = core::result::Result<T, LoadError>;

pub(super) fn refused<T>(text: impl Into<String>) -> Result<T> {
    Err(LoadError::Refused(text.into()))
}

/// A name of a table.
pub(super) fn text(name: &[u8]) -> Result<String> {
    if name.len() > LONGEST_NAME {
        return Err(LoadError::Format(format!(
            "a name in a table has {} bytes",
            name.len()
        )));
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// Reads a file, if it is one.
fn read(path: &Path) -> Result<Vec<u8>> {
    let about = std::fs::metadata(path).map_err(LoadError::Io)?;
    if !about.is_file() {
        return refused("it is no file");
    }
    if about.len() > layout::LARGEST as u64 {
        return refused(format!("the file has {} bytes", about.len()));
    }
    std::fs::read(path).map_err(LoadError::Io)
}

/// Names of the modules that a file imports from, without loading it.
pub(crate) fn imported_modules(path: &Path) -> Result<Vec<String>> {
    let file = read(path)?;
    let parsed = layout::parse(&file)?;
    bind::modules(&parsed)
}

/// Names of the modules that a file imports from, and what it imports from each, without loading it.
///
/// # Errors
///
/// When the file cannot be read, or no driver would be loaded from it.
pub fn imports(path: &Path) -> Result<Vec<(String, String)>> {
    let file = read(path)?;
    let parsed = layout::parse(&file)?;
    layout::check(&file, &parsed)?;
    let slots = bind::slots(&parsed)?;
    Ok(slots
        .into_iter()
        .map(|slot| (slot.module, slot.name))
        .collect())
}

/// Names of what a file exports, without loading it.
///
/// # Errors
///
/// As [`imports`].
pub fn exported(path: &Path) -> Result<Vec<String>> {
    let file = read(path)?;
    let parsed = layout::parse(&file)?;
    let layout = layout::check(&file, &parsed)?;
    Ok(exports::read(&parsed, layout.bytes)?.into_keys().collect())
}

/// Whether a file is a driver, by its headers.
pub(crate) fn is_driver(path: &Path) -> bool {
    read(path).is_ok_and(|file| {
        layout::parse(&file).is_ok_and(|parsed| {
            parsed.nt_headers().optional_header().subsystem() == pe::IMAGE_SUBSYSTEM_NATIVE
        })
    })
}

/// Loads a driver file. Imports are bound to the kernel's routines and to the exports of images that are loaded already.
///
/// # Errors
///
/// When the file cannot be read, or no driver can be loaded from it.
pub fn load(path: &Path) -> Result<&'static Image> {
    let file = read(path)?;
    let image = build(&file, path)?;
    let (base, bytes) = (image.base, image.bytes);
    register(image).ok_or_else(|| {
        crate::pageable::remove(base, bytes);
        arena::unmap(base, bytes);
        LoadError::Refused("too many images are loaded".to_owned())
    })
}

/// Maps a file as [`load`] does, looks at everything that reports look at, and takes it away again; nothing of it is run.
/// For the fuzzer. Returns how many functions the image knew.
///
/// # Errors
///
/// As [`load`].
pub fn probe(file: &[u8]) -> Result<usize> {
    let image = build(file, Path::new("probe.sys"))?;
    let known = image.look_around();
    crate::pageable::remove(image.base, image.bytes);
    arena::unmap(image.base, image.bytes);
    Ok(known)
}

fn build(file: &[u8], path: &Path) -> Result<Image> {
    let parsed = layout::parse(file)?;
    let layout = layout::check(file, &parsed)?;
    let name = super::file_name(path);
    let exports = exports::read(&parsed, layout.bytes)?;
    let imports = bind::modules(&parsed)?;
    let slots = bind::slots(&parsed)?;
    let mut memory = Memory {
        base: arena::map(layout.bytes, Kind::Image),
        bytes: layout.bytes,
    };
    let result = (|| {
        fill(&mut memory, file, &layout)?;
        relocate(&mut memory, &parsed, &layout)?;
        bind::bind(&mut memory, &slots)?;
        let functions = unwind::functions(&memory, &parsed)?;
        Ok(functions)
    })();
    let functions = match result {
        Ok(functions) => functions,
        Err(error) => {
            arena::unmap(memory.base, memory.bytes);
            return Err(error);
        }
    };
    protect(&memory, &layout);
    check_checksum(file, &parsed, &layout, path, &name);
    Ok(Image {
        id: 0,
        name,
        path: path.to_owned(),
        base: memory.base,
        bytes: memory.bytes,
        entry: match layout.entry {
            0 => 0,
            entry => memory.base + entry as usize,
        },
        sections: layout.sections,
        symbols: super::symbols::Symbols::read(path, &parsed),
        faults: crate::fault::Plan::of_new_image(),
        imports,
        exports,
        functions,
        loaded: AtomicBool::new(true),
        calls: super::calls::Calls::default(),
        driver_object: AtomicUsize::new(0),
    })
}

/// The memory of an image while it is being put together: writable, nobody else's.
pub(super) struct Memory {
    pub(super) base: usize,
    pub(super) bytes: usize,
}

impl Memory {
    pub(super) fn range(&self, rva: u32, bytes: usize) -> Result<usize> {
        let start = rva as usize;
        match start.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(self.base + start),
            _ => Err(LoadError::Format(format!(
                "something at RVA 0x{rva:X} lies outside the image"
            ))),
        }
    }

    pub(super) fn write(&mut self, rva: u32, data: &[u8]) -> Result<()> {
        let address = self.range(rva, data.len())?;
        // SAFETY: The range lies in the image's pages, which are writable and known to nobody else yet.
        unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), address as *mut u8, data.len()) };
        Ok(())
    }

    pub(super) fn read<const N: usize>(&self, rva: u32) -> Result<[u8; N]> {
        let address = self.range(rva, N)?;
        // SAFETY: As in `write`.
        Ok(unsafe { (address as *const [u8; N]).read_unaligned() })
    }
}

fn check_checksum(file: &[u8], parsed: &PeFile64, layout: &Layout, path: &Path, name: &str) {
    let stored = parsed.nt_headers().optional_header().check_sum();
    let computed = checksum::of(file, layout.checksum_at);
    // What the fuzzer spoils has no checksum that anybody expects.
    if stored != computed && path.is_file() {
        eprintln!(
            "ntsim: {name}: checksum 0x{stored:X} in the header, 0x{computed:X} computed: Windows would refuse the file"
        );
    }
}

fn fill(memory: &mut Memory, file: &[u8], layout: &Layout) -> Result<()> {
    let part = |offset: usize, length: usize| file.get(offset..offset + length).unwrap_or_default();
    memory.write(0, part(0, layout.header_bytes))?;
    for (section, &(offset, length)) in layout.sections.iter().zip(&layout.data) {
        memory.write(section.rva, part(offset, length))?;
    }
    Ok(())
}

fn relocate(memory: &mut Memory, parsed: &PeFile64, layout: &Layout) -> Result<()> {
    let preferred = parsed.nt_headers().optional_header().image_base();
    let delta = (memory.base as u64).wrapping_sub(preferred);
    let sections = parsed.section_table();
    let Some(mut blocks) = parsed
        .data_directories()
        .relocation_blocks(parsed.data(), &sections)?
    else {
        return Ok(());
    };
    while let Some(block) = blocks.next()? {
        for relocation in block {
            match relocation.typ {
                pe::IMAGE_REL_BASED_ABSOLUTE => {}
                pe::IMAGE_REL_BASED_DIR64 => {
                    let value = u64::from_le_bytes(memory.read(relocation.virtual_address)?);
                    memory.write(
                        relocation.virtual_address,
                        &value.wrapping_add(delta).to_le_bytes(),
                    )?;
                }
                other => {
                    return refused(format!(
                        "it has a relocation of type {other}, which x64 images do not use"
                    ));
                }
            }
        }
    }
    // The header in memory tells the truth about the base, as on Windows.
    memory.write(layout.base_at, &(memory.base as u64).to_le_bytes())
}

fn protect(memory: &Memory, layout: &Layout) {
    arena::protect(memory.base, memory.bytes, libc::PROT_NONE);
    arena::protect(
        memory.base,
        arena::pages(layout.header_bytes),
        libc::PROT_READ,
    );
    for section in layout.sections.iter().filter(|section| section.bytes > 0) {
        let mut protection = libc::PROT_READ;
        if section.writable {
            protection |= libc::PROT_WRITE;
        }
        if section.executable {
            protection |= libc::PROT_EXEC;
        }
        let (base, bytes) = (
            memory.base + section.rva as usize,
            arena::pages(section.bytes as usize),
        );
        arena::protect(base, bytes, protection);
        if section.is_pageable() {
            crate::pageable::add(base, bytes, protection);
        }
    }
}
