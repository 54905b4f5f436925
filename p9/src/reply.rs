//! Messages from the server.

use crate::{Attr, Entries, Error, HEADER_LEN, Header, Kind, MAX_WALK, Qid, Statfs, wire::Reader};

/// A reply; what has no fixed length stays in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The request was refused.
    Lerror {
        /// Linux error number.
        errno: u32,
    },
    /// The session starts.
    Version {
        /// Longest message either side may send from now on.
        msize: u32,
        /// Version string: `unknown` if the server speaks none of ours.
        version: &'a [u8],
    },
    /// Attached.
    Attach {
        /// The root.
        qid: Qid,
    },
    /// Walked, perhaps only a part of the way.
    Walk {
        /// One qid for each name that was found.
        qids: Qids<'a>,
    },
    /// Opened.
    Lopen {
        /// The file.
        qid: Qid,
        /// Largest atomic read or write, or 0.
        iounit: u32,
    },
    /// File data.
    Read {
        /// The bytes.
        data: &'a [u8],
    },
    /// Attributes.
    Getattr {
        /// The attributes.
        attr: Attr,
    },
    /// Directory entries.
    Readdir {
        /// The entries.
        entries: Entries<'a>,
    },
    /// Size of a file system.
    Statfs {
        /// The sizes.
        statfs: Statfs,
    },
    /// The fid is free.
    Clunk,
}

/// The qids of an `Rwalk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qids<'a>(&'a [u8]);

impl Qids<'_> {
    /// How many names were walked.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len().wrapping_div(Qid::LEN)
    }

    /// Whether none was.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The qids in order.
    pub fn iter(&self) -> impl Iterator<Item = Qid> {
        self.0
            .chunks_exact(Qid::LEN)
            .filter_map(|bytes| Qid::read(&mut Reader::new(bytes)).ok())
    }
}

impl<'a> Reply<'a> {
    /// Reads one whole message, and its tag.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it; see [`Error`]. A request is an `UnexpectedKind`.
    pub fn decode(message: &'a [u8]) -> Result<(u16, Self), Error> {
        let header = Header::decode(message)?;
        if usize::try_from(header.size) != Ok(message.len()) {
            return Err(Error::BadSize(header.size));
        }
        let mut body = Reader::new(message);
        body.bytes(HEADER_LEN)?;
        let reply = match header.kind {
            Kind::Rlerror => Self::Lerror { errno: body.u32()? },
            Kind::Rversion => Self::Version {
                msize: body.u32()?,
                version: body.string()?,
            },
            Kind::Rattach => Self::Attach {
                qid: Qid::read(&mut body)?,
            },
            Kind::Rwalk => Self::Walk {
                qids: Self::qids(&mut body)?,
            },
            Kind::Rlopen => Self::Lopen {
                qid: Qid::read(&mut body)?,
                iounit: body.u32()?,
            },
            Kind::Rread => Self::Read {
                data: body.counted()?,
            },
            Kind::Rgetattr => Self::Getattr {
                attr: Attr::read(&mut body)?,
            },
            Kind::Rreaddir => Self::Readdir {
                entries: Entries::new(body.counted()?),
            },
            Kind::Rstatfs => Self::Statfs {
                statfs: Statfs::read(&mut body)?,
            },
            Kind::Rclunk => Self::Clunk,
            other => return Err(Error::UnexpectedKind(other as u8)),
        };
        body.finish()?;
        Ok((header.tag, reply))
    }

