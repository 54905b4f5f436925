//! Names: UTF-16 on Windows' side, bytes (usually UTF-8) on the server's.
//!
//! Case matters, as on the server. What Windows does not allow in a name stands in the private use area: the character
//! or byte `c` as U+F000 + `c`, as Cygwin and Windows' own Linux subsystem write it. That goes for `"*:<>?|\` and control
//! characters, for a dot or a space at the end, for bytes that are no UTF-8, and for the bytes of a character of the
//! private use area that would stand for another. So every name of a server has a form, and one form only: any other is
//! refused.

use crate::status::{NAME_TOO_LONG, OBJECT_NAME_INVALID, Status};

/// The most characters of a name.
pub const MOST_UNITS: usize = 255;
/// The most bytes that those take on the server's side.
pub const MOST_BYTES: usize = MOST_UNITS * 3;

/// Where displaced characters and bytes stand.
const DISPLACED: u16 = 0xF000;
const SEPARATOR: u16 = b'\\' as u16;

/// The names of a path, from the root downwards. One separator in front and one at the end mean nothing.
///
/// # Errors
///
/// `OBJECT_NAME_INVALID` for an empty name between two separators.
pub fn components(path: &[u16]) -> impl Iterator<Item = Result<&[u16], Status>> + Clone {
    let path = path.strip_prefix(&[SEPARATOR]).unwrap_or(path);
    let path = path.strip_suffix(&[SEPARATOR]).unwrap_or(path);
    let is_root = path.is_empty();
    path.split(|unit| *unit == SEPARATOR)
        .filter(move |_| !is_root)
        .map(|name| {
            if name.is_empty() {
                Err(OBJECT_NAME_INVALID)
            } else {
                Ok(name)
            }
        })
}

/// Converts a name for the server; returns its length.
///
/// # Errors
///
/// `NAME_TOO_LONG`; `OBJECT_NAME_INVALID` for what cannot be a name: "." and "..", characters that Windows does not allow,
/// half of a surrogate pair, or a second form of a name.
pub fn to_server(name: &[u16], output: &mut [u8; MOST_BYTES]) -> Result<usize, Status> {
    if name.len() > MOST_UNITS {
        return Err(NAME_TOO_LONG);
    }
    let mut length = 0_usize;
    for unit in char::decode_utf16(name.iter().copied()) {
        let character = unit.map_err(|_| OBJECT_NAME_INVALID)?;
        if is_forbidden(character) {
            return Err(OBJECT_NAME_INVALID);
        }
        let mut bytes = [0; 4];
        let encoded = match displaced(character) {
            Some(byte) => {
                bytes = [byte, 0, 0, 0];
                bytes.get(..1)
            }
            None => {
                let text: &str = character.encode_utf8(&mut bytes);
                Some(text.as_bytes())
            }
        };
        for byte in encoded.unwrap_or_default() {
            *output.get_mut(length).ok_or(NAME_TOO_LONG)? = *byte;
            length = length.saturating_add(1);
        }
    }
    // The way back must lead here: no two names for one file, and no way around the rules.
    let mut again = [0; MOST_UNITS];
    let bytes = output.get(..length).unwrap_or_default();
    let same = to_windows(bytes, &mut again)
        .and_then(|units| again.get(..units))
        .is_some_and(|back| back == name);
    if same {
        Ok(length)
    } else {
        Err(OBJECT_NAME_INVALID)
    }
}

/// Converts a name of the server's; returns its length. `None` for what cannot be a name in a directory, "." and ".."
/// among them, and for one that is too long.
pub fn to_windows(name: &[u8], output: &mut [u16; MOST_UNITS]) -> Option<usize> {
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return None;
    }
    let mut length = 0_usize;
    let mut push = |unit: u16| -> Option<()> {
        *output.get_mut(length)? = unit;
        length = length.checked_add(1)?;
        Some(())
    };
    let mut rest = name;
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            rest = rest.get(character.len_utf8()..)?;
            let at_end = rest.is_empty() && matches!(character, '.' | ' ');
            if at_end || (is_forbidden(character) && character != '/') || character == '\\' {
                push(DISPLACED.checked_add(u16::try_from(u32::from(character)).ok()?)?)?;
            } else if displaced(character).is_some() {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    push(DISPLACED.checked_add(u16::from(byte))?)?;
                }
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    push(*unit)?;
                }
            }
        }
        for byte in chunk.invalid() {
            rest = rest.get(1..)?;
            push(DISPLACED.checked_add(u16::from(*byte))?)?;
        }
    }
    Some(length)
}

