//! Locks that may be held across a wait.

use core::cell::UnsafeCell;

use super::{event::Event, irql::Pageable};

/// A value behind an event that lets one thread in. It must not move once it was initialised.
///
/// A thread that waits for it or has it must not be ended: kernel-mode waits of the driver cannot be.
pub(crate) struct Mutex<T> {
    free: Event,
    value: UnsafeCell<T>,
}

// SAFETY: The value is reached by one thread at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A lock around `value`, to be initialised where it lies.
    pub(crate) const fn uninit(value: T) -> Self {
        Self {
            free: Event::uninit(),
            value: UnsafeCell::new(value),
        }
    }

    /// Makes the lock usable.
    ///
    /// # Safety
    ///
    /// The lock does not move from now on, and nobody uses it yet.
    pub(crate) unsafe fn init(&self) {
        // SAFETY: Forwarded.
        unsafe { self.free.init_auto_reset() };
        self.free.set();
    }

    /// Runs `work` alone. It may wait; it must not take the lock again.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) fn with<R>(&self, at: &Pageable, work: impl FnOnce(&mut T) -> R) -> R {
        self.free.wait(at);
        // SAFETY: The event lets one thread in.
        let result = work(unsafe { &mut *self.value.get() });
        self.free.set();
        result
    }
}
