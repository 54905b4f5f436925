//! The seven bytes in front of every message, and the message types.

use crate::{
    Error,
    wire::{Reader, Writer},
};

/// Length of a header: size (4), type (1), tag (2).
pub const HEADER_LEN: usize = 7;

/// Bytes in front of the data of an `Rread` or `Rreaddir`: header and count.
pub const READ_OVERHEAD: usize = 11;

macro_rules! kinds {
    ($($name:ident = $value:literal $doc:literal),+ $(,)?) => {
        /// A message type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $(#[doc = $doc] $name = $value,)+
        }

        impl TryFrom<u8> for Kind {
            type Error = Error;

            fn try_from(value: u8) -> Result<Self, Error> {
                match value {
                    $($value => Ok(Self::$name),)+
                    other => Err(Error::UnexpectedKind(other)),
                }
            }
        }
    };
}

kinds! {
    Rlerror = 7 "The server refuses a request.",
    Tstatfs = 8 "Asks for the size of a file system.",
    Rstatfs = 9 "Answer to `Tstatfs`.",
    Tlopen = 12 "Opens a fid.",
    Rlopen = 13 "Answer to `Tlopen`.",
    Tgetattr = 24 "Asks for attributes.",
    Rgetattr = 25 "Answer to `Tgetattr`.",
    Treaddir = 40 "Reads directory entries.",
    Rreaddir = 41 "Answer to `Treaddir`.",
    Tversion = 100 "Starts a session.",
    Rversion = 101 "Answer to `Tversion`.",
    Tattach = 104 "Attaches to an exported tree.",
    Rattach = 105 "Answer to `Tattach`.",
    Twalk = 110 "Walks to a new fid.",
    Rwalk = 111 "Answer to `Twalk`.",
    Tread = 116 "Reads file data.",
    Rread = 117 "Answer to `Tread`.",
    Tclunk = 120 "Gives a fid back.",
    Rclunk = 121 "Answer to `Tclunk`.",
}

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the whole message, header included.
    pub size: u32,
    /// Message type.
    pub kind: Kind,
    /// Tag which pairs a reply with its request.
    pub tag: u16,
}

impl Header {
    /// Reads the header at the front of `bytes`.
    ///
    /// # Errors
    ///
    /// `Truncated`, `UnexpectedKind`, or `BadSize` if the size does not even cover the header.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let header = Self {
            size: reader.u32()?,
            kind: reader.u8()?.try_into()?,
            tag: reader.u16()?,
        };
        match usize::try_from(header.size) {
            Ok(size) if size >= HEADER_LEN => Ok(header),
            _ => Err(Error::BadSize(header.size)),
        }
    }

    /// Starts a message; [`Writer::finish_sized`] fills the size in.
    pub(crate) fn begin(kind: Kind, tag: u16, buffer: &mut [u8]) -> Result<Writer<'_>, Error> {
        let mut writer = Writer::new(buffer);
        writer.u32(0)?;
        writer.u8(kind as u8)?;
        writer.u16(tag)?;
        Ok(writer)
    }
}
