//! Ways to break an image, one per check. Each leaves the checksum right, except the one that is about it.

use anyhow::{Context, Result};
use object::{
    LittleEndian as LE, Object,
    pe::{
        IMAGE_DIRECTORY_ENTRY_BASERELOC, IMAGE_DIRECTORY_ENTRY_IAT, IMAGE_FILE_MACHINE_I386,
        IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_WRITE, IMAGE_SUBSYSTEM_WINDOWS_GUI,
    },
    read::pe::PeFile64,
};

// Offsets from "PE Format" of the Microsoft documentation.

/// `e_lfanew` in the DOS header.
const NEW_HEADER: usize = 0x3C;
/// From the `PE` signature to the machine.
const MACHINE: usize = 4;
/// From the `PE` signature to the optional header.
const OPTIONAL_HEADER: usize = 24;
const ENTRY_POINT: usize = OPTIONAL_HEADER + 16;
const SECTION_ALIGNMENT: usize = OPTIONAL_HEADER + 32;
const CHECKSUM: usize = OPTIONAL_HEADER + 64;
const SUBSYSTEM: usize = OPTIONAL_HEADER + 68;
const CHARACTERISTICS: usize = OPTIONAL_HEADER + 70;
const DATA_DIRECTORIES: usize = OPTIONAL_HEADER + 112;
const DATA_DIRECTORY_SIZE: usize = 8;
const SECTION_HEADERS: usize = OPTIONAL_HEADER + 240;
const SECTION_HEADER_SIZE: usize = 40;
const SECTION_CHARACTERISTICS: usize = 36;

pub(super) fn machine(image: &mut [u8]) -> Result<()> {
    write(image, MACHINE, &IMAGE_FILE_MACHINE_I386.to_le_bytes())
}

pub(super) fn subsystem(image: &mut [u8]) -> Result<()> {
    write(image, SUBSYSTEM, &IMAGE_SUBSYSTEM_WINDOWS_GUI.to_le_bytes())
}

/// Flips one flag.
pub(super) fn characteristic(image: &mut [u8], flag: u16) -> Result<()> {
    let flags = PeFile64::parse(&*image)?
        .nt_headers()
        .optional_header
        .dll_characteristics
        .get(LE);
    write(image, CHARACTERISTICS, &(flags ^ flag).to_le_bytes())
}

pub(super) fn writable_code(image: &mut [u8]) -> Result<()> {
    let entry = PeFile64::parse(&*image)?
        .nt_headers()
        .optional_header
        .address_of_entry_point
        .get(LE);
    add_section_flag(image, entry, IMAGE_SCN_MEM_WRITE)
}

pub(super) fn alignment(image: &mut [u8]) -> Result<()> {
    write(image, SECTION_ALIGNMENT, &0x200_u32.to_le_bytes())
}

pub(super) fn relocations(image: &mut [u8]) -> Result<()> {
    write(
        image,
        DATA_DIRECTORIES + IMAGE_DIRECTORY_ENTRY_BASERELOC * DATA_DIRECTORY_SIZE,
        &[0; DATA_DIRECTORY_SIZE],
    )
}

pub(super) fn import_addresses(image: &mut [u8]) -> Result<()> {
    let address = PeFile64::parse(&*image)?
        .data_directory(IMAGE_DIRECTORY_ENTRY_IAT)
        .context("no import address table")?
        .virtual_address
        .get(LE);
    add_section_flag(image, address, IMAGE_SCN_MEM_EXECUTE)
}

pub(super) fn entry_point(image: &mut [u8]) -> Result<()> {
    let file = PeFile64::parse(&*image)?;
    let data = file
        .section_table()
        .iter()
        .find(|section| section.characteristics.get(LE) & IMAGE_SCN_MEM_EXECUTE == 0)
        .context("no data section")?
        .virtual_address
        .get(LE);
    write(image, ENTRY_POINT, &data.to_le_bytes())
}

pub(super) fn stored_checksum(image: &mut [u8]) -> Result<()> {
    let wrong = checksum(image)? ^ 1;
    let at = headers(image)? + CHECKSUM;
    put(image, at, &wrong.to_le_bytes())
}

pub(super) fn version(image: &mut [u8]) -> Result<()> {
    let signature = 0xFEEF_04BD_u32.to_le_bytes();
    let at = find(image, &signature)? + 8;
    put(image, at, &[0xEE])?;
    repair_checksum(image)
}

