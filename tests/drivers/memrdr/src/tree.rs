//! The file system: the root with a few files, and one directory.

use memrdr_ioctl::{BIG, BIG_BYTES, DIRECTORY, FILES, HELLO, HELLO_BYTES, STUCK, big_byte};

/// A file or directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Root,
    Hello,
    Big,
    Stuck,
    Directory,
    /// A file of the directory.
    Numbered(u32),
}

/// Whether characters are this text.
pub(crate) fn is_ascii(characters: &[u16], text: &str) -> bool {
    characters.len() == text.len()
        && characters
            .iter()
            .zip(text.bytes())
            .all(|(unit, byte)| *unit == u16::from(byte))
}

/// The decimal digits of a number, and how many there are.
pub(crate) fn digits(mut number: u32) -> ([u8; 10], usize) {
    let mut reversed = [0; 10];
    let mut length = 0;
    for place in &mut reversed {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    let mut digits = [0; 10];
    for (to, from) in digits.iter_mut().zip(reversed.iter().take(length).rev()) {
        *to = *from;
    }
    (digits, length)
}

impl Node {
    /// What a name inside the share means: `\dir\17`; the root is empty.
    pub(crate) fn find(name: &[u16]) -> Option<Self> {
        let separator = u16::from(b'\\');
        let mut parts = name.split(|unit| *unit == separator).skip(1);
        let Some(first) = parts.next() else {
            return Some(Self::Root);
        };
        let node = [
            (HELLO, Self::Hello),
            (BIG, Self::Big),
            (STUCK, Self::Stuck),
            (DIRECTORY, Self::Directory),
        ]
        .into_iter()
        .find(|(text, _)| is_ascii(first, text))?
        .1;
        match (node, parts.next(), parts.next()) {
            (node, None, _) => Some(node),
            (Self::Directory, Some(second), None) => (0..FILES).find_map(|number| {
                let (digits, length) = digits(number);
                let text = core::str::from_utf8(digits.get(..length)?).ok()?;
                is_ascii(second, text).then_some(Self::Numbered(number))
            }),
            _ => None,
        }
    }

    /// A number for it, never 0.
    pub(crate) fn id(self) -> usize {
        match self {
            Self::Root => 1,
            Self::Hello => 2,
            Self::Big => 3,
            Self::Stuck => 4,
            Self::Directory => 5,
            Self::Numbered(number) => 100 + number as usize,
        }
    }

    /// The file with a number.
    pub(crate) fn of_id(id: usize) -> Option<Self> {
        match id {
            1 => Some(Self::Root),
            2 => Some(Self::Hello),
            3 => Some(Self::Big),
            4 => Some(Self::Stuck),
            5 => Some(Self::Directory),
            100.. => u32::try_from(id - 100).ok().map(Self::Numbered),
            _ => None,
        }
    }

    /// The entry of a directory at a position.
    pub(crate) fn child(self, position: usize) -> Option<Self> {
        match self {
            Self::Root => [Self::Hello, Self::Big, Self::Stuck, Self::Directory]
                .get(position)
                .copied(),
            Self::Directory => u32::try_from(position)
                .ok()
                .filter(|number| *number < FILES)
                .map(Self::Numbered),
            _ => None,
        }
    }

    pub(crate) fn is_directory(self) -> bool {
        matches!(self, Self::Root | Self::Directory)
    }

    /// Its name, as bytes, and their number.
    pub(crate) fn name(self) -> ([u8; 10], usize) {
        let text = match self {
            Self::Root => "",
            Self::Hello => HELLO,
            Self::Big => BIG,
            Self::Stuck => STUCK,
            Self::Directory => DIRECTORY,
            Self::Numbered(number) => return digits(number),
        };
        let mut name = [0; 10];
        for (to, from) in name.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        (name, text.len())
    }

    /// How many bytes it has.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Root | Self::Directory => 0,
            Self::Hello => HELLO_BYTES.len() as u64,
            Self::Big | Self::Stuck => BIG_BYTES,
            Self::Numbered(number) => digits(number).1 as u64,
        }
    }

    /// A byte of it.
    pub(crate) fn byte(self, at: u64) -> u8 {
        let of = |bytes: &[u8]| {
            usize::try_from(at)
                .ok()
                .and_then(|at| bytes.get(at).copied())
                .unwrap_or(0)
        };
        match self {
            Self::Hello => of(HELLO_BYTES),
            Self::Numbered(number) => of(&digits(number).0),
            _ => big_byte(at),
        }
    }
}
