//! Spin locks that own what they protect.

use core::{cell::UnsafeCell, mem::offset_of};

use wdk_sys::{KSPIN_LOCK, ntddk};

/// A value behind an executive spin lock.
///
/// Lock order: registry shard, transport, address, connection, circuit, stripe. No lock is held across `IofCallDriver`,
/// `IoCancelIrp`, a client callback, a wait, or a dereference of an object.
pub(crate) struct SpinLock<T> {
    lock: UnsafeCell<KSPIN_LOCK>,
    value: UnsafeCell<T>,
}

// SAFETY: The value is reached only under the lock.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// Where the value is, for debuggers.
    pub(crate) const VALUE: usize = offset_of!(Self, value);

    /// An unlocked lock around `value`; an initialised `KSPIN_LOCK` is zero ("KeInitializeSpinLock function").
    pub(crate) const fn new(value: T) -> Self {
        Self {
            lock: UnsafeCell::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `work` with the lock held, at `DISPATCH_LEVEL`.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: The lock is initialised and lives in nonpaged memory as long as `self`.
        let irql = unsafe { ntddk::KeAcquireSpinLockRaiseToDpc(self.lock.get()) };
        // SAFETY: The lock is held: nobody else has the value.
        let result = work(unsafe { &mut *self.value.get() });
        // SAFETY: The lock was acquired above, at this level, by this thread.
        unsafe { ntddk::KeReleaseSpinLock(self.lock.get(), irql) };
        result
    }
}
