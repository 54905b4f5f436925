//! Names: counted strings of UTF-16 in driver memory.

use crate::arena::{self, Kind};
use crate::layout::ke::UnicodeString;
use crate::mem::{read_bytes, write_bytes};

/// A backslash.
pub(super) const SEPARATOR: u16 = b'\\' as u16;

/// A UNICODE_STRING with its characters, freed with this.
pub(super) struct Text {
    string: UnicodeString,
}

impl Text {
    pub(super) fn new(text: &[u16]) -> Self {
        let string = UnicodeString(arena::alloc(16 + text.len() * 2 + 2, Kind::Object));
        let buffer = string.0 + 16;
        write_bytes(buffer, &bytes(text));
        let length = u16::try_from(text.len() * 2).unwrap_or(u16::MAX - 1);
        string.length().set(length);
        string.maximum().set(length);
        string.buffer().set(buffer);
        Self { string }
    }

    /// Where the UNICODE_STRING is.
    pub(super) const fn address(&self) -> usize {
        self.string.0
    }

    /// Where its characters are.
    pub(super) fn buffer(&self) -> usize {
        self.string.buffer().get()
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        arena::free(self.string.0);
    }
}

fn bytes(text: &[u16]) -> Vec<u8> {
    text.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// The characters of a UNICODE_STRING.
pub(super) fn read(string: UnicodeString) -> Vec<u16> {
    let bytes = read_bytes(string.buffer().get(), usize::from(string.length().get()));
    let pairs = bytes.as_chunks::<2>().0;
    pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

/// For people.
pub(super) fn shown(text: &[u16]) -> String {
    String::from_utf16_lossy(text)
}

/// The form in which names are compared.
pub(super) fn key(text: &[u16], ignore_case: bool) -> String {
    if ignore_case {
        shown(text).to_lowercase()
    } else {
        shown(text)
    }
}

/// What a path asks of RDBSS before anyone is asked: one leading backslash, none at the end, no wildcards.
pub(super) fn canonical(path: &[u16]) -> Option<(Vec<u16>, bool)> {
    let path = match path {
        // A drive letter's connection, `\;X:0\server\share`, stands in front.
        [SEPARATOR, mark, rest @ ..] if *mark == u16::from(b';') => {
            let end = rest.iter().position(|unit| *unit == SEPARATOR)?;
            rest.get(end..)?
        }
        [SEPARATOR, SEPARATOR, ..] => path.get(1..)?,
        [SEPARATOR, ..] => path,
        _ => return None,
    };
    let (path, trailing) = match path {
        [rest @ .., SEPARATOR] => (rest, true),
        _ => (path, false),
    };
    let wild: Vec<u16> = "*?<>\"".encode_utf16().collect();
    let is_wrong = path.iter().any(|unit| wild.contains(unit) || *unit == 0)
        || path.windows(2).any(|pair| pair == [SEPARATOR, SEPARATOR]);
    (!is_wrong && path.len() > 1).then(|| (path.to_vec(), trailing))
}

/// The server's part of a path, `\server`; there must be more.
pub(super) fn server_of(path: &[u16]) -> Option<&[u16]> {
    let end = path
        .iter()
        .skip(1)
        .position(|unit| *unit == SEPARATOR)?
        .checked_add(1)?;
    path.get(..end).filter(|server| server.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn paths_are_made_canonical() {
        let cases = [
            (r"\a\b\c", Some((r"\a\b\c", false))),
            (r"\\a\b", Some((r"\a\b", false))),
            (r"\a\b\", Some((r"\a\b", true))),
            (r"\;X:0\a\b", Some((r"\a\b", false))),
            (r"\a\\b", None),
            (r"\a\*", None),
            (r"\", None),
            ("a", None),
            ("", None),
        ];
        for (path, wanted) in cases {
            let wanted = wanted.map(|(path, trailing)| (wide(path), trailing));
            assert_eq!(canonical(&wide(path)), wanted, "{path}");
        }
    }

    #[test]
    fn a_server_needs_a_share() {
        assert_eq!(server_of(&wide(r"\a\b")), Some(wide(r"\a").as_slice()));
        assert_eq!(server_of(&wide(r"\a")), None);
    }
}
