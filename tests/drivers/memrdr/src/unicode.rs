//! Names as counted UTF-16 strings.

use wdk_sys::UNICODE_STRING;

/// An ASCII text as UTF-16 code units, at compile time.
pub(crate) const fn wide<const N: usize>(text: &str) -> [u16; N] {
    let mut wide = [0; N];
    let mut i = 0;
    while i < N {
        assert!(text.as_bytes()[i].is_ascii());
        wide[i] = text.as_bytes()[i] as u16;
        i += 1;
    }
    wide
}

/// Describes a constant.
pub(crate) const fn describe<const N: usize>(text: &'static [u16; N]) -> UNICODE_STRING {
    const { assert!(N <= 0x7fff) };
    #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
    let bytes = size_of::<[u16; N]>() as u16;
    UNICODE_STRING {
        Length: bytes,
        MaximumLength: bytes,
        Buffer: text.as_ptr().cast_mut(),
    }
}

/// A constant ASCII text as a `UNICODE_STRING`.
macro_rules! unicode {
    ($text:expr) => {
        $crate::unicode::describe(const { &$crate::unicode::wide::<{ $text.len() }>($text) })
    };
}
pub(crate) use unicode;
