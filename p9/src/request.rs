//! Messages from the client.

use crate::{Error, HEADER_LEN, Header, Kind, MAX_WALK};

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Starts a session and offers a message size.
    Version {
        /// Longest message the client takes.
        msize: u32,
        /// Version string.
        version: &'a [u8],
    },
    /// Attaches to an exported tree.
    Attach {
        /// Fid for the root.
        fid: u32,
        /// Fid of an authentication, or [`crate::NOFID`].
        afid: u32,
        /// User's name.
        uname: &'a [u8],
        /// Name of the tree.
        aname: &'a [u8],
        /// User's number, or [`crate::NONUNAME`].
        n_uname: u32,
    },
    /// Walks from a fid to a new one.
    Walk {
        /// Where to start.
        fid: u32,
        /// Fid for the end.
        new_fid: u32,
        /// At most [`MAX_WALK`] names; none makes a copy of `fid`.
        names: &'a [&'a [u8]],
    },
    /// Opens a fid.
    Lopen {
        /// Fid to open.
        fid: u32,
        /// See [`crate::open`].
        flags: u32,
    },
    /// Reads file data.
    Read {
        /// Open fid.
        fid: u32,
        /// Where in the file.
        offset: u64,
        /// How many bytes at most.
        count: u32,
    },
    /// Asks for attributes.
    Getattr {
        /// The file.
        fid: u32,
        /// See [`crate::getattr`].
        mask: u64,
    },
    /// Reads directory entries.
    Readdir {
        /// Open fid of a directory.
        fid: u32,
        /// 0, or the offset that came with the last entry seen.
        offset: u64,
        /// How many bytes at most.
        count: u32,
    },
    /// Asks for the size of the file system that a file is in.
    Statfs {
        /// The file.
        fid: u32,
    },
    /// Gives a fid back.
    Clunk {
        /// The fid.
        fid: u32,
    },
}

