//! State behind a spin lock which threads can wait upon: a condition variable for a kernel that has none.
//!
//! Every update wakes every waiter; each looks again under the lock. No wake-up can be lost, because a waiter enters
//! itself in the hold in which it found its condition false.

use core::cell::UnsafeCell;

use wdk_sys::{KEVENT, KSPIN_LOCK, ntddk};

use super::event::wait_for;

const WAITERS: usize = 8;

/// State with a lock and its waiters.
pub(crate) struct Watch<T> {
    lock: UnsafeCell<KSPIN_LOCK>,
    inner: UnsafeCell<Inner<T>>,
}

struct Inner<T> {
    state: T,
    waiters: [*mut KEVENT; WAITERS],
}

// SAFETY: `inner` is reached only with `lock` held.
unsafe impl<T: Send> Sync for Watch<T> {}

impl<T> Watch<T> {
    /// Free, and without waiters.
    pub(crate) const fn new(state: T) -> Self {
        let inner = Inner {
            state,
            waiters: [core::ptr::null_mut(); WAITERS],
        };
        // A spin lock that is free is zero (KeInitializeSpinLock).
        Self {
            lock: UnsafeCell::new(0),
            inner: UnsafeCell::new(inner),
        }
    }

    fn hold<R>(&self, body: impl FnOnce(&mut Inner<T>) -> R) -> R {
        // SAFETY: The lock lives as long as `self`, in nonpaged memory; callers are at or below DISPATCH_LEVEL.
        let irql = unsafe { ntddk::KeAcquireSpinLockRaiseToDpc(self.lock.get()) };
        // SAFETY: The lock is held, so this is the only reference.
        let result = body(unsafe { &mut *self.inner.get() });
        // SAFETY: Acquired above, at this level.
        unsafe { ntddk::KeReleaseSpinLock(self.lock.get(), irql) };
        result
    }

    /// Looks at the state.
    pub(crate) fn read<R>(&self, body: impl FnOnce(&T) -> R) -> R {
        self.hold(|inner| body(&inner.state))
    }

    /// Changes the state and wakes the waiters.
    pub(crate) fn update<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        self.hold(|inner| {
            let result = body(&mut inner.state);
            for &waiter in inner.waiters.iter().filter(|waiter| !waiter.is_null()) {
                // SAFETY: A waiter is on its waiting thread's stack, and leaves under this lock before it goes.
                unsafe { ntddk::KeSetEvent(waiter, 0, 0) };
            }
            result
        })
    }

    /// Waits until `condition` holds, for at most `limit`; tells whether it does.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`.
    pub(crate) fn wait_until(&self, limit: i64, mut condition: impl FnMut(&T) -> bool) -> bool {
        let mut event = KEVENT::default();
        // SAFETY: A local of the right type; a kernel-mode wait keeps this stack resident. 1 = synchronisation event.
        unsafe { ntddk::KeInitializeEvent(&raw mut event, 1, 0) };
        loop {
            let met = self.hold(|inner| {
                if condition(&inner.state) {
                    return true;
                }
                if let Some(slot) = inner.waiters.iter_mut().find(|slot| slot.is_null()) {
                    *slot = &raw mut event;
                }
                false
            });
            if met {
                return true;
            }
            // SAFETY: The event is initialised and lives on this stack.
            let woken = unsafe { wait_for((&raw mut event).cast(), limit) };
            let met = self.hold(|inner| {
                for slot in inner
                    .waiters
                    .iter_mut()
                    .filter(|slot| **slot == &raw mut event)
                {
                    *slot = core::ptr::null_mut();
                }
                condition(&inner.state)
            });
            if met || !woken {
                return met;
            }
        }
    }
}
