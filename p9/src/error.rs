//! What can be wrong with a message.

use core::fmt;

/// Why a message could not be written or understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The message ends before its last field.
    Truncated,
    /// Bytes are left after the last field.
    TrailingBytes,
    /// The size in the header is impossible, or above what was agreed.
    BadSize(u32),
    /// The type byte is not one this crate knows, or not one that may come now.
    UnexpectedKind(u8),
    /// The tag is not the one of the outstanding request.
    UnexpectedTag(u16),
    /// The server returned more data than was asked for.
    TooMuchData(u32),
    /// A string is longer than 65,535 bytes, or a walk has more than sixteen names.
    TooLong,
    /// The buffer is too small for the message.
    BufferTooSmall,
    /// Data came while no reply was due.
    Unsolicited,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("message ends before its last field"),
            Self::TrailingBytes => f.write_str("bytes left after the last field"),
            Self::BadSize(size) => write!(f, "impossible message size {size}"),
            Self::UnexpectedKind(kind) => write!(f, "unexpected message type {kind}"),
            Self::UnexpectedTag(tag) => write!(f, "unexpected tag {tag}"),
            Self::TooMuchData(count) => write!(f, "{count} bytes of data, more than asked for"),
            Self::TooLong => f.write_str("string or walk too long"),
            Self::BufferTooSmall => f.write_str("buffer too small"),
            Self::Unsolicited => f.write_str("data while no reply was due"),
        }
    }
}

impl core::error::Error for Error {}
