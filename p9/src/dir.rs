//! Directory entries of an `Rreaddir`.

use crate::{Error, Qid, wire::Reader};

/// One directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The file's qid.
    pub qid: Qid,
    /// Where to go on reading after this entry.
    pub offset: u64,
    /// Type, as `d_type` of Linux.
    pub kind: u8,
    /// Name.
    pub name: &'a [u8],
}

impl DirEntry<'_> {
    /// How many bytes of the message the entry takes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        // Offset, type and the name's length are between them.
        Qid::LEN.saturating_add(11).saturating_add(self.name.len())
    }
}

/// The entries of one `Rreaddir`; ends at the first malformed one, which it yields as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    bytes: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Entries as they came in an `Rreaddir`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
            bytes,
        }
    }

    /// The undecoded entries, as they came.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn entry(&mut self) -> Result<DirEntry<'a>, Error> {
        Ok(DirEntry {
            qid: Qid::read(&mut self.reader)?,
            offset: self.reader.u64()?,
            kind: self.reader.u8()?,
            name: self.reader.string()?,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<DirEntry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(entry)
    }
}
