//! Events, and the encoding of TraceLogging: an event that describes itself.
//!
//! The encoding is told in the sources of Microsoft's `tracelogging` crate (MIT).

use core::fmt::{self, Display, Formatter};

/// The kinds of pieces that an event is handed over in (`EVENT_DATA_DESCRIPTOR_TYPE_…` of evntprov.h).
const VALUES: u32 = 0;
const EVENT: u32 = 1;
const PROVIDER: u32 = 2;
/// Another byte with a format, or with tags, follows.
const MORE: u8 = 0x80;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The provider's name, if the event says so.
    pub provider: String,
    /// Its name; empty for an event that does not describe itself.
    pub name: String,
    /// Its level.
    pub level: u8,
    /// Its keywords.
    pub keyword: u64,
    /// Its values by name, in their order.
    pub values: Vec<(String, Value)>,
    /// The `EVENT_DESCRIPTOR`.
    pub descriptor: Vec<u8>,
    /// The provider's description.
    pub traits: Vec<u8>,
    /// What is wrong with its description.
    pub problem: Option<String>,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number without a sign.
    Number(u64),
    /// An address, or bits.
    Hexadecimal(u64),
    /// An `NTSTATUS`.
    Status(i32),
}

impl Value {
    /// The number that it is.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Number(number) | Self::Hexadecimal(number) => number,
            Self::Status(status) => status.cast_unsigned().into(),
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Hexadecimal(number) => write!(f, "{number:#x}"),
            Self::Status(status) => write!(
                f,
                "{}",
                crate::trace::status::describe(status.cast_unsigned())
            ),
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.provider, self.name)?;
        for (name, value) in &self.values {
            write!(f, " {name}={value}")?;
        }
        if let Some(problem) = &self.problem {
            write!(f, " ({problem})")?;
        }
        Ok(())
    }
}

impl Event {
    /// Reads an event out of its pieces, each with its kind.
    pub(super) fn read(
        descriptor: Vec<u8>,
        level: u8,
        keyword: u64,
        pieces: &[(u32, Vec<u8>)],
    ) -> Self {
        let all = |wanted: u32| -> Vec<u8> {
            let own = pieces.iter().filter(|(kind, _)| *kind == wanted);
            own.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
        };
        let mut event = Self {
            level,
            keyword,
            descriptor,
            traits: all(PROVIDER),
            ..Self::default()
        };
        event.problem = event.decode(&all(EVENT), &all(VALUES)).err();
        event
    }

    fn decode(&mut self, description: &[u8], values: &[u8]) -> Result<(), String> {
        let traits = self.traits.clone();
        self.provider = Reader::sized(&traits)?.text()?;
        let mut description = Reader::sized(description)?;
        // Tags, which nobody here uses.
        while description.byte()? & MORE != 0 {}
        self.name = description.text()?;
        let mut values = Reader(values);
        while !description.0.is_empty() {
            let name = description.text()?;
            let encoding = description.byte()?;
            let format = if encoding & MORE == 0 {
                0
            } else {
                description.byte()?
            };
            let value = values.value(encoding & !MORE, format)?;
            self.values.push((name, value));
        }
        if values.0.is_empty() {
            Ok(())
        } else {
            Err(format!("{} bytes that nothing describes", values.0.len()))
        }
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A description, which begins with its size.
    fn sized(bytes: &'a [u8]) -> Result<Self, String> {
        let mut reader = Self(bytes);
        let size = u16::from_le_bytes(reader.array()?);
        if usize::from(size) == bytes.len() {
            Ok(reader)
        } else {
            Err(format!(
                "a description of {} bytes says {size}",
                bytes.len()
            ))
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (first, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| format!("cut off: {N} bytes are missing"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn text(&mut self) -> Result<String, String> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let (text, rest) = self.0.split_at(end.ok_or("a name without an end")?);
        self.0 = rest.get(1..).unwrap_or_default();
        String::from_utf8(text.to_vec()).map_err(|_| "a name that is no text".to_owned())
    }

    /// A value by its encoding and format.
    fn value(&mut self, encoding: u8, format: u8) -> Result<Value, String> {
        Ok(match (encoding, format) {
            // UINT32, UINT64, HEXINT32, HEXINT64.
            (8, 0) => Value::Number(u32::from_le_bytes(self.array()?).into()),
            (10, 0) => Value::Number(u64::from_le_bytes(self.array()?)),
            (20, 14) => Value::Status(i32::from_le_bytes(self.array()?)),
            (20, 0) => Value::Hexadecimal(u32::from_le_bytes(self.array()?).into()),
            (21, 0) => Value::Hexadecimal(u64::from_le_bytes(self.array()?)),
            _ => {
                return Err(format!(
                    "encoding {encoding}, format {format} is unknown here"
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAITS: &[u8] = b"\x04\0P\0";

    fn read(description: &[u8], values: &[u8]) -> Event {
        let pieces = [
            (PROVIDER, TRAITS.to_vec()),
            (EVENT, description.to_vec()),
            (VALUES, values.to_vec()),
        ];
        Event::read(Vec::new(), 4, 1, &pieces)
    }

    #[test]
    fn an_event_describes_itself() {
        let event = read(b"\x0c\0\0E\0a\0\x08s\0\x94\x0e", b"\x07\0\0\0\x08\0\0\xC0");
        assert_eq!(event.to_string(), "P E a=7 s=STATUS_INVALID_HANDLE");
    }

    #[test]
    fn a_bad_description_is_a_problem() {
        for (description, values) in [
            (&b""[..], &b""[..]),
            (b"\x06\0\0E\0", b""),
            (b"\x08\0\0E\0a\0\x08", b"\x01"),
            (b"\x08\0\0E\0a\0\x63", b"\x01\0\0\0"),
            (b"\x05\0\0E\0", b"\x01"),
        ] {
            assert!(
                read(description, values).problem.is_some(),
                "{description:?}"
            );
        }
    }
}
