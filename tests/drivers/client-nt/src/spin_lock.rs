//! A spin lock that owns its data.

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use wdk_sys::{
    KIRQL, KSPIN_LOCK,
    ntddk::{KeAcquireSpinLockRaiseToDpc, KeReleaseSpinLock},
};

/// A value behind a kernel spin lock. It must lie in nonpaged memory.
pub struct SpinLock<T> {
    lock: UnsafeCell<KSPIN_LOCK>,
    value: UnsafeCell<T>,
}

// SAFETY: The lock lets one processor at a time reach the value.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A free lock (which is all zero: `KeInitializeSpinLock` of wdm.h stores 0).
    pub const fn new(value: T) -> Self {
        Self {
            lock: UnsafeCell::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the lock and raises the IRQL to `DISPATCH_LEVEL` until the guard goes.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub fn lock(&self) -> Guard<'_, T> {
        // SAFETY: An initialised spin lock in nonpaged memory.
        let irql = unsafe { KeAcquireSpinLockRaiseToDpc(self.lock.get()) };
        Guard {
            lock: self,
            irql,
            here: PhantomData,
        }
    }
}

/// The right to use the value.
#[must_use]
pub struct Guard<'a, T> {
    lock: &'a SpinLock<T>,
    irql: KIRQL,
    /// Not `Send`: the processor that took the lock gives it back.
    here: PhantomData<*mut ()>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The guard holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The guard holds the lock and is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Taken by `lock`, given back once, with the IRQL found there.
        unsafe { KeReleaseSpinLock(self.lock.lock.get(), self.irql) };
    }
}
