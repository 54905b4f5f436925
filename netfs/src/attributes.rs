//! A server's attributes of a file as Windows knows them.

use p9::{Attr, FileKind, Time, getattr};

/// `FILE_ATTRIBUTE_READONLY`.
pub const READONLY: u32 = 0x0000_0001;
/// `FILE_ATTRIBUTE_DIRECTORY`.
pub const DIRECTORY: u32 = 0x0000_0010;
/// `FILE_ATTRIBUTE_DEVICE`.
pub const DEVICE: u32 = 0x0000_0040;
/// `FILE_ATTRIBUTE_NORMAL`.
pub const NORMAL: u32 = 0x0000_0080;
/// `FILE_ATTRIBUTE_REPARSE_POINT`.
pub const REPARSE_POINT: u32 = 0x0000_0400;
/// `IO_REPARSE_TAG_SYMLINK`.
pub const REPARSE_TAG_SYMLINK: u32 = 0xA000_000C;

/// Seconds from 1601 to 1970.
const EPOCH: u64 = 11_644_473_600;
/// Units of 100 ns in a second.
const PER_SECOND: u64 = 10_000_000;
/// What a server counts disk space in.
const BLOCK: u64 = 512;
/// Who may write, in a mode.
const ANY_WRITE: u32 = 0o222;

/// The attributes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `CreationTime`.
    pub created: i64,
    /// `LastAccessTime`.
    pub accessed: i64,
    /// `LastWriteTime`.
    pub written: i64,
    /// `ChangeTime`.
    pub changed: i64,
    /// `EndOfFile`; 0 for a directory.
    pub size: i64,
    /// `AllocationSize`.
    pub allocation: i64,
    /// `FileAttributes`.
    pub flags: u32,
    /// `NumberOfLinks`.
    pub links: u32,
    /// The server's number of the file.
    pub id: i64,
}

impl Attributes {
    /// Converts what a server says.
    #[must_use]
    pub fn new(attr: &Attr) -> Self {
        let kind = attr.kind();
        let written = moment(attr.modified);
        let changed = moment(attr.changed);
        let created = if attr.valid & getattr::BTIME != 0 && attr.created != Time::default() {
            moment(attr.created)
        } else {
            // As Samba does where nobody knows: it cannot have been later.
            written.min(changed)
        };
        let is_file = kind == FileKind::File;
        let space = attr.blocks.saturating_mul(BLOCK);
        Self {
            created,
            accessed: moment(attr.accessed),
            written,
            changed,
            size: if is_file { positive(attr.size) } else { 0 },
            allocation: if is_file { positive(space) } else { 0 },
            flags: flags(kind, attr.mode),
            links: u32::try_from(attr.links).unwrap_or(u32::MAX),
            id: attr.qid.path.cast_signed(),
        }
    }

    /// A directory of which nothing is known, as "." and ".." are listed.
    #[must_use]
    pub const fn of_directory(id: u64) -> Self {
        Self {
            created: 0,
            accessed: 0,
            written: 0,
            changed: 0,
            size: 0,
            allocation: 0,
            flags: DIRECTORY,
            links: 1,
            id: id.cast_signed(),
        }
    }

    /// What is known of a file whose attributes the server does not give: its kind, as `d_type` of Linux.
    #[must_use]
    pub const fn of_entry(id: u64, d_type: u8) -> Self {
        let flags = match d_type {
            4 => DIRECTORY,
            8 | 0 => NORMAL,
            10 => REPARSE_POINT,
            _ => DEVICE,
        };
        Self {
            flags,
            ..Self::of_directory(id)
        }
    }

    /// Whether it is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        self.flags & DIRECTORY != 0
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub const fn is_link(&self) -> bool {
        self.flags & REPARSE_POINT != 0
    }

    /// Whether it is neither file, directory nor link.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        self.flags & DEVICE != 0
    }

    /// `ReparseTag`, or what stands in an entry's `EaSize`.
    #[must_use]
    pub const fn reparse_tag(&self) -> u32 {
        if self.is_link() {
            REPARSE_TAG_SYMLINK
        } else {
            0
        }
    }
}

const fn flags(kind: FileKind, mode: u32) -> u32 {
    match kind {
        FileKind::Directory => DIRECTORY,
        FileKind::Link => REPARSE_POINT,
        FileKind::Other => DEVICE,
        FileKind::File if mode & ANY_WRITE == 0 => READONLY,
        FileKind::File => NORMAL,
    }
}

/// A time as the system counts it: units of 100 ns since 1601.
fn moment(time: Time) -> i64 {
    let units = time.sec.saturating_add(EPOCH).saturating_mul(PER_SECOND);
    positive(units.saturating_add(time.nsec.wrapping_div(100)))
}

fn positive(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_1601() {
        // 2000-01-01 00:00:00 UTC.
        let time = Time {
            sec: 946_684_800,
            nsec: 250,
        };
        assert_eq!(moment(time), 125_911_584_000_000_002);
        assert_eq!(
            moment(Time {
                sec: u64::MAX,
                nsec: u64::MAX
            }),
            i64::MAX
        );
    }

    #[test]
    fn a_files_kind_and_mode_make_its_attributes() {
        let with = |mode| {
            Attributes::new(&Attr {
                mode,
                size: 7,
                ..Attr::default()
            })
        };
        assert_eq!(with(0o100_644).flags, NORMAL);
        assert_eq!(with(0o100_444).flags, READONLY);
        assert_eq!(with(0o040_755).flags, DIRECTORY);
        assert_eq!(with(0o120_777).flags, REPARSE_POINT);
        assert_eq!(with(0o120_777).reparse_tag(), REPARSE_TAG_SYMLINK);
        assert_eq!(with(0o010_644).flags, DEVICE);
        assert_eq!((with(0o100_644).size, with(0o040_755).size), (7, 0));
    }

    #[test]
    fn creation_is_what_the_server_says_or_the_earliest_change() {
        let time = |sec| Time { sec, nsec: 0 };
        let mut attr = Attr {
            modified: time(5),
            changed: time(9),
            created: time(2),
            ..Attr::default()
        };
        assert_eq!(Attributes::new(&attr).created, moment(time(5)));
        attr.valid = getattr::BTIME;
        assert_eq!(Attributes::new(&attr).created, moment(time(2)));
    }
}
