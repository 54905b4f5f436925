//! Bytes that the client has refused after a redelivery fetched them: they wait for the next indication.

use core::cell::UnsafeCell;

use rxce_engine::{Error, receive::Room};

use crate::nt::{
    mdl::Mdl,
    pool::{PoolBox, Pooled, Tag, Zeroed},
};

/// How much a redelivery fetches at most.
const CAPACITY: usize = 4096;

/// The backlog of one stream, for whoever has its guard.
pub(super) struct Backlog(UnsafeCell<Waiting>);

/// The bytes that wait, once there were some.
pub(super) struct Waiting(Option<PoolBox<Buffer>>);

/// The bytes that wait, at the front.
struct Buffer {
    length: usize,
    bytes: [u8; CAPACITY],
}

impl Pooled for Buffer {
    const TAG: Tag = Tag::new(*b"RxRd");
}

// SAFETY: Numbers.
unsafe impl Zeroed for Buffer {}

impl Backlog {
    /// An empty backlog, without a buffer.
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(Waiting(None)))
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
    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Whether more can be fetched.
    pub(super) fn room(&self) -> Room {
        if self.bytes().len() < CAPACITY {
            Room::Left
        } else {
            Room::None
        }
    }

    /// The bytes that wait.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0
            .as_ref()
            .and_then(|buffer| buffer.bytes.get(..buffer.length))
            .unwrap_or(&[])
    }

    /// Copies as many bytes behind the others as fit; says how many.
    pub(super) fn append(&mut self, bytes: &[u8]) -> u32 {
        let Some(buffer) = self.0.as_mut() else {
            return 0;
        };
        let length = buffer.length;
        let free = buffer.bytes.get_mut(length..).unwrap_or(&mut []);
        let count = bytes.len().min(free.len());
        for (to, from) in free.iter_mut().zip(bytes) {
            *to = *from;
        }
        buffer.length = length.saturating_add(count);
        u32::try_from(count).unwrap_or(0)
    }

    /// Drops the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        let Some(buffer) = self.0.as_mut() else {
            return;
        };
        let length = buffer.length;
        if let Some(waiting) = buffer.bytes.get_mut(..length) {
            let count = count.min(length);
            waiting.rotate_left(count);
            buffer.length = length.saturating_sub(count);
        }
    }

    /// An MDL over the free part of the buffer, which is allocated if there is none; and that part's length.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(super) fn free_part(&mut self) -> Result<(Mdl, u32), Error> {
        let buffer = match &mut self.0 {
            Some(buffer) => buffer,
            none => none.insert(PoolBox::zeroed()?),
        };
        let length = buffer.length;
        let free = buffer
            .bytes
            .get_mut(length..)
            .ok_or(Error::InsufficientResources)?;
        let count = u32::try_from(free.len()).map_err(|_| Error::InvalidParameter)?;
        // SAFETY: The buffer is nonpaged pool and lives as long as the circuit, which outlives every request.
        let mdl = unsafe { Mdl::of_pool(free.as_mut_ptr(), count) }?;
        Ok((mdl, count))
    }

    /// Notes that `count` bytes arrived in the free part.
    pub(super) fn arrived(&mut self, count: usize) {
        if let Some(buffer) = self.0.as_mut() {
            buffer.length = buffer.length.saturating_add(count).min(CAPACITY);
        }
    }
}