    fn qids(body: &mut Reader<'a>) -> Result<Qids<'a>, Error> {
        let count = usize::from(body.u16()?);
        if count > MAX_WALK {
            return Err(Error::TooLong);
        }
        body.bytes(count.saturating_mul(Qid::LEN)).map(Qids)
    }

    /// Its message type.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Lerror { .. } => Kind::Rlerror,
            Self::Version { .. } => Kind::Rversion,
            Self::Attach { .. } => Kind::Rattach,
            Self::Walk { .. } => Kind::Rwalk,
            Self::Lopen { .. } => Kind::Rlopen,
            Self::Read { .. } => Kind::Rread,
            Self::Getattr { .. } => Kind::Rgetattr,
            Self::Readdir { .. } => Kind::Rreaddir,
            Self::Statfs { .. } => Kind::Rstatfs,
            Self::Clunk => Kind::Rclunk,
        }
    }

    /// Writes the message to the front of `buffer` and returns it: for servers made by tests.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`; `TooLong` for an over-long string.
    pub fn encode<'b>(&self, tag: u16, buffer: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let mut out = Header::begin(self.kind(), tag, buffer)?;
        match *self {
            Self::Lerror { errno } => out.u32(errno)?,
            Self::Version { msize, version } => {
                out.u32(msize)?;
                out.string(version)?;
            }
            Self::Attach { qid } => qid.write(&mut out)?,
            Self::Walk { qids } => {
                out.u16(u16::try_from(qids.len()).map_err(|_| Error::TooLong)?)?;
                out.bytes(qids.0)?;
            }
            Self::Lopen { qid, iounit } => {
                qid.write(&mut out)?;
                out.u32(iounit)?;
            }
            Self::Read { data } => out.counted(data)?,
            Self::Getattr { attr } => attr.write(&mut out)?,
            Self::Readdir { entries } => out.counted(entries.as_bytes())?,
            Self::Statfs { statfs } => statfs.write(&mut out)?,
            Self::Clunk => {}
        }
        out.finish_sized()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn getattr_is_160_bytes_long() {
        let mut buffer = [0; 256];
        let attr = Attr {
            valid: 0x7ff,
            mode: 0o100_644,
            size: 5,
            modified: crate::Time { sec: 9, nsec: 0 },
            ..Attr::default()
        };
        let message = Reply::Getattr { attr }.encode(1, &mut buffer);
        assert_eq!(message.map(<[u8]>::len), Ok(160));
        assert_eq!(
            Reply::decode(message.unwrap_or_default()),
            Ok((1, Reply::Getattr { attr }))
        );
    }

    #[test]
    fn statfs_is_67_bytes_long() {
        let mut buffer = [0; 128];
        let statfs = Statfs {
            kind: 0x0102_1997,
            block_size: 4096,
            blocks: 100,
            free: 50,
            available: 40,
            files: 10,
            free_files: 5,
            id: 77,
            name_length: 255,
        };
        let message = Reply::Statfs { statfs }.encode(1, &mut buffer);
        assert_eq!(message.map(<[u8]>::len), Ok(67));
        assert_eq!(
            Reply::decode(message.unwrap_or_default()),
            Ok((1, Reply::Statfs { statfs }))
        );
    }

    #[test]
    fn hand_made_replies() {
        assert_eq!(
            Reply::decode(b"\x0b\0\0\0\x07\x01\0\x02\0\0\0"),
            Ok((1, Reply::Lerror { errno: 2 }))
        );
        assert_eq!(
            Reply::decode(b"\x07\0\0\0\x79\x01\0"),
            Ok((1, Reply::Clunk))
        );
        assert_eq!(
            Reply::decode(b"\x0c\0\0\0\x75\x01\0\x01\0\0\0z"),
            Ok((1, Reply::Read { data: b"z" }))
        );
        let walk = b"\x16\0\0\0\x6f\x01\0\x01\0\x80\x01\0\0\0\x02\0\0\0\0\0\0\0";
        let qid = Qid {
            kind: 0x80,
            version: 1,
            path: 2,
        };
        let is_right = |qids: Qids<'_>| {
            qids.len() == 1 && qids.iter().all(|found| found == qid && found.is_dir())
        };
        assert!(matches!(Reply::decode(walk), Ok((1, Reply::Walk { qids })) if is_right(qids)));
    }

    #[test]
    fn damaged_replies_are_refused() {
        for (message, error) in [
            (b"".as_slice(), Error::Truncated),
            (b"\x06\0\0\0\x79\x01\0", Error::BadSize(6)),
            (b"\x08\0\0\0\x79\x01\0", Error::BadSize(8)),
            (b"\x08\0\0\0\x79\x01\0\0", Error::TrailingBytes),
            (b"\x07\0\0\0\x78\x01\0", Error::UnexpectedKind(0x78)),
            (b"\x07\0\0\0\x01\x01\0", Error::UnexpectedKind(1)),
            (b"\x0b\0\0\0\x75\x01\0\xff\xff\xff\xff", Error::Truncated),
            (b"\x0c\0\0\0\x75\x01\0\0\0\0\0x", Error::TrailingBytes),
            (b"\x09\0\0\0\x6f\x01\0\x11\0", Error::TooLong),
        ] {
            assert_eq!(Reply::decode(message), Err(error), "{message:x?}");
        }
    }
}
