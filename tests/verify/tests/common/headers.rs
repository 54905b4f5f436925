//! Changes of an image's headers and tables.

// Places of fields from the signature `PE` on, in the file header, 16 bits each …
pub(crate) const MACHINE: usize = 4;
pub(crate) const SECTIONS: usize = 6;
pub(crate) const CHARACTERISTICS: usize = 22;

// … and in the optional header: 16 bits …
pub(crate) const SUBSYSTEM: usize = 24 + 68;

// … or 32.
pub(crate) const ENTRY: usize = 24 + 16;
pub(crate) const ALIGNMENT: usize = 24 + 32;
pub(crate) const IMAGE_BYTES: usize = 24 + 56;
pub(crate) const HEADER_BYTES: usize = 24 + 60;
const DIRECTORIES: usize = 24 + 112;

/// Bytes of an entry of the section table, and places of fields in it, 32 bits each.
pub(crate) const SECTION: usize = 40;
pub(crate) const BYTES: usize = 8;
pub(crate) const START: usize = 12;
pub(crate) const DATA: usize = 20;

/// Gives a field of the headers this value.
pub(crate) fn header16(file: &mut [u8], field: usize, value: u16) {
    let at = pe(file) + field;
    put16(file, at, value);
}

pub(crate) fn header32(file: &mut [u8], field: usize, value: u32) {
    let at = pe(file) + field;
    put32(file, at, value);
}

/// Gives a field of a section this value.
pub(crate) fn section32(file: &mut [u8], number: usize, field: usize, value: u32) {
    let at = table(file) + number * SECTION + field;
    put32(file, at, value);
}

/// Where the first section begins.
pub(crate) fn first_section(file: &[u8]) -> u32 {
    get32(file, table(file) + START)
}

/// The signature `PE`.
pub(crate) fn pe(file: &[u8]) -> usize {
    get32(file, 0x3C) as usize
}

/// The section table.
pub(crate) fn table(file: &[u8]) -> usize {
    pe(file) + 24 + 240
}

pub(crate) fn get32(file: &[u8], at: usize) -> u32 {
    file.get(at..at + 4).map_or(0, |bytes| {
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    })
}

pub(crate) fn put32(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put16(file: &mut [u8], at: usize, value: u16) {
    file[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(crate) fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Where a section can be added: the end of the image in memory.
pub(crate) fn image_end(file: &[u8]) -> u32 {
    get32(file, pe(file) + IMAGE_BYTES).next_multiple_of(0x1000)
}

/// Adds a section of data, which begins at the end of the image; where that is.
pub(crate) fn add_section(file: &mut Vec<u8>, data: &[u8]) -> u32 {
    let (headers, rva) = (pe(file), image_end(file));
    let count = u16::from_le_bytes([file[headers + SECTIONS], file[headers + SECTIONS + 1]]);
    let header = table(file) + usize::from(count) * SECTION;
    let (bytes, place) = (length(data), length(file));
    let fields = [bytes, rva, bytes, place, 0, 0, 0, 0x4000_0040];
    file[header..header + 8].copy_from_slice(b".more\0\0\0");
    file[header + 8..header + 40].copy_from_slice(&words(&fields));
    header16(file, SECTIONS, count + 1);
    header32(file, IMAGE_BYTES, (rva + bytes).next_multiple_of(0x1000));
    file.extend(data);
    rva
}

/// Gives the image another import table, with so many times one entry: where its names, its module's name and its addresses
/// are, if this data is there.
pub(crate) fn import_table(
    file: &mut Vec<u8>,
    count: u32,
    data: &[u8],
    entry: impl Fn(u32) -> [u32; 3],
) {
    const ENTRY: u32 = 20;
    let rva = image_end(file);
    let [names, module, addresses] = entry(rva + (count + 1) * ENTRY);
    let entries = words(&[names, 0, 0, module, addresses]).repeat(count as usize);
    add_section(
        file,
        &[&entries, [0; ENTRY as usize].as_slice(), data].concat(),
    );
    directory(file, 1, rva, (count + 1) * ENTRY);
}

/// Two imports whose addresses are to be written here.
pub(crate) fn address_table_at(file: &mut Vec<u8>, addresses: u32) {
    let data = words(&[
        1,
        1 << 31,
        2,
        1 << 31,
        0,
        0,
        u32::from_le_bytes(*b"m\0\0\0"),
    ]);
    import_table(file, 1, &data, |at| [at, at + 24, addresses]);
}

/// Says where an entry of the table of directories leads.
pub(crate) fn directory(file: &mut [u8], number: usize, start: u32, bytes: u32) {
    let at = pe(file) + DIRECTORIES + number * 8;
    put32(file, at, start);
    put32(file, at + 4, bytes);
}

/// Where it leads, and how many bytes it has.
pub(crate) fn directory_of(file: &[u8], number: usize) -> (u32, u32) {
    let at = pe(file) + DIRECTORIES + number * 8;
    (get32(file, at), get32(file, at + 4))
}
