//! Inputs and outputs of the control codes.

use p9::{
    Attr, Error, Qid,
    wire::{Reader, Writer},
};

/// Encoding and decoding of a format, field by field.
macro_rules! codec {
    ($name:ident $(<$life:lifetime>)?, |$input:ident| $read:expr, |$this:ident, $output:ident| $write:block) => {
        impl $(<$life>)? $name $(<$life>)? {
            /// Reads it from exactly these bytes.
            ///
            /// # Errors
            ///
            /// `Truncated` or `TrailingBytes`.
            pub fn decode(bytes: &$($life)? [u8]) -> Result<Self, Error> {
                let mut $input = Reader::new(bytes);
                let value = $read;
                $input.finish()?;
                Ok(value)
            }

            /// Writes it to the front of `buffer` and returns it.
            ///
            /// # Errors
            ///
            /// `BufferTooSmall`, or `TooLong` for a name past 65,535 bytes.
            pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Error> {
                let $this = self;
                let mut $output = Writer::new(buffer);
                $write
                $output.finish()
            }
        }
    };
}

pub(crate) use codec;

/// Where to connect, and as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// IPv4 address of the server.
    pub ip: [u8; 4],
    /// TCP port.
    pub port: u16,
    /// Longest message to ask for.
    pub msize: u32,
    /// User's number.
    pub uid: u32,
    /// User's name.
    pub uname: &'a [u8],
    /// Name of the tree.
    pub aname: &'a [u8],
}

codec!(
    Connect<'a>,
    |input| {
        let mut ip = [0; 4];
        ip.copy_from_slice(input.bytes(4)?);
        Self {
            ip,
            port: input.u16()?,
            msize: input.u32()?,
            uid: input.u32()?,
            uname: input.string()?,
            aname: input.string()?,
        }
    },
    |this, output| {
        output.bytes(&this.ip)?;
        output.u16(this.port)?;
        output.u32(this.msize)?;
        output.u32(this.uid)?;
        output.string(this.uname)?;
        output.string(this.aname)?;
    }
);

/// What the server granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Longest message of the session.
    pub msize: u32,
    /// Most bytes that one read of a file can return.
    pub max_read: u32,
}

codec!(
    Connected,
    |input| Self {
        msize: input.u32()?,
        max_read: input.u32()?
    },
    |this, output| {
        output.u32(this.msize)?;
        output.u32(this.max_read)?;
    }
);

/// A file, by its path from the root of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// Names with `/` between them.
    pub path: &'a [u8],
}

codec!(
    Path<'a>,
    |input| Self {
        path: input.string()?
    },
    |this, output| {
        output.string(this.path)?;
    }
);

/// A directory, and where in it to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a> {
    /// 0, or [`Listing::cursor`] of the previous part.
    pub cursor: u64,
    /// The directory.
    pub path: &'a [u8],
}

codec!(
    List<'a>,
    |input| Self {
        cursor: input.u64()?,
        path: input.string()?
    },
    |this, output| {
        output.u64(this.cursor)?;
        output.string(this.path)?;
    }
);

/// A part of a directory. No entries: the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing<'a> {
    /// Where the next part begins.
    pub cursor: u64,
    /// The entries, each as [`Entry`] encodes itself.
    pub entries: &'a [u8],
}

impl<'a> Listing<'a> {
    /// The entries, decoded.
    #[must_use]
    pub const fn entries(&self) -> Entries<'a> {
        Entries(Reader::new(self.entries))
    }
}

codec!(
    Listing<'a>,
    |input| Self {
        cursor: input.u64()?,
        entries: input.counted()?
    },
    |this, output| {
        output.u64(this.cursor)?;
        output.counted(this.entries)?;
    }
);

/// Iterator over the entries of a [`Listing`]; ends at a malformed one, which it yields as an error.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a>(Reader<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = Entry::read(&mut self.0);
        if entry.is_err() {
            self.0 = Reader::new(&[]);
        }
        Some(entry)
    }
}

/// One name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The file's attributes.
    pub stat: Stat,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(input: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(Self {
            stat: Stat::read(input)?,
            name: input.string()?,
        })
    }
}

codec!(
    Entry<'a>,
    |input| Self::read(&mut input)?,
    |this, output| {
        this.stat.write(&mut output)?;
        output.string(this.name)?;
    }
);

/// Attributes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the data: seconds since 1970.
    pub mtime_sec: u64,
    /// The server's number for the file.
    pub inode: u64,
}

impl Stat {
    fn read(input: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            mode: input.u32()?,
            uid: input.u32()?,
            gid: input.u32()?,
            size: input.u64()?,
            mtime_sec: input.u64()?,
            inode: input.u64()?,
        })
    }

    fn write(&self, output: &mut Writer<'_>) -> Result<(), Error> {
        output.u32(self.mode)?;
        output.u32(self.uid)?;
        output.u32(self.gid)?;
        output.u64(self.size)?;
        output.u64(self.mtime_sec)?;
        output.u64(self.inode)
    }

    /// What the file is.
    #[must_use]
    pub fn kind(&self) -> p9::FileKind {
        Attr {
            mode: self.mode,
            ..Attr::default()
        }
        .kind()
    }
}