impl Request<'_> {
    /// Its message type.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Version { .. } => Kind::Tversion,
            Self::Attach { .. } => Kind::Tattach,
            Self::Walk { .. } => Kind::Twalk,
            Self::Lopen { .. } => Kind::Tlopen,
            Self::Read { .. } => Kind::Tread,
            Self::Getattr { .. } => Kind::Tgetattr,
            Self::Readdir { .. } => Kind::Treaddir,
            Self::Statfs { .. } => Kind::Tstatfs,
            Self::Clunk { .. } => Kind::Tclunk,
        }
    }

    /// The message type of the answer, if the server does not refuse.
    #[must_use]
    pub const fn reply_kind(&self) -> Kind {
        match self {
            Self::Version { .. } => Kind::Rversion,
            Self::Attach { .. } => Kind::Rattach,
            Self::Walk { .. } => Kind::Rwalk,
            Self::Lopen { .. } => Kind::Rlopen,
            Self::Read { .. } => Kind::Rread,
            Self::Getattr { .. } => Kind::Rgetattr,
            Self::Readdir { .. } => Kind::Rreaddir,
            Self::Statfs { .. } => Kind::Rstatfs,
            Self::Clunk { .. } => Kind::Rclunk,
        }
    }

    /// How many bytes [`Self::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let string = |text: &[u8]| text.len().saturating_add(2);
        let body = match *self {
            Self::Version { version, .. } => string(version).saturating_add(4),
            Self::Attach { uname, aname, .. } => string(uname)
                .saturating_add(string(aname))
                .saturating_add(12),
            Self::Walk { names, .. } => names
                .iter()
                .fold(10, |sum, name| string(name).saturating_add(sum)),
            Self::Lopen { .. } => 8,
            Self::Read { .. } | Self::Readdir { .. } => 16,
            Self::Getattr { .. } => 12,
            Self::Statfs { .. } | Self::Clunk { .. } => 4,
        };
        body.saturating_add(HEADER_LEN)
    }

    /// Writes the message to the front of `buffer` and returns it.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`; `TooLong` for an over-long string or walk.
    pub fn encode<'b>(&self, tag: u16, buffer: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let mut out = Header::begin(self.kind(), tag, buffer)?;
        match *self {
            Self::Version { msize, version } => {
                out.u32(msize)?;
                out.string(version)?;
            }
            Self::Attach {
                fid,
                afid,
                uname,
                aname,
                n_uname,
            } => {
                out.u32(fid)?;
                out.u32(afid)?;
                out.string(uname)?;
                out.string(aname)?;
                out.u32(n_uname)?;
            }
            Self::Walk {
                fid,
                new_fid,
                names,
            } => {
                out.u32(fid)?;
                out.u32(new_fid)?;
                if names.len() > MAX_WALK {
                    return Err(Error::TooLong);
                }
                out.u16(u16::try_from(names.len()).map_err(|_| Error::TooLong)?)?;
                for name in names {
                    out.string(name)?;
                }
            }
            Self::Lopen { fid, flags } => {
                out.u32(fid)?;
                out.u32(flags)?;
            }
            Self::Read { fid, offset, count } | Self::Readdir { fid, offset, count } => {
                out.u32(fid)?;
                out.u64(offset)?;
                out.u32(count)?;
            }
            Self::Getattr { fid, mask } => {
                out.u32(fid)?;
                out.u64(mask)?;
            }
            Self::Statfs { fid } | Self::Clunk { fid } => out.u32(fid)?,
        }
        out.finish_sized()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NOFID, NONUNAME, NOTAG, VERSION};

    /// Byte strings written down by hand from the protocol description.
    #[test]
    fn messages_have_the_documented_bytes() {
        let mut buffer = [0xcc; 128];
        let cases: [(u16, Request<'_>, &[u8]); 9] = [
            (
                NOTAG,
                Request::Version {
                    msize: 0x10000,
                    version: VERSION,
                },
                b"\x15\0\0\0\x64\xff\xff\0\0\x01\0\x08\x009P2000.L",
            ),
            (
                1,
                Request::Attach {
                    fid: 0,
                    afid: NOFID,
                    uname: b"me",
                    aname: b"/x",
                    n_uname: NONUNAME,
                },
                b"\x1b\0\0\0\x68\x01\0\0\0\0\0\xff\xff\xff\xff\x02\0me\x02\0/x\xff\xff\xff\xff",
            ),
            (
                2,
                Request::Walk {
                    fid: 0,
                    new_fid: 1,
                    names: &[b"a", b"bc"],
                },
                b"\x18\0\0\0\x6e\x02\0\0\0\0\0\x01\0\0\0\x02\0\x01\0a\x02\0bc",
            ),
            (
                3,
                Request::Lopen { fid: 1, flags: 0 },
                b"\x0f\0\0\0\x0c\x03\0\x01\0\0\0\0\0\0\0",
            ),
            (
                4,
                Request::Read {
                    fid: 1,
                    offset: 0x0102_0304_0506_0708,
                    count: 9,
                },
                b"\x17\0\0\0\x74\x04\0\x01\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0",
            ),
            (
                5,
                Request::Getattr {
                    fid: 1,
                    mask: 0x7ff,
                },
                b"\x13\0\0\0\x18\x05\0\x01\0\0\0\xff\x07\0\0\0\0\0\0",
            ),
            (
                6,
                Request::Readdir {
                    fid: 1,
                    offset: 0,
                    count: 512,
                },
                b"\x17\0\0\0\x28\x06\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0",
            ),
            (
                7,
                Request::Clunk { fid: 1 },
                b"\x0b\0\0\0\x78\x07\0\x01\0\0\0",
            ),
            (
                8,
                Request::Statfs { fid: 1 },
                b"\x0b\0\0\0\x08\x08\0\x01\0\0\0",
            ),
        ];
        for (tag, request, expected) in cases {
            assert_eq!(
                request.encode(tag, &mut buffer),
                Ok(expected),
                "{request:?}"
            );
            assert_eq!(request.encoded_len(), expected.len(), "{request:?}");
            let mut small = [0; 128];
            let short = small.get_mut(..expected.len() - 1).unwrap_or_default();
            assert_eq!(
                request.encode(tag, short),
                Err(Error::BufferTooSmall),
                "{request:?}"
            );
        }
    }

    #[test]
    fn a_walk_of_seventeen_names_is_refused() {
        let names = [b"x".as_slice(); MAX_WALK + 1];
        let request = Request::Walk {
            fid: 0,
            new_fid: 1,
            names: &names,
        };
        assert_eq!(request.encode(0, &mut [0; 256]), Err(Error::TooLong));
    }

    #[test]
    fn a_string_past_sixteen_bits_is_refused() {
        let request = Request::Version {
            msize: 0,
            version: &[0; 65_536],
        };
        assert_eq!(request.encode(0, &mut [0; 70_000]), Err(Error::TooLong));
    }
}