/// Whether Windows does not allow a character in a name.
const fn is_forbidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f' | '"' | '*' | '/' | ':' | '<' | '>' | '?' | '|'
    )
}

/// What a character of the private use area stands for.
fn displaced(character: char) -> Option<u8> {
    let offset = u32::from(character).checked_sub(u32::from(DISPLACED))?;
    let byte = u8::try_from(offset).ok()?;
    let is_used = match byte {
        0 | b'/' => false,
        b'\\' | b'.' | b' ' | 0x80.. => true,
        other => is_forbidden(char::from(other)),
    };
    is_used.then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::{string::String, vec::Vec};

    fn there(name: &str) -> Result<Vec<u8>, Status> {
        let units: Vec<u16> = name.encode_utf16().collect();
        let mut output = [0; MOST_BYTES];
        to_server(&units, &mut output).map(|length| output[..length].to_vec())
    }

    fn back(name: &[u8]) -> Option<String> {
        let mut output = [0; MOST_UNITS];
        to_windows(name, &mut output).map(|length| String::from_utf16(&output[..length]).unwrap())
    }

    #[test]
    fn ordinary_names_go_through_unchanged() {
        for name in [
            "a",
            "näme with spaces.txt",
            "日本語",
            "𝄞.mid",
            ".hidden",
            "...x",
            "A",
        ] {
            assert_eq!(there(name), Ok(name.as_bytes().to_vec()));
            assert_eq!(back(name.as_bytes()).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_windows_forbids_is_displaced() {
        for (server, windows) in [
            (b"a:b".as_slice(), "a\u{F03A}b"),
            (b"what?", "what\u{F03F}"),
            (b"back\\slash", "back\u{F05C}slash"),
            (b"dot.", "dot\u{F02E}"),
            (b"space ", "space\u{F020}"),
            (b"tab\there", "tab\u{F009}here"),
            (b"latin\xe9", "latin\u{F0E9}"),
            (b"...", "..\u{F02E}"),
            // What would read as "?" and as the byte E9, and what stands for nothing.
            ("\u{F03F}".as_bytes(), "\u{F0EF}\u{F080}\u{F0BF}"),
            ("\u{F0E9}".as_bytes(), "\u{F0EF}\u{F083}\u{F0A9}"),
            ("\u{F041}".as_bytes(), "\u{F041}"),
        ] {
            assert_eq!(back(server).as_deref(), Some(windows));
            assert_eq!(there(windows), Ok(server.to_vec()));
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a*",
            "\u{1}",
            "dot.",
            "space ",
            "q\u{F000}\0",
            // Second forms: an "é" in two displaced bytes, a displaced full stop in the middle.
            "\u{F0C3}\u{F0A9}",
            "a\u{F02E}b",
        ] {
            assert_eq!(there(name), Err(OBJECT_NAME_INVALID), "{name:?}");
        }
        let mut output = [0; MOST_BYTES];
        assert_eq!(to_server(&[0xD800], &mut output), Err(OBJECT_NAME_INVALID));
        assert_eq!(
            to_server(&[0xDC00, 0xD800], &mut output),
            Err(OBJECT_NAME_INVALID)
        );
        assert_eq!(to_server(&[65; 256], &mut output), Err(NAME_TOO_LONG));
        assert_eq!(to_server(&[0xFFFD; 255], &mut output), Ok(765));
        for name in [b"".as_slice(), b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
            assert_eq!(back(name), None, "{name:?}");
        }
    }

    #[test]
    fn paths_are_cut_at_backslashes() {
        let cut = |path: &str| -> Result<Vec<String>, Status> {
            let units: Vec<u16> = path.encode_utf16().collect();
            components(&units)
                .map(|name| name.map(|units| String::from_utf16(units).unwrap()))
                .collect()
        };
        assert_eq!(cut(""), Ok(std::vec![]));
        assert_eq!(cut("\\"), Ok(std::vec![]));
        assert_eq!(cut("\\a\\b c\\").unwrap(), ["a", "b c"]);
        assert_eq!(cut("a\\b").unwrap(), ["a", "b"]);
        assert_eq!(cut("\\a\\\\b"), Err(OBJECT_NAME_INVALID));
        assert_eq!(cut("\\\\a"), Err(OBJECT_NAME_INVALID));
    }
}
