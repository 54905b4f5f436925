//! UTF-16 with a zero behind it.

use alloc::vec::Vec;

/// A string as Windows takes it. One with a zero inside ends there.
pub(crate) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
