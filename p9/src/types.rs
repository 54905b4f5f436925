//! Values that messages carry: qids, attributes, flags, error numbers.

use crate::{
    Error,
    wire::{Reader, Writer},
};

/// The protocol version spoken here.
pub const VERSION: &[u8] = b"9P2000.L";
/// The tag of `Tversion`.
pub const NOTAG: u16 = u16::MAX;
/// "No fid", as the `afid` of an attach without authentication.
pub const NOFID: u32 = u32::MAX;
/// "No numeric user", for servers that go by the user's name.
pub const NONUNAME: u32 = u32::MAX;

/// Open flags (those of Linux, as 9P2000.L says).
pub mod open {
    /// Open for reading.
    pub const RDONLY: u32 = 0;
    /// Fail unless it is a directory.
    pub const DIRECTORY: u32 = 0o200_000;
}

/// Request masks of `Tgetattr`.
pub mod getattr {
    /// Everything that `stat` has: mode up to blocks.
    pub const BASIC: u64 = 0x7ff;
    /// The time of creation.
    pub const BTIME: u64 = 0x800;
}

/// Linux error numbers which an `Rlerror` carries.
pub mod errno {
    /// Operation not permitted.
    pub const EPERM: u32 = 1;
    /// No such file or directory.
    pub const ENOENT: u32 = 2;
    /// Input/output error.
    pub const EIO: u32 = 5;
    /// Out of memory.
    pub const ENOMEM: u32 = 12;
    /// Permission denied.
    pub const EACCES: u32 = 13;
    /// Busy.
    pub const EBUSY: u32 = 16;
    /// Exists already.
    pub const EEXIST: u32 = 17;
    /// No such device.
    pub const ENODEV: u32 = 19;
    /// Not a directory.
    pub const ENOTDIR: u32 = 20;
    /// Is a directory.
    pub const EISDIR: u32 = 21;
    /// Invalid argument.
    pub const EINVAL: u32 = 22;
    /// Too many open files in the system.
    pub const ENFILE: u32 = 23;
    /// Too many open files.
    pub const EMFILE: u32 = 24;
    /// Text file busy.
    pub const ETXTBSY: u32 = 26;
    /// No space left.
    pub const ENOSPC: u32 = 28;
    /// Read-only file system.
    pub const EROFS: u32 = 30;
    /// File name too long.
    pub const ENAMETOOLONG: u32 = 36;
    /// Not implemented.
    pub const ENOSYS: u32 = 38;
    /// Too many symbolic links.
    pub const ELOOP: u32 = 40;
    /// Not supported.
    pub const EOPNOTSUPP: u32 = 95;
    /// Timed out.
    pub const ETIMEDOUT: u32 = 110;
    /// The handle is stale.
    pub const ESTALE: u32 = 116;
    /// Over quota.
    pub const EDQUOT: u32 = 122;
}

/// The server's name for a file: kind, version and path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qid {
    /// Type bits: 0x80 directory, 0x02 symbolic link, 0 plain file.
    pub kind: u8,
    /// Changes whenever the file does.
    pub version: u32,
    /// Unique on the server.
    pub path: u64,
}

impl Qid {
    /// Length on the wire.
    pub(crate) const LEN: usize = 13;

    /// Whether it names a directory.
    #[must_use]
    pub const fn is_dir(self) -> bool {
        self.kind & 0x80 != 0
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            kind: reader.u8()?,
            version: reader.u32()?,
            path: reader.u64()?,
        })
    }

    pub(crate) fn write(self, writer: &mut Writer<'_>) -> Result<(), Error> {
        writer.u8(self.kind)?;
        writer.u32(self.version)?;
        writer.u64(self.path)
    }
}

/// What a file is, by the upper bits of its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}

/// The attributes of a file that this client uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// Which of the fields the server filled.
    pub valid: u64,
    /// The file's qid.
    pub qid: Qid,
    /// File type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u64,
    /// Length in bytes.
    pub size: u64,
    /// How much of the disk it takes, in units of 512 bytes.
    pub blocks: u64,
    /// Time of the last access.
    pub accessed: Time,
    /// Time of the last change of the data.
    pub modified: Time,
    /// Time of the last change of anything.
    pub changed: Time,
    /// Time of its creation, if the server knows it ([`getattr::BTIME`]).
    pub created: Time,
}

/// A moment, as servers know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970.
    pub sec: u64,
    /// And nanoseconds.
    pub nsec: u64,
}

impl Time {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            sec: reader.u64()?,
            nsec: reader.u64()?,
        })
    }

    fn write(self, writer: &mut Writer<'_>) -> Result<(), Error> {
        writer.u64(self.sec)?;
        writer.u64(self.nsec)
    }
}

impl Attr {
    /// What the file is.
    #[must_use]
    pub const fn kind(&self) -> FileKind {
        match self.mode & 0o170_000 {
            0o100_000 => FileKind::File,
            0o040_000 => FileKind::Directory,
            0o120_000 => FileKind::Link,
            _ => FileKind::Other,
        }
    }

    /// `Rgetattr` without its header: 153 bytes.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let valid = reader.u64()?;
        let qid = Qid::read(reader)?;
        let (mode, uid, gid) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let links = reader.u64()?;
        let _rdev = reader.u64()?;
        let size = reader.u64()?;
        let (_block_size, blocks) = (reader.u64()?, reader.u64()?);
        let (accessed, modified) = (Time::read(reader)?, Time::read(reader)?);
        let (changed, created) = (Time::read(reader)?, Time::read(reader)?);
        let (_generation, _data_version) = (reader.u64()?, reader.u64()?);
        Ok(Self {
            valid,
            qid,
            mode,
            uid,
            gid,
            links,
            size,
            blocks,
            accessed,
            modified,
            changed,
            created,
        })
    }

    /// Fields that are not kept are written as zero.
    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        writer.u64(self.valid)?;
        self.qid.write(writer)?;
        writer.u32(self.mode)?;
        writer.u32(self.uid)?;
        writer.u32(self.gid)?;
        writer.u64(self.links)?;
        writer.u64(0)?;
        writer.u64(self.size)?;
        writer.u64(0)?;
        writer.u64(self.blocks)?;
        for time in [self.accessed, self.modified, self.changed, self.created] {
            time.write(writer)?;
        }
        writer.u64(0)?;
        writer.u64(0)
    }
}

/// The size of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statfs {
    /// Kind of file system, as `f_type` of Linux.
    pub kind: u32,
    /// Length of a block.
    pub block_size: u32,
    /// Blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks that anybody may use.
    pub available: u64,
    /// Files.
    pub files: u64,
    /// Files that can still be made.
    pub free_files: u64,
    /// Number of the file system.
    pub id: u64,
    /// Longest name.
    pub name_length: u32,
}

impl Statfs {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            kind: reader.u32()?,
            block_size: reader.u32()?,
            blocks: reader.u64()?,
            free: reader.u64()?,
            available: reader.u64()?,
            files: reader.u64()?,
            free_files: reader.u64()?,
            id: reader.u64()?,
            name_length: reader.u32()?,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        writer.u32(self.kind)?;
        writer.u32(self.block_size)?;
        for value in [
            self.blocks,
            self.free,
            self.available,
            self.files,
            self.free_files,
            self.id,
        ] {
            writer.u64(value)?;
        }
        writer.u32(self.name_length)
    }
}
