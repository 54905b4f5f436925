//! Names of Linux in names of Windows and back: what Windows cannot say stands in Unicode's private use area, as in
//! Windows' own NFS client (byte `n` is U+F000 + `n`).

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

/// Where bytes are put.
const PRIVATE: u32 = 0xF000;

fn private(byte: u8) -> char {
    char::from_u32(PRIVATE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Whether a name of Windows may not have this character.
fn is_forbidden(character: char) -> bool {
    character < ' ' || "/\\:*?\"<>|".contains(character)
}

/// The name that a redirector is asked for.
#[must_use]
pub fn to_windows(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            text.push(match u8::try_from(character) {
                Ok(byte) if is_forbidden(character) => private(byte),
                _ => character,
            });
        }
        text.extend(chunk.invalid().iter().map(|byte| private(*byte)));
    }
    // Neither ends in a dot or a space.
    if let Some(last @ ('.' | ' ')) = text.chars().next_back()
        && let Ok(byte) = u8::try_from(last)
    {
        text.pop();
        text.push(private(byte));
    }
    text
}

/// The name that a Linux program sees.
#[must_use]
pub fn to_linux(name: &str) -> OsString {
    let mut bytes = Vec::new();
    for character in name.chars() {
        match u32::from(character).checked_sub(PRIVATE).map(u8::try_from) {
            Some(Ok(byte)) if byte != 0 => bytes.push(byte),
            _ => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for bytes in [
            &b"plain.txt"[..],
            b"a:b",
            b"what?",
            b"ends in a dot.",
            b"space ",
            b"back\\slash",
            b"\xFFnot utf-8\x80",
            "näme".as_bytes(),
        ] {
            let name = OsStr::from_bytes(bytes);
            assert_eq!(to_linux(&to_windows(name)), name);
        }
        assert_eq!(to_windows(OsStr::new("a:b")), "a\u{F03A}b");
    }
}
