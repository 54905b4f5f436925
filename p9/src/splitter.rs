//! Finds where messages begin in a byte stream of many, for clients with several requests under way.

use crate::{Error, HEADER_LEN, Header};

/// Collects the header of the next message. Whoever waits for the message's tag then gets the header's bytes, and what
/// follows in the stream until its [`crate::Assembler`] has all.
#[derive(Clone, Debug)]
pub struct Splitter {
    bytes: [u8; HEADER_LEN],
    collected: usize,
}

/// What one call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Bytes of the input that were used up.
    pub taken: usize,
    /// The header, once it is whole; the next call begins the next one.
    pub header: Option<([u8; HEADER_LEN], Header)>,
}

impl Splitter {
    /// Starts in front of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; HEADER_LEN],
            collected: 0,
        }
    }

    /// Uses bytes from the stream, at most up to the end of a header.
    ///
    /// # Errors
    ///
    /// `BadSize`, `UnexpectedKind`: the stream is unusable.
    pub fn feed(&mut self, input: &[u8]) -> Result<Split, Error> {
        let free = self.bytes.get_mut(self.collected..).unwrap_or_default();
        let taken = free.len().min(input.len());
        for (to, from) in free.iter_mut().zip(input) {
            *to = *from;
        }
        self.collected = self.collected.saturating_add(taken);
        let header = if self.collected < HEADER_LEN {
            None
        } else {
            self.collected = 0;
            Some((self.bytes, Header::decode(&self.bytes)?))
        };
        Ok(Split { taken, header })
    }
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Assembler, Kind, Next};

    extern crate std;
    use std::vec::Vec;

    #[test]
    fn answers_to_two_requests_are_told_apart_in_pieces_of_any_size() {
        let stream =
            b"\x0c\0\0\0\x75\x02\0\x01\0\0\0z\x07\0\0\0\x79\x01\0\x0b\0\0\0\x07\x03\0\x02\0\0\0";
        for piece in 1..=stream.len() {
            let mut splitter = Splitter::new();
            let mut current: Option<(u16, Assembler)> = None;
            let (mut reply, mut data) = ([0; 32], [0; 4]);
            let mut seen = Vec::new();
            for mut input in stream.chunks(piece) {
                while !input.is_empty() {
                    let taken = if let Some((tag, assembler)) = &mut current {
                        let step = assembler.feed(input, &mut reply, &mut data).unwrap();
                        if step.next == Next::Nothing {
                            seen.push((*tag, assembler.reply_len(), assembler.data_len()));
                            current = None;
                        }
                        step.taken
                    } else {
                        let split = splitter.feed(input).unwrap();
                        if let Some((bytes, header)) = split.header {
                            let kind = [Kind::Rclunk, Kind::Rread, Kind::Rgetattr]
                                [usize::from(header.tag) - 1];
                            let mut assembler = Assembler::new(header.tag, kind, 4);
                            let step = assembler.feed(&bytes, &mut reply, &mut data).unwrap();
                            if step.next == Next::Nothing {
                                seen.push((header.tag, assembler.reply_len(), 0));
                            } else {
                                current = Some((header.tag, assembler));
                            }
                        }
                        split.taken
                    };
                    input = &input[taken..];
                }
            }
            assert_eq!(
                seen,
                [(2, 11, 1), (1, 7, 0), (3, 11, 0)],
                "pieces of {piece}"
            );
            assert_eq!(data[0], b'z');
        }
    }

    #[test]
    fn garbage_is_refused() {
        let refused = Splitter::new().feed(b"HTTP/1.1 400");
        assert_eq!(refused, Err(Error::UnexpectedKind(b'/')));
        assert_eq!(
            Splitter::new().feed(b"\x06\0\0\0\x79\0\0"),
            Err(Error::BadSize(6))
        );
    }
}
