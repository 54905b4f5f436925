//! Maps a PE32+ driver file: headers, sections, relocations, imports, page protection.
//!
//! Facts: "PE Format" of the Win32 documentation.

use super::{Image, Section, bind, checksum, register, unwind};
use crate::arena::{self, Kind};
use core::fmt::{self, Display, Formatter};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders as _, ImageOptionalHeader as _, PeFile64};
use std::collections::HashMap;
use std::path::Path;

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

type Result<T> = core::result::Result<T, LoadError>;

fn refused<T>(text: impl Into<String>) -> Result<T> {
    Err(LoadError::Refused(text.into()))
}

/// Names of the modules that a file imports from, without loading it.
pub(crate) fn imported_modules(path: &Path) -> Result<Vec<String>> {
    let file = std::fs::read(path).map_err(LoadError::Io)?;
    let parsed = PeFile64::parse(&*file)?;
    bind::modules(&parsed)
}

/// Loads a driver file. Imports are bound to the kernel's routines and to the exports of images that are loaded already.
pub fn load(path: &Path) -> Result<&'static Image> {
    let file = std::fs::read(path).map_err(LoadError::Io)?;
    let parsed = PeFile64::parse(&*file)?;
    check_headers(&parsed)?;
    let name = path.file_name().map_or_else(
        || "driver.sys".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    check_checksum(&file, &parsed, &name);
    let sections = sections(&parsed)?;
    let header = parsed.nt_headers().optional_header();
    let bytes = arena::pages(header.size_of_image() as usize);
    let base = arena::map(bytes, Kind::Image);
    let mut memory = Memory { base, bytes };
    let result = (|| {
        fill(&mut memory, &file, &parsed)?;
        relocate(&mut memory, &parsed)?;
        let exports = exports(&parsed)?;
        let imports = bind::modules(&parsed)?;
        bind::bind(&mut memory, &parsed)?;
        let functions = unwind::functions(&memory, &parsed);
        protect(&memory, header.size_of_headers() as usize, &sections);
        Ok((exports, imports, functions))
    })();
    let (exports, imports, functions) = match result {
        Ok(parts) => parts,
        Err(error) => {
            arena::unmap(base, bytes);
            return Err(error);
        }
    };
    Ok(register(Image {
        id: 0,
        name,
        path: path.to_owned(),
        base,
        bytes,
        entry: base + header.address_of_entry_point() as usize,
        sections,
        symbols: super::symbols::Symbols::read(path, &parsed),
        faults: crate::fault::Plan::of_new_image(),
        imports,
        exports,
        functions,
        loaded: AtomicBool::new(true),
        calls: (0..crate::gate::kernel_routine_count())
            .map(|_| AtomicU32::new(0))
            .collect(),
        driver_object: AtomicUsize::new(0),
    }))
}

/// The memory of an image while it is being put together: writable, nobody else's.
pub(super) struct Memory {
    pub(super) base: usize,
    bytes: usize,
}

impl Memory {
    fn range(&self, rva: u32, bytes: usize) -> Result<usize> {
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

fn check_headers(parsed: &PeFile64) -> Result<()> {
    let headers = parsed.nt_headers();
    let machine = headers.file_header().machine.get(LE);
    if machine != pe::IMAGE_FILE_MACHINE_AMD64 {
        return refused(format!(
            "it is for machine type 0x{machine:X}, not for x64 (0x8664)"
        ));
    }
    let characteristics = headers.file_header().characteristics.get(LE);
    if characteristics & pe::IMAGE_FILE_RELOCS_STRIPPED != 0 {
        return refused(
            "its relocations are stripped, so that it cannot be mapped anywhere else than it was linked for",
        );
    }
    let optional = headers.optional_header();
    if optional.subsystem() != pe::IMAGE_SUBSYSTEM_NATIVE {
        return refused(format!(
            "its subsystem is {}, not native (1): it is no driver",
            optional.subsystem()
        ));
    }
    if (optional.section_alignment() as usize) < arena::PAGE {
        // 0xC4/2004: sections must be page aligned.
        return refused(format!(
            "its section alignment is {} bytes, less than a page",
            optional.section_alignment()
        ));
    }
    Ok(())
}

fn check_checksum(file: &[u8], parsed: &PeFile64, name: &str) {
    // The field is 0x40 bytes into the optional header, which follows the signature and the file header.
    let header = parsed.dos_header().e_lfanew.get(LE) as usize;
    let computed = checksum::of(file, header + 4 + 20 + 0x40);
    let stored = parsed.nt_headers().optional_header().check_sum();
    if stored != computed {
        eprintln!(
            "ntsim: {name}: checksum 0x{stored:X} in the header, 0x{computed:X} computed: Windows would refuse the file"
        );
    }
}

fn sections(parsed: &PeFile64) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    for header in parsed.section_table().iter() {
        let flags = header.characteristics.get(LE);
        let name = String::from_utf8_lossy(header.raw_name()).into_owned();
        let section = Section {
            rva: header.virtual_address.get(LE),
            bytes: header
                .virtual_size
                .get(LE)
                .max(header.size_of_raw_data.get(LE)),
            executable: flags & pe::IMAGE_SCN_MEM_EXECUTE != 0,
            writable: flags & pe::IMAGE_SCN_MEM_WRITE != 0,
            discardable: flags & pe::IMAGE_SCN_MEM_DISCARDABLE != 0,
            name,
        };
        if section.executable && section.writable {
            // 0xC4/2003 of code integrity checks.
            return refused(format!(
                "section {} is writable and executable",
                section.name
            ));
        }
        sections.push(section);
    }
    Ok(sections)
}

fn fill(memory: &mut Memory, file: &[u8], parsed: &PeFile64) -> Result<()> {
    let headers = parsed.nt_headers().optional_header().size_of_headers() as usize;
    memory.write(0, file.get(..headers.min(file.len())).unwrap_or_default())?;
    for header in parsed.section_table().iter() {
        let data = header.pe_data(file)?;
        memory.write(header.virtual_address.get(LE), data)?;
    }
    Ok(())
}

fn relocate(memory: &mut Memory, parsed: &PeFile64) -> Result<()> {
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
    let header = parsed.dos_header().e_lfanew.get(LE);
    memory.write(header + 4 + 20 + 0x18, &(memory.base as u64).to_le_bytes())
}

fn exports(parsed: &PeFile64) -> Result<HashMap<String, u32>> {
    let mut exports = HashMap::new();
    if let Some(table) = parsed.export_table()? {
        for export in table.exports()? {
            if let (Some(name), object::read::pe::ExportTarget::Address(rva)) =
                (export.name, export.target)
            {
                exports.insert(String::from_utf8_lossy(name).into_owned(), rva);
            }
        }
    }
    Ok(exports)
}

fn protect(memory: &Memory, header_bytes: usize, sections: &[Section]) {
    arena::protect(memory.base, memory.bytes, libc::PROT_NONE);
    arena::protect(memory.base, arena::pages(header_bytes), libc::PROT_READ);
    for section in sections.iter().filter(|section| section.bytes > 0) {
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