impl From<Attr> for Stat {
    fn from(attr: Attr) -> Self {
        let Attr {
            mode,
            uid,
            gid,
            size,
            modified,
            qid: Qid { path: inode, .. },
            ..
        } = attr;
        Self {
            mode,
            uid,
            gid,
            size,
            mtime_sec: modified.sec,
            inode,
        }
    }
}

codec!(Stat, |input| Self::read(&mut input)?, |this, output| {
    this.write(&mut output)?
});

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number in [`Read`] and [`Close`].
    pub file: u32,
    /// Most bytes that one read returns.
    pub max_read: u32,
    /// Its attributes.
    pub stat: Stat,
}

codec!(
    Opened,
    |input| Self {
        file: input.u32()?,
        max_read: input.u32()?,
        stat: Stat::read(&mut input)?
    },
    |this, output| {
        output.u32(this.file)?;
        output.u32(this.max_read)?;
        this.stat.write(&mut output)?;
    }
);

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The open file.
    pub file: u32,
    /// How many bytes at most.
    pub length: u32,
    /// From where.
    pub offset: u64,
}

codec!(
    Read,
    |input| Self {
        file: input.u32()?,
        length: input.u32()?,
        offset: input.u64()?
    },
    |this, output| {
        output.u32(this.file)?;
        output.u32(this.length)?;
        output.u64(this.offset)?;
    }
);

/// What to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The open file.
    pub file: u32,
}

codec!(
    Close,
    |input| Self { file: input.u32()? },
    |this, output| {
        output.u32(this.file)?;
    }
);

/// How the circuit ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disconnected {
    /// 1 if there was something to tear down.
    pub was_connected: u32,
    /// Status of `RxCeInitiateVCDisconnect`.
    pub initiate: i32,
    /// Status of `RxCeTearDownVC`.
    pub tear_down: i32,
}

codec!(
    Disconnected,
    |input| Self {
        was_connected: input.u32()?,
        initiate: input.u32()?.cast_signed(),
        tear_down: input.u32()?.cast_signed(),
    },
    |this, output| {
        output.u32(this.was_connected)?;
        output.u32(this.initiate.cast_unsigned())?;
        output.u32(this.tear_down.cast_unsigned())?;
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_survive_the_round_trip() {
        let mut buffer = [0; 128];
        let connect = Connect {
            ip: [127, 0, 0, 1],
            port: 564,
            msize: 1 << 20,
            uid: 7,
            uname: b"u",
            aname: b"/x",
        };
        let bytes = connect.encode(&mut buffer).unwrap_or_default();
        assert_eq!(bytes.len(), 21);
        assert_eq!(Connect::decode(bytes), Ok(connect));
        let list = List {
            cursor: 9,
            path: b"/a/b",
        };
        assert_eq!(
            List::decode(list.encode(&mut buffer).unwrap_or_default()),
            Ok(list)
        );
        let read = Read {
            file: 1,
            length: 2,
            offset: 3,
        };
        assert_eq!(
            Read::decode(read.encode(&mut buffer).unwrap_or_default()),
            Ok(read)
        );
        let gone = Disconnected {
            was_connected: 1,
            initiate: -5,
            tear_down: i32::MIN,
        };
        assert_eq!(
            Disconnected::decode(gone.encode(&mut buffer).unwrap_or_default()),
            Ok(gone)
        );
    }

    #[test]
    fn a_listing_yields_its_entries_and_stops_at_damage() {
        let mut first = [0; 64];
        let entry = Entry {
            stat: Stat {
                mode: 0o040_755,
                size: 1,
                ..Stat::default()
            },
            name: b"sub",
        };
        let first = entry.encode(&mut first).unwrap_or_default();
        let mut bytes = [0; 128];
        let mut out = Writer::new(&mut bytes);
        assert!(
            out.bytes(first)
                .and(out.bytes(first))
                .and(out.bytes(b"xx"))
                .is_ok()
        );
        let listing = Listing {
            cursor: 0,
            entries: out.finish().unwrap_or_default(),
        };
        let mut entries = listing.entries();
        assert_eq!(entries.next(), Some(Ok(entry)));
        assert_eq!(entries.next(), Some(Ok(entry)));
        assert_eq!(entries.next(), Some(Err(Error::Truncated)));
        assert_eq!(entries.next(), None);
        assert_eq!(entry.stat.kind(), p9::FileKind::Directory);
    }

    #[test]
    fn wrong_lengths_are_refused() {
        assert_eq!(Connect::decode(&[0; 13]), Err(Error::Truncated));
        assert_eq!(Read::decode(&[0; 15]), Err(Error::Truncated));
        assert_eq!(Read::decode(&[0; 17]), Err(Error::TrailingBytes));
        assert_eq!(Path::decode(b"\x05\0abcd"), Err(Error::Truncated));
        assert_eq!(Close::decode(&[]), Err(Error::Truncated));
    }

    #[test]
    fn codes_are_distinct_and_buffered() {
        use crate::code::*;
        assert_eq!(CONNECT, 0x0022_e000);
        let mut codes = [
            CONNECT, DISCONNECT, LIST, STAT, OPEN, READ, CLOSE, STATISTICS, VERSION, COUNTERS,
        ];
        codes.sort_unstable();
        assert!(codes.is_sorted_by(|a, b| a < b));
        assert!(codes.iter().all(|code| code & 3 == 0));
    }
}
