//! Counted strings of the system.

use core::slice;

use wdk_sys::UNICODE_STRING;

/// Describes `text`; `None` if it is too long. The result is as good as the borrow, and read only.
pub(crate) fn borrowed(text: &[u16]) -> Option<UNICODE_STRING> {
    let length = u16::try_from(size_of_val(text)).ok()?;
    Some(UNICODE_STRING {
        Length: length,
        MaximumLength: length,
        Buffer: text.as_ptr().cast_mut(),
    })
}

/// The text of a string; empty for NULL and for what is no whole number of characters.
///
/// # Safety
///
/// `string` is NULL or points to a string whose buffer stays valid and unchanged for `'a`.
pub(crate) unsafe fn text<'a>(string: *const UNICODE_STRING) -> &'a [u16] {
    // SAFETY: Forwarded.
    let Some(string) = (unsafe { string.as_ref() }) else {
        return &[];
    };
    let usable =
        !string.Buffer.is_null() && string.Buffer.is_aligned() && string.Length.is_multiple_of(2);
    if !usable {
        return &[];
    }
    // SAFETY: Forwarded.
    unsafe { slice::from_raw_parts(string.Buffer, usize::from(string.Length / 2)) }
}

/// A name in UTF-16, made of ASCII at compile time.
pub(crate) const fn ascii<const N: usize>(text: &[u8; N]) -> [u16; N] {
    let mut wide = [0; N];
    let mut at = 0;
    while at < N {
        wide[at] = text[at] as u16;
        at += 1;
    }
    wide
}
