//! What the headers of a PE32+ file say, believed only after it was compared with the file and with itself: nothing behind
//! this module has to be afraid of a number in a header.
//!
//! Facts: "PE Format" of the Win32 documentation.

use super::Section;
use super::load::{LoadError, Result, refused};
use crate::arena;
use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders as _, ImageOptionalHeader as _, PeFile64};

/// Largest file and largest image that are taken: more than any driver has.
pub(super) const LARGEST: usize = 256 << 20;
/// Offset of the file header behind the signature, and its size.
const SIGNATURE_BYTES: usize = 4;
const FILE_HEADER_BYTES: usize = 20;
const SECTION_HEADER_BYTES: usize = 40;
/// Offset of `ImageBase` in the optional header.
const IMAGE_BASE: usize = 0x18;
/// Offset of `CheckSum` in the optional header.
const CHECK_SUM: usize = 0x40;

fn malformed<T>(text: impl Into<String>) -> Result<T> {
    Err(LoadError::Format(text.into()))
}

/// Where everything of an image lies.
pub(super) struct Layout {
    /// Bytes in memory, whole pages.
    pub(super) bytes: usize,
    /// Bytes of the headers, in the file and in memory.
    pub(super) header_bytes: usize,
    /// Offset of `ImageBase` from the start of the headers.
    pub(super) base_at: u32,
    /// Offset of the checksum from the start of the file.
    pub(super) checksum_at: usize,
    /// Offset of the entry point; 0 for none.
    pub(super) entry: u32,
    /// The sections, in order and without overlap.
    pub(super) sections: Vec<Section>,
    /// For each section where its data lies in the file: offset and length.
    pub(super) data: Vec<(usize, usize)>,
}

/// Parses a file that has the shape of an x64 image.
pub(super) fn parse(file: &[u8]) -> Result<PeFile64<'_>> {
    if !file.starts_with(b"MZ") {
        return malformed("it does not begin with the signature MZ");
    }
    let word = |at: usize, bytes: usize| file.get(at..at.checked_add(bytes)?);
    let offset = word(0x3C, 4).and_then(|bytes| bytes.try_into().ok());
    let Some(offset) = offset.map(|bytes| u32::from_le_bytes(bytes) as usize) else {
        return malformed("it ends within its first header");
    };
    if word(offset, SIGNATURE_BYTES) != Some(b"PE\0\0") {
        return malformed("it has no signature PE where its first header says");
    }
    let machine = word(offset + SIGNATURE_BYTES, 2).and_then(|bytes| bytes.try_into().ok());
    match machine.map(u16::from_le_bytes) {
        Some(pe::IMAGE_FILE_MACHINE_AMD64) => Ok(PeFile64::parse(file)?),
        Some(machine) => refused(format!(
            "it is for machine type 0x{machine:X}, not for x64 (0x8664)"
        )),
        None => malformed("it ends within its headers"),
    }
}

/// Checks the headers of a file.
pub(super) fn check(file: &[u8], parsed: &PeFile64) -> Result<Layout> {
    let headers = parsed.nt_headers();
    let file_header = headers.file_header();
    let optional = headers.optional_header();
    if file_header.characteristics.get(LE) & pe::IMAGE_FILE_RELOCS_STRIPPED != 0 {
        return refused(
            "its relocations are stripped, so that it cannot be mapped anywhere else than it was linked for",
        );
    }
    if optional.subsystem() != pe::IMAGE_SUBSYSTEM_NATIVE {
        return refused(format!(
            "its subsystem is {}, not native (1): it is no driver",
            optional.subsystem()
        ));
    }
    let alignment = optional.section_alignment() as usize;
    if alignment < arena::PAGE || !alignment.is_power_of_two() {
        // 0xC4/2004: sections must be page aligned.
        return refused(format!(
            "its section alignment is {alignment} bytes, which is less than a page or no power of two"
        ));
    }
    let bytes = optional.size_of_image() as usize;
    if bytes == 0 || bytes > LARGEST {
        return refused(format!("it wants {bytes} bytes of memory"));
    }
    let header_bytes = optional.size_of_headers() as usize;
    let start = parsed.dos_header().e_lfanew.get(LE) as usize;
    let optional_at = start + SIGNATURE_BYTES + FILE_HEADER_BYTES;
    let table_end = optional_at
        + usize::from(file_header.size_of_optional_header.get(LE))
        + usize::from(file_header.number_of_sections.get(LE)) * SECTION_HEADER_BYTES;
    if header_bytes > file.len() || header_bytes > bytes || table_end > header_bytes {
        return malformed(format!(
            "its headers have {header_bytes} bytes, which is not what the file and the section table need"
        ));
    }
    let mut layout = Layout {
        bytes: arena::pages(bytes),
        header_bytes,
        base_at: u32::try_from(optional_at + IMAGE_BASE).unwrap_or(u32::MAX),
        checksum_at: optional_at + CHECK_SUM,
        entry: optional.address_of_entry_point(),
        sections: Vec::new(),
        data: Vec::new(),
    };
    let mut free_from = header_bytes;
    for header in parsed.section_table().iter() {
        let (section, data) = section(header, file)?;
        let start = section.rva as usize;
        let end = start + section.bytes as usize;
        if !start.is_multiple_of(alignment) {
            return malformed(format!("section {} is not aligned", section.name));
        }
        if start < free_from {
            return malformed(format!(
                "section {} overlaps what precedes it, or is out of order",
                section.name
            ));
        }
        if end > layout.bytes {
            return malformed(format!("section {} lies outside the image", section.name));
        }
        free_from = arena::pages(end);
        layout.sections.push(section);
        layout.data.push(data);
    }
    check_entry(&layout)?;
    Ok(layout)
}

/// A section, and where its data is.
fn section(header: &pe::ImageSectionHeader, file: &[u8]) -> Result<(Section, (usize, usize))> {
    let flags = header.characteristics.get(LE);
    let raw = header.size_of_raw_data.get(LE);
    let section = Section {
        name: String::from_utf8_lossy(header.raw_name()).into_owned(),
        rva: header.virtual_address.get(LE),
        bytes: match header.virtual_size.get(LE) {
            0 => raw,
            bytes => bytes,
        },
        executable: flags & pe::IMAGE_SCN_MEM_EXECUTE != 0,
        writable: flags & pe::IMAGE_SCN_MEM_WRITE != 0,
        discardable: flags & pe::IMAGE_SCN_MEM_DISCARDABLE != 0,
    };
    if section.executable && section.writable {
        // 0xC4/2003 of code integrity checks.
        return refused(format!(
            "section {} is writable and executable",
            section.name
        ));
    }
    let length = raw.min(section.bytes) as usize;
    let offset = header.pointer_to_raw_data.get(LE) as usize;
    if length > 0 && offset + length > file.len() {
        return malformed(format!(
            "the data of section {} lies outside the file",
            section.name
        ));
    }
    Ok((section, (offset, length)))
}

fn check_entry(layout: &Layout) -> Result<()> {
    let entry = layout.entry;
    let runs = layout.sections.iter().any(|section| {
        section.executable
            && entry
                .checked_sub(section.rva)
                .is_some_and(|offset| offset < section.bytes)
    });
    if entry == 0 || runs {
        Ok(())
    } else {
        malformed("its entry point is not in a section that may run")
    }
}
