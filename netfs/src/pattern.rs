//! Patterns of directory queries, with the wildcards that `FsRtlIsNameInExpression` documents.
//!
//! `*` and `?` as everybody knows them; `<` any characters up to the last dot, `>` one character, or none in front of a dot or at
//! the end, `"` a dot, or nothing at the end: what `*`, `?` and `.` of the old DOS patterns become.
//!
//! Case: a pattern with wildcards ignores it, as programs expect of `*.TXT`; one without wildcards is a name, and names
//! are the server's ([`crate::name`]).

/// The longest pattern.
pub const MOST_UNITS: usize = 255;

const STAR: u16 = b'*' as u16;
const QUESTION: u16 = b'?' as u16;
const DOS_STAR: u16 = b'<' as u16;
const DOS_QUESTION: u16 = b'>' as u16;
const DOS_DOT: u16 = b'"' as u16;
const DOT: u16 = b'.' as u16;

/// Whether a pattern fits every name.
#[must_use]
pub fn is_everything(pattern: &[u16]) -> bool {
    matches!(pattern, [] | [STAR])
}

/// Whether a pattern has wildcards.
#[must_use]
pub fn has_wildcards(pattern: &[u16]) -> bool {
    pattern
        .iter()
        .any(|unit| matches!(*unit, STAR | QUESTION | DOS_STAR | DOS_QUESTION | DOS_DOT))
}

/// Whether a name fits a pattern. A pattern that is too long fits nothing.
#[must_use]
pub fn fits(pattern: &[u16], name: &[u16]) -> bool {
    if is_everything(pattern) {
        return true;
    }
    if !has_wildcards(pattern) {
        return pattern == name;
    }
    if pattern.len() > MOST_UNITS {
        return false;
    }
    let last_dot = name.iter().rposition(|unit| *unit == DOT);
    let mut states = Set::default();
    states.insert(0);
    for (at, unit) in name.iter().enumerate() {
        states.close(pattern, *unit == DOT);
        let mut next = Set::default();
        for (index, wanted) in pattern.iter().enumerate() {
            if !states.contains(index) {
                continue;
            }
            let after = index.saturating_add(1);
            match *wanted {
                STAR => next.insert(index),
                DOS_STAR if last_dot == Some(at) => {}
                DOS_STAR => next.insert(index),
                QUESTION => next.insert(after),
                DOS_QUESTION if *unit != DOT => next.insert(after),
                DOS_QUESTION => {}
                DOS_DOT if *unit == DOT => next.insert(after),
                DOS_DOT => {}
                other if upper(other) == upper(*unit) => next.insert(after),
                _ => {}
            }
        }
        states = next;
    }
    states.close(pattern, true);
    // At the end, dots that may be missing are.
    for (index, wanted) in pattern.iter().enumerate() {
        if *wanted == DOS_DOT && states.contains(index) {
            states.insert(index.saturating_add(1));
        }
        if states.contains(index) && matches!(*wanted, STAR | DOS_STAR | DOS_QUESTION) {
            states.insert(index.saturating_add(1));
        }
    }
    states.contains(pattern.len())
}

/// The places of a pattern at which a name may be.
#[derive(Clone, Copy, Default)]
struct Set([u64; 4]);

const _: () = assert!(MOST_UNITS < 256);

impl Set {
    fn bit(index: usize) -> u64 {
        u32::try_from(index & 63).map_or(0, |shift| 1_u64.wrapping_shl(shift))
    }

    fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index >> 6) {
            *word |= Self::bit(index);
        }
    }

    fn contains(&self, index: usize) -> bool {
        self.0
            .get(index >> 6)
            .is_some_and(|word| word & Self::bit(index) != 0)
    }

    /// Adds what can be reached without a character, when the next one is a dot or there is none.
    fn close(&mut self, pattern: &[u16], at_dot: bool) {
        for (index, wanted) in pattern.iter().enumerate() {
            let may_skip = match *wanted {
                STAR | DOS_STAR => true,
                DOS_QUESTION => at_dot,
                _ => false,
            };
            if may_skip && self.contains(index) {
                self.insert(index.saturating_add(1));
            }
        }
    }
}

/// The upper case of a character that has one of the same length.
fn upper(unit: u16) -> u16 {
    if let Ok(byte) = u8::try_from(unit)
        && byte.is_ascii()
    {
        return u16::from(byte.to_ascii_uppercase());
    }
    let Some(character) = char::from_u32(u32::from(unit)) else {
        return unit;
    };
    let mut letters = character.to_uppercase();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => u16::try_from(u32::from(letter)).unwrap_or(unit),
        _ => unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    fn check(pattern: &str, name: &str) -> bool {
        let wide = |text: &str| -> Vec<u16> { text.encode_utf16().collect() };
        fits(&wide(pattern), &wide(name))
    }

    #[test]
    fn usual_patterns() {
        for (pattern, name, expected) in [
            ("*", "anything", true),
            ("", "anything", true),
            ("*.TXT", "readme.txt", true),
            ("*.txt", "readme.TXT.bak", false),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("??", "ab", true),
            ("??", "a", false),
            ("??", "abc", false),
            ("ÄÖ*", "äöü", true),
            ("*.*", "noext", false),
            ("***a***", "a", true),
            // Without wildcards a pattern is a name.
            ("readme", "readme", true),
            ("README", "readme", false),
        ] {
            assert_eq!(check(pattern, name), expected, "{pattern} {name}");
        }
    }

    /// What Win32 makes of `*.`, `*.*`, `???.t` and the like.
    #[test]
    fn dos_patterns() {
        for (pattern, name, expected) in [
            ("<", "noext", true),
            ("<", "with.ext", false),
            ("<.txt", "a.b.txt", true),
            ("<.txt", "a.txt.b", false),
            ("*\"", "noext", true),
            (">>>.txt", "ab.txt", true),
            (">>>.txt", "abcd.txt", false),
            (">>>", "ab", true),
            ("a\"", "a", true),
            ("a\"", "a.", true),
            ("a\"b", "a.b", true),
            ("a\"b", "ab", false),
            ("<\"*", "noext", true),
            ("<\"*", "with.ext", true),
        ] {
            assert_eq!(check(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_that_is_too_long_fits_nothing() {
        let long: Vec<u16> = core::iter::repeat_n(STAR, MOST_UNITS).collect();
        assert!(fits(&long, &[65]));
        let long: Vec<u16> = core::iter::repeat_n(STAR, MOST_UNITS + 1).collect();
        assert!(!fits(&long, &[65]));
    }
}
