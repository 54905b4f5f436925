//! Who still has a part of a request: its completion, its submitter, its canceller. The last one to give his up has it alone.

use core::sync::atomic::{AtomicU32, Ordering};

/// The atomic word behind [`Parts`]: the processor's, or that of a model checker.
pub trait Word {
    /// Reads it.
    fn load(&self, order: Ordering) -> u32;
    /// Writes it.
    fn store(&self, value: u32, order: Ordering);
    /// Adds to it; what it was.
    fn fetch_add(&self, value: u32, order: Ordering) -> u32;
    /// Subtracts from it; what it was.
    fn fetch_sub(&self, value: u32, order: Ordering) -> u32;
}

impl Word for AtomicU32 {
    fn load(&self, order: Ordering) -> u32 {
        self.load(order)
    }

    fn store(&self, value: u32, order: Ordering) {
        self.store(value, order);
    }

    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.fetch_add(value, order)
    }

    fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.fetch_sub(value, order)
    }
}

/// A number of parts. What their holders did to the request before they gave them up, the last one sees, and after him whoever finds
/// that nobody has one.
#[derive(Debug)]
pub struct Parts<W = AtomicU32>(W);

impl Parts {
    /// Nobody has one.
    #[must_use]
    pub const fn none() -> Self {
        Self::of(AtomicU32::new(0))
    }
}

impl<W: Word> Parts<W> {
    /// As many as a word says.
    pub const fn of(word: W) -> Self {
        Self(word)
    }

    /// Hands out the first parts of a request that nobody else knows.
    pub fn begin(&self, parts: u32) {
        self.0.store(parts, Ordering::Release);
    }

    /// Whether nobody has one. Who knows that nobody will hand out new ones has the request alone then.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    /// Hands out another one. Somebody has a part, and keeps it until this returns.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a part back; `true` for the last one. The only one left needs no locked instruction: nobody else has a part that he could
    /// [`add`](Self::add) to.
    #[must_use]
    pub fn give_up(&self) -> bool {
        if self.0.load(Ordering::Acquire) == 1 {
            self.0.store(0, Ordering::Release);
            return true;
        }
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
