//! Bytes that the client has refused after a redelivery fetched them: they wait for the next indication.

use core::cell::UnsafeCell;

use rxce_engine::{Error, receive::Room};

use crate::nt::{
    mdl::Mdl,
    pool::{Bytes, Tag},
};

/// Redelivery buffers.
const TAG: Tag = Tag::new(*b"RxRd");

/// How much a redelivery fetches at most.
const CAPACITY: usize = 4096;

/// The backlog of one stream, for whoever has its guard.
pub(super) struct Backlog(UnsafeCell<Waiting>);

/// The bytes that wait, at the front of the buffer.
pub(super) struct Waiting {
    buffer: Option<Bytes>,
    length: usize,
}

impl Backlog {
    /// An empty backlog, without a buffer.
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(Waiting {
            buffer: None,
            length: 0,
        }))
    }

    /// The bytes.
    ///
    /// # Safety
    ///
    /// The caller has the guard of the stream, and uses one such reference at a time.
    #[expect(
        clippy::mut_from_ref,
        reason = "the guard of the stream makes the access exclusive"
    )]
    pub(super) unsafe fn get(&self) -> &mut Waiting {
        // SAFETY: Forwarded.
        unsafe { &mut *self.0.get() }
    }
}

impl Waiting {
    /// Whether nothing waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether more can be fetched.
    pub(super) const fn room(&self) -> Room {
        if self.length < CAPACITY {
            Room::Left
        } else {
            Room::None
        }
    }

    /// The bytes that wait.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer
            .as_ref()
            .and_then(|buffer| buffer.get(..self.length))
            .unwrap_or(&[])
    }

    /// Copies as many bytes behind the others as fit; says how many.
    pub(super) fn append(&mut self, bytes: &[u8]) -> u32 {
        let free = self
            .buffer
            .as_mut()
            .and_then(|buffer| buffer.get_mut(self.length..))
            .unwrap_or(&mut []);
        let count = bytes.len().min(free.len());
        for (to, from) in free.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.length = self.length.saturating_add(count);
        u32::try_from(count).unwrap_or(0)
    }

    /// Drops the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        let length = self.length;
        if let Some(waiting) = self
            .buffer
            .as_mut()
            .and_then(|buffer| buffer.get_mut(..length))
        {
            let count = count.min(length);
            waiting.rotate_left(count);
            self.length = length.saturating_sub(count);
        }
    }

    /// An MDL over the free part of the buffer, which is allocated if there is none; and that part's length.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(super) fn free_part(&mut self) -> Result<(Mdl, u32), Error> {
        let length = self.length;
        let buffer = match &mut self.buffer {
            Some(buffer) => buffer,
            none => none.insert(Bytes::new(CAPACITY, TAG)?),
        };
        let free = buffer
            .get_mut(length..)
            .ok_or(Error::InsufficientResources)?;
        let count = u32::try_from(free.len()).map_err(|_| Error::InvalidParameter)?;
        // SAFETY: The buffer is nonpaged pool and lives as long as the circuit, which outlives every request.
        let mdl = unsafe { Mdl::of_pool(free.as_mut_ptr(), count) }?;
        Ok((mdl, count))
    }

    /// Notes that `count` bytes arrived in the free part.
    pub(super) fn arrived(&mut self, count: usize) {
        self.length = self.length.saturating_add(count).min(CAPACITY);
    }
}
