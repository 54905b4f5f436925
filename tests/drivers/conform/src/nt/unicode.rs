//! Counted UTF-16 strings for kernel routines.

use alloc::vec::Vec;
use core::marker::PhantomData;

use wdk_sys::UNICODE_STRING;

/// A string with its UTF-16 buffer.
pub(crate) struct Unicode(Vec<u16>);

/// A `UNICODE_STRING` that borrows its buffer.
pub(crate) struct Borrowed<'a> {
    raw: UNICODE_STRING,
    _buffer: PhantomData<&'a [u16]>,
}

impl Unicode {
    /// Encodes `text`.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.encode_utf16().collect())
    }

    /// The kernel's view of the string.
    pub(crate) fn borrow(&self) -> Borrowed<'_> {
        let bytes = u16::try_from(self.0.len().saturating_mul(2)).unwrap_or(u16::MAX - 1);
        let raw = UNICODE_STRING {
            Length: bytes,
            MaximumLength: bytes,
            Buffer: self.0.as_ptr().cast_mut(),
        };
        Borrowed {
            raw,
            _buffer: PhantomData,
        }
    }
}

impl Borrowed<'_> {
    /// For passing to a routine; read-only by their contracts.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut UNICODE_STRING {
        &raw mut self.raw
    }
}
