//! Finds one reply in a byte stream that arrives in arbitrary pieces.
//!
//! A driver is told of received bytes at DISPATCH_LEVEL, as many as the transport likes. The [`Assembler`] copies what
//! belongs to the reply of the outstanding request; the data of an `Rread`, and of an `Rreaddir` with a destination, go there,
//! everything else to a reply buffer. When it knows that only file data are missing it says so, and the driver may have the transport
//! write them in place.

use crate::{Error, HEADER_LEN, Header, Kind, READ_OVERHEAD, wire::Reader};

/// Progress of one reply.
#[derive(Clone, Debug)]
pub struct Assembler {
    tag: u16,
    kind: Kind,
    wanted: usize,
    /// Bytes of the message in the reply buffer.
    fixed: usize,
    /// Bytes of the message, once the header is there.
    size: Option<usize>,
    /// Length of the file data, once the count is there.
    data: Option<usize>,
    copied: usize,
}

/// What one call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that were used up.
    pub taken: usize,
    /// What the reply still needs.
    pub next: Next,
}

/// What a reply still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes through [`Assembler::feed`].
    Bytes,
    /// Only file data are missing: `missing` bytes for the destination, from `offset` on.
    Data {
        /// Where the next byte belongs in the destination.
        offset: usize,
        /// How many bytes are missing.
        missing: usize,
    },
    /// Nothing: the reply is complete.
    Nothing,
}

impl Assembler {
    /// Starts to wait for the answer of type `kind` (or an `Rlerror`) with this tag. An `Rread` may carry up to
    /// `wanted` bytes; so may an `Rreaddir`, unless `wanted` is 0: its entries then stay in the reply.
    #[must_use]
    pub const fn new(tag: u16, kind: Kind, wanted: usize) -> Self {
        Self {
            tag,
            kind,
            wanted,
            fixed: 0,
            size: None,
            data: None,
            copied: 0,
        }
    }

    /// Uses bytes from the stream. `reply` and `destination` must be the same buffers in every call.
    ///
    /// # Errors
    ///
    /// The stream is unusable after an error: `BadSize`, `UnexpectedKind`, `UnexpectedTag`, `TooMuchData`, or
    /// `BufferTooSmall` if the message does not fit in `reply`.
    pub fn feed(
        &mut self,
        input: &[u8],
        reply: &mut [u8],
        destination: &mut [u8],
    ) -> Result<Step, Error> {
        self.advance(input, reply, Some(destination))
    }

    /// As [`Self::feed`], but stops in front of file data, so that the caller can choose who copies them.
    ///
    /// # Errors
    ///
    /// As [`Self::feed`].
    pub fn feed_up_to_data(&mut self, input: &[u8], reply: &mut [u8]) -> Result<Step, Error> {
        self.advance(input, reply, None)
    }

    fn advance(
        &mut self,
        input: &[u8],
        reply: &mut [u8],
        mut destination: Option<&mut [u8]>,
    ) -> Result<Step, Error> {
        let mut input = Reader::new(input);
        let mut taken = 0_usize;
        loop {
            let target = match (self.next()?, destination.as_deref_mut()) {
                (Next::Nothing, _) | (Next::Data { .. }, None) => break,
                (Next::Data { offset, missing }, Some(destination)) => {
                    let end = offset.checked_add(missing).ok_or(Error::TooLong)?;
                    destination.get_mut(offset..end)
                }
                (Next::Bytes, _) => reply.get_mut(self.fixed..self.goal()),
            }
            .ok_or(Error::BufferTooSmall)?;
            let count = target.len().min(input.remaining());
            if count == 0 {
                break;
            }
            let (target, _) = target
                .split_at_mut_checked(count)
                .ok_or(Error::BufferTooSmall)?;
            target.copy_from_slice(input.bytes(count)?);
            taken = taken.saturating_add(count);
            if self.data.is_some() {
                self.copied = self.copied.saturating_add(count);
            } else {
                self.fixed = self.fixed.saturating_add(count);
                self.look(reply)?;
            }
        }
        Ok(Step {
            taken,
            next: self.next()?,
        })
    }

    /// Records that the transport wrote `count` bytes of file data in place.
    ///
    /// # Errors
    ///
    /// `TooMuchData` if that is more than was missing.
    pub fn written(&mut self, count: usize) -> Result<Next, Error> {
        match self.next()? {
            Next::Data { missing, .. } if count <= missing => {
                self.copied = self.copied.saturating_add(count)
            }
            _ => return Err(Error::TooMuchData(u32::try_from(count).unwrap_or(u32::MAX))),
        }
        self.next()
    }

    /// The part of the message that is in the reply buffer: all of it, but for the data of an `Rread`.
    #[must_use]
    pub const fn reply_len(&self) -> usize {
        self.fixed
    }

    /// Bytes of file data in the destination.
    #[must_use]
    pub const fn data_len(&self) -> usize {
        self.copied
    }

    fn next(&self) -> Result<Next, Error> {
        if let Some(data) = self.data {
            let missing = data.checked_sub(self.copied).ok_or(Error::TooLong)?;
            return Ok(if missing == 0 {
                Next::Nothing
            } else {
                Next::Data {
                    offset: self.copied,
                    missing,
                }
            });
        }
        Ok(if self.size == Some(self.fixed) {
            Next::Nothing
        } else {
            Next::Bytes
        })
    }

    /// How many bytes the reply buffer must hold before the next decision.
    const fn goal(&self) -> usize {
        match self.size {
            None => HEADER_LEN,
            Some(_) if self.reads_data() && self.fixed < READ_OVERHEAD => READ_OVERHEAD,
            Some(size) => size,
        }
    }

    const fn reads_data(&self) -> bool {
        match self.kind {
            Kind::Rread => true,
            Kind::Rreaddir => self.wanted > 0,
            _ => false,
        }
    }

    /// Decides what the bytes in the reply buffer say, at the header and at the count of an `Rread`.
    fn look(&mut self, reply: &[u8]) -> Result<(), Error> {
        if self.size.is_none() {
            if self.fixed < HEADER_LEN {
                return Ok(());
            }
            self.header(Header::decode(reply)?, reply.len())?;
        }
        if self.reads_data() && self.fixed == READ_OVERHEAD {
            let mut reader = Reader::new(reply);
            reader.bytes(HEADER_LEN)?;
            let count = reader.u32()?;
            let data = usize::try_from(count).map_err(|_| Error::TooMuchData(count))?;
            if data > self.wanted {
                return Err(Error::TooMuchData(count));
            }
            if data.checked_add(READ_OVERHEAD) != self.size {
                return Err(Error::BadSize(count));
            }
            self.data = Some(data);
        }
        Ok(())
    }

    fn header(&mut self, header: Header, room: usize) -> Result<(), Error> {
        if header.tag != self.tag {
            return Err(Error::UnexpectedTag(header.tag));
        }
        if header.kind != self.kind {
            if header.kind != Kind::Rlerror {
                return Err(Error::UnexpectedKind(header.kind as u8));
            }
            // A refusal is decoded like any small message.
            self.kind = Kind::Rlerror;
        }
        let size = usize::try_from(header.size).map_err(|_| Error::BadSize(header.size))?;
        let (least, most) = if self.reads_data() {
            (READ_OVERHEAD, self.wanted.saturating_add(READ_OVERHEAD))
        } else {
            (HEADER_LEN, room)
        };
        if size < least || size > most {
            return Err(Error::BadSize(header.size));
        }
        self.size = Some(size);
        Ok(())
    }
}
