//! Little-endian fields: a reader over a received message and a writer into a caller's buffer.

use crate::Error;

/// Reads fields from the front of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all bytes were read.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    ///
    /// `Truncated`, as for every field.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Error::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Error::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// An octet.
    ///
    /// # Errors
    ///
    /// `Truncated`.
    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    /// 16 bits.
    ///
    /// # Errors
    ///
    /// `Truncated`.
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    /// 32 bits.
    ///
    /// # Errors
    ///
    /// `Truncated`.
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    /// 64 bits.
    ///
    /// # Errors
    ///
    /// `Truncated`.
    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string: a 16-bit length and that many bytes (usually UTF-8, which nothing here relies on).
    ///
    /// # Errors
    ///
    /// `Truncated`.
    pub fn string(&mut self) -> Result<&'a [u8], Error> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// The rest of a message whose last field is a counted run of bytes.
    ///
    /// # Errors
    ///
    /// `Truncated`.
    pub fn counted(&mut self) -> Result<&'a [u8], Error> {
        let len = usize::try_from(self.u32()?).map_err(|_| Error::Truncated)?;
        self.bytes(len)
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// `TrailingBytes`.
    pub const fn finish(self) -> Result<(), Error> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Error::TrailingBytes)
        }
    }
}

/// Writes fields to a buffer, one after the other.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the front of `buffer`.
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Bytes without a length.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`, as for every field.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let end = self.len.checked_add(bytes.len()).ok_or(Error::TooLong)?;
        let target = self
            .buffer
            .get_mut(self.len..end)
            .ok_or(Error::BufferTooSmall)?;
        target.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// An octet.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`.
    pub fn u8(&mut self, value: u8) -> Result<(), Error> {
        self.bytes(&value.to_le_bytes())
    }

    /// 16 bits.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`.
    pub fn u16(&mut self, value: u16) -> Result<(), Error> {
        self.bytes(&value.to_le_bytes())
    }

    /// 32 bits.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`.
    pub fn u32(&mut self, value: u32) -> Result<(), Error> {
        self.bytes(&value.to_le_bytes())
    }

    /// 64 bits.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`.
    pub fn u64(&mut self, value: u64) -> Result<(), Error> {
        self.bytes(&value.to_le_bytes())
    }

    /// Bytes after a 16-bit length.
    ///
    /// # Errors
    ///
    /// `TooLong`, `BufferTooSmall`.
    pub fn string(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.u16(u16::try_from(bytes.len()).map_err(|_| Error::TooLong)?)?;
        self.bytes(bytes)
    }

    /// Bytes after a 32-bit length.
    ///
    /// # Errors
    ///
    /// `TooLong`, `BufferTooSmall`.
    pub fn counted(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.u32(u32::try_from(bytes.len()).map_err(|_| Error::TooLong)?)?;
        self.bytes(bytes)
    }

    /// Returns what was written.
    ///
    /// # Errors
    ///
    /// None: it fits by construction.
    pub fn finish(self) -> Result<&'a [u8], Error> {
        self.buffer.get(..self.len).ok_or(Error::BufferTooSmall)
    }

    /// Writes the total length into the first four bytes and returns the message.
    pub(crate) fn finish_sized(self) -> Result<&'a [u8], Error> {
        let size = u32::try_from(self.len).map_err(|_| Error::TooLong)?;
        let message = self
            .buffer
            .get_mut(..self.len)
            .ok_or(Error::BufferTooSmall)?;
        message
            .first_chunk_mut::<4>()
            .ok_or(Error::BufferTooSmall)?
            .copy_from_slice(&size.to_le_bytes());
        Ok(message)
    }
}