pub(super) fn pdb_name(image: &mut [u8]) -> Result<()> {
    let name = PeFile64::parse(&*image)?
        .pdb_info()?
        .context("no CodeView record")?
        .path()
        .to_vec();
    spoil_text(image, &name)
}

pub(super) fn import(image: &mut [u8]) -> Result<()> {
    let file = PeFile64::parse(&*image)?;
    let imports = file.imports()?;
    let name = imports.first().context("no imports")?.name().to_vec();
    spoil_text(image, &[b"\0", name.as_slice(), b"\0"].concat())
}

pub(super) fn export(image: &mut [u8]) -> Result<()> {
    let file = PeFile64::parse(&*image)?;
    let exports = file.exports()?;
    // One of the driver's own, not one that wdk-sys brings along.
    let name = exports
        .iter()
        .map(|export| export.name())
        .max_by_key(|name| !name.starts_with(b"_"));
    let name = name.context("no exports")?.to_vec();
    spoil_text(image, &[b"\0", name.as_slice(), b"\0"].concat())
}

/// The checksum of an image: 16-bit words added with carry, the field itself left out, plus the length of the file.
pub(super) fn checksum(image: &[u8]) -> Result<u32> {
    let field = headers(image)? + CHECKSUM;
    let mut sum = 0_u32;
    for (index, pair) in image.chunks(2).enumerate() {
        if (field..field + 4).contains(&(index * 2)) {
            continue;
        }
        let low = u32::from(pair.first().copied().unwrap_or(0));
        let high = u32::from(pair.get(1).copied().unwrap_or(0));
        sum += low | high << 8;
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    Ok(sum + u32::try_from(image.len())?)
}

/// Writes at an offset from the `PE` signature.
fn write(image: &mut [u8], offset: usize, bytes: &[u8]) -> Result<()> {
    let at = headers(image)? + offset;
    put(image, at, bytes)?;
    repair_checksum(image)
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    image
        .get_mut(at..at + bytes.len())
        .context("the image is too short")?
        .copy_from_slice(bytes);
    Ok(())
}

fn repair_checksum(image: &mut [u8]) -> Result<()> {
    let right = checksum(image)?;
    let at = headers(image)? + CHECKSUM;
    put(image, at, &right.to_le_bytes())
}

fn headers(image: &[u8]) -> Result<usize> {
    let bytes = image
        .get(NEW_HEADER..NEW_HEADER + 4)
        .context("the image is too short")?;
    Ok(u32::from_le_bytes(bytes.try_into()?).try_into()?)
}

/// Adds a flag to the section that holds an address.
fn add_section_flag(image: &mut [u8], address: u32, flag: u32) -> Result<()> {
    let file = PeFile64::parse(&*image)?;
    let (index, flags) = file
        .section_table()
        .iter()
        .enumerate()
        .find(|(_, section)| {
            let start = section.virtual_address.get(LE);
            address >= start && address - start < section.virtual_size.get(LE)
        })
        .map(|(index, section)| (index, section.characteristics.get(LE)))
        .context("no such section")?;
    write(
        image,
        SECTION_HEADERS + index * SECTION_HEADER_SIZE + SECTION_CHARACTERISTICS,
        &(flags | flag).to_le_bytes(),
    )
}

/// Changes one letter of a text wherever it stands (leading zero bytes do not count): a driver may hold the same text as data.
fn spoil_text(image: &mut [u8], text: &[u8]) -> Result<()> {
    let lead = text.iter().take_while(|byte| **byte == 0).count();
    find(image, text)?;
    while let Ok(at) = find(image, text) {
        put(image, at + lead, b"~")?;
    }
    repair_checksum(image)
}

fn find(image: &[u8], text: &[u8]) -> Result<usize> {
    image
        .windows(text.len())
        .position(|window| window == text)
        .context("the text to change is not in the image")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_skips_its_own_field_and_adds_the_length() {
        let mut image = vec![0; 0x100];
        image[NEW_HEADER] = 0x40;
        image[0x80] = 7;
        let before = checksum(&image).unwrap();
        assert_eq!(before, 0x40 + 7 + 0x100);
        repair_checksum(&mut image).unwrap();
        assert_eq!(checksum(&image).unwrap(), before);
    }

    #[test]
    fn a_file_that_is_no_image_is_an_error() {
        assert!(checksum(&[0; 8]).is_err());
        assert!(machine(&mut [0; 0x20]).is_err());
    }
}
