//! A lock of the kernel that is held across callbacks: simulated threads sleep for it.

use crate::dispatcher::Sleep;
use crate::dispatcher::host::HostEvent;

/// The lock; one thread runs with it at a time.
pub(super) struct SleepLock {
    free: HostEvent,
}

impl SleepLock {
    pub(super) fn new() -> Self {
        let free = HostEvent::auto();
        free.set();
        Self { free }
    }

    /// Runs something that no other thread runs meanwhile.
    pub(super) fn with<R>(&self, run: impl FnOnce() -> R) -> R {
        self.free.wait(Sleep::Wanted);
        let result = run();
        self.free.set();
        result
    }
}
