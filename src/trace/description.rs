//! Descriptions of events and of their provider, made at compile time: TraceLogging's encoding.
//!
//! It is told in the sources of Microsoft's `tracelogging` crate (MIT): a size of two bytes that counts itself, in an event one byte of
//! tags, then names, each with a zero behind it; behind the name of a value its type in the event and, if the bit 0x80 is set there,
//! how to show it.

/// The type of a value.
#[derive(Clone, Copy)]
pub(super) struct Type {
    /// What lies in the event.
    encoding: u8,
    /// How it is shown, if not in the usual way.
    format: Option<u8>,
}

impl Type {
    /// `UINT32`.
    pub(super) const NUMBER: Self = Self::plain(8);
    /// `UINT64`.
    pub(super) const COUNT: Self = Self::plain(10);
    /// `HEXINT32`.
    pub(super) const FLAGS: Self = Self::plain(20);
    /// `HEXINT64`: pointers have 64 bits wherever this driver runs.
    pub(super) const POINTER: Self = Self::plain(21);
    /// `HEXINT32`, shown as an `NTSTATUS`.
    pub(super) const STATUS: Self = Self {
        encoding: 20,
        format: Some(14),
    };

    const fn plain(encoding: u8) -> Self {
        Self {
            encoding,
            format: None,
        }
    }
}

/// A value's name and type.
pub(super) type Value = (&'static str, Type);

/// How long a provider's description is.
pub(super) const fn length_of_provider(name: &str) -> usize {
    2 + name.len() + 1
}

/// A provider's description.
pub(super) const fn provider<const N: usize>(name: &str) -> [u8; N] {
    let mut out = Writer::new();
    out.text(name);
    out.finish()
}

/// How long an event's description is.
pub(super) const fn length_of_event(name: &str, values: &[Value]) -> usize {
    let mut length = 2 + 1 + name.len() + 1;
    let mut rest = values;
    while let [(name, kind), others @ ..] = rest {
        length += name.len() + 1 + 1 + kind.format.is_some() as usize;
        rest = others;
    }
    length
}

/// An event's description.
pub(super) const fn event<const N: usize>(name: &str, values: &[Value]) -> [u8; N] {
    let mut out = Writer::new();
    out.byte(0);
    out.text(name);
    let mut rest = values;
    while let [(name, kind), others @ ..] = rest {
        out.text(name);
        match kind.format {
            None => out.byte(kind.encoding),
            Some(format) => {
                out.byte(kind.encoding | 0x80);
                out.byte(format);
            }
        }
        rest = others;
    }
    out.finish()
}

struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    const fn new() -> Self {
        assert!(N <= u16::MAX as usize, "too long");
        let [low, high, ..] = N.to_le_bytes();
        let mut out = Self {
            bytes: [0; N],
            at: 0,
        };
        out.byte(low);
        out.byte(high);
        out
    }

    const fn byte(&mut self, byte: u8) {
        self.bytes[self.at] = byte;
        self.at += 1;
    }

    const fn text(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let [byte, others @ ..] = rest {
            assert!(*byte != 0, "a zero ends the name");
            self.byte(*byte);
            rest = others;
        }
        self.byte(0);
    }

    const fn finish(self) -> [u8; N] {
        assert!(self.at == N, "not the length that was asked for");
        self.bytes
    }
}
