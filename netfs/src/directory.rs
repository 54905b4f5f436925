//! The entries of a directory query. Layouts: ntifs.h.

use crate::{
    attributes::Attributes,
    layout::{put_i64, put_text, put_u32, text_bytes},
    status::{BUFFER_OVERFLOW, BUFFER_TOO_SMALL, INVALID_INFO_CLASS, Status},
};

/// The classes that can be asked for, each with the offset of its name.
const CLASSES: [(u32, Class, usize); 6] = [
    (1, Class::Directory, 0x40),
    (2, Class::Full, 0x44),
    (3, Class::Both, 0x5E),
    (12, Class::Names, 0x0C),
    (37, Class::IdBoth, 0x68),
    (38, Class::IdFull, 0x50),
];

/// Each entry begins at a multiple of this.
const ALIGNMENT: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Directory,
    Full,
    Both,
    Names,
    IdBoth,
    IdFull,
}

/// Fills the buffer of one query.
#[derive(Debug)]
pub struct Entries<'a> {
    buffer: &'a mut [u8],
    class: Class,
    name_at: usize,
    /// Where the last entry begins.
    last: Option<usize>,
    used: usize,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    Whole,
    /// There is no room behind those that are there: it comes first the next time.
    NoRoom,
    /// It is the first, and only a part of its name is there.
    Cut,
}

impl<'a> Entries<'a> {
    /// Starts with an empty buffer.
    ///
    /// # Errors
    ///
    /// `INVALID_INFO_CLASS`; `BUFFER_TOO_SMALL` if not even an entry without its name fits.
    pub fn new(class: u32, buffer: &'a mut [u8]) -> Result<Self, Status> {
        let (_, class, name_at) = CLASSES
            .into_iter()
            .find(|(number, _, _)| *number == class)
            .ok_or(INVALID_INFO_CLASS)?;
        if buffer.len() < name_at {
            return Err(BUFFER_TOO_SMALL);
        }
        Ok(Self {
            buffer,
            class,
            name_at,
            last: None,
            used: 0,
        })
    }

    /// Whether entries have more than a name.
    #[must_use]
    pub fn wants_attributes(&self) -> bool {
        self.class != Class::Names
    }

    /// Whether nothing was added.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// How many bytes of the buffer are in use.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Adds an entry, if it fits.
    pub fn add(&mut self, name: &[u16], file: &Attributes) -> Added {
        let start = self.used.next_multiple_of(ALIGNMENT);
        let Some(entry) = self.buffer.get_mut(start..) else {
            return Added::NoRoom;
        };
        let whole = self.name_at.saturating_add(size_of_val(name));
        if entry.len() < whole && self.last.is_some() {
            return Added::NoRoom;
        }
        let Some(fixed) = entry.get_mut(..self.name_at) else {
            return Added::NoRoom;
        };
        fixed.fill(0);
        fill(self.class, fixed, name, file);
        let written = put_text(entry, self.name_at, name);
        if let Some(last) = self.last {
            let distance = u32::try_from(start.saturating_sub(last)).unwrap_or(0);
            put_u32(self.buffer, last, distance);
        }
        self.last = Some(start);
        self.used = start.saturating_add(self.name_at).saturating_add(written);
        if written < size_of_val(name) {
            Added::Cut
        } else {
            Added::Whole
        }
    }
}

impl Added {
    /// The status of a query that ends with this entry.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Cut => BUFFER_OVERFLOW,
            Self::Whole | Self::NoRoom => 0,
        }
    }
}

fn fill(class: Class, entry: &mut [u8], name: &[u16], file: &Attributes) {
    let length = text_bytes(name);
    if class == Class::Names {
        put_u32(entry, 0x08, length);
        return;
    }
    for (at, value) in [
        (0x08, file.created),
        (0x10, file.accessed),
        (0x18, file.written),
        (0x20, file.changed),
        (0x28, file.size),
        (0x30, file.allocation),
    ] {
        put_i64(entry, at, value);
    }
    put_u32(entry, 0x38, file.flags);
    put_u32(entry, 0x3C, length);
    if class == Class::Directory {
        return;
    }
    // There are no extended attributes: for a link, the field has its tag. Nor are there short names.
    put_u32(entry, 0x40, file.reparse_tag());
    match class {
        Class::IdBoth => put_i64(entry, 0x60, file.id),
        Class::IdFull => put_i64(entry, 0x48, file.id),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    /// Walks a buffer as a program does.
    fn names(class: u32, buffer: &[u8]) -> Vec<Vec<u16>> {
        let (_, class, name_at) = CLASSES
            .into_iter()
            .find(|(number, _, _)| *number == class)
            .unwrap();
        let length_at = if class == Class::Names { 0x08 } else { 0x3C };
        let word = |at: usize| u32::from_le_bytes(*buffer[at..].first_chunk().unwrap()) as usize;
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let start = at + name_at;
            let text = &buffer[start..start + word(at + length_at)];
            let units = text
                .chunks(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
            found.push(units.collect());
            match word(at) {
                0 => return found,
                next => {
                    assert_eq!(next % 8, 0);
                    at += next;
                }
            }
        }
    }

    #[test]
    fn entries_of_every_class_are_chained() {
        for (class, _, _) in CLASSES {
            let mut buffer = [0xCC; 1024];
            let mut entries = Entries::new(class, &mut buffer).unwrap();
            for name in ["a", "bcd", "näme", "x"] {
                let added = entries.add(&wide(name), &Attributes::of_directory(1));
                assert_eq!(added, Added::Whole);
            }
            let used = entries.used();
            assert!(buffer[used..].iter().all(|byte| *byte == 0xCC));
            assert_eq!(names(class, &buffer), ["a", "bcd", "näme", "x"].map(wide));
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_or_cut() {
        let mut buffer = [0; 0x0C + 6];
        let mut entries = Entries::new(12, &mut buffer).unwrap();
        assert_eq!(
            entries.add(&wide("abcdef"), &Attributes::default()),
            Added::Cut
        );
        assert_eq!(entries.used(), 0x12);
        // The length is the whole name's.
        assert_eq!(buffer[0x08], 12);

        let mut buffer = [0; 0x40];
        let mut entries = Entries::new(12, &mut buffer).unwrap();
        assert_eq!(
            entries.add(&wide("a"), &Attributes::default()),
            Added::Whole
        );
        assert_eq!(
            entries.add(&wide(&"b".repeat(40)), &Attributes::default()),
            Added::NoRoom
        );
        assert_eq!(entries.used(), 0x0E);
        assert_eq!(names(12, &buffer), [wide("a")]);
    }

    #[test]
    fn a_class_or_buffer_of_no_use_is_refused() {
        assert_eq!(
            Entries::new(4, &mut [0; 99]).map(|_| ()),
            Err(INVALID_INFO_CLASS)
        );
        assert_eq!(
            Entries::new(3, &mut [0; 0x5D]).map(|_| ()),
            Err(BUFFER_TOO_SMALL)
        );
        assert!(Entries::new(3, &mut [0; 0x5E]).is_ok());
    }

    #[test]
    fn numbers_of_files_are_where_the_headers_have_them() {
        for (class, at) in [(37, 0x60), (38, 0x48)] {
            let mut buffer = [0; 256];
            let mut entries = Entries::new(class, &mut buffer).unwrap();
            entries.add(&wide("a"), &Attributes::of_directory(0x0123_4567));
            assert_eq!(&buffer[at..at + 8], &[0x67, 0x45, 0x23, 0x01, 0, 0, 0, 0]);
        }
    }
}
