//! Rundown protection: references that somebody waits for.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use rxce_engine::{Error, mutant};
use wdk_sys::{
    _EX_RUNDOWN_REF_CACHE_AWARE, EX_RUNDOWN_REF, PEX_RUNDOWN_REF_CACHE_AWARE, ULONG, ntddk,
};
// Pool without execution came with Windows 8.
#[cfg(feature = "legacy")]
use wdk_sys::_POOL_TYPE::NonPagedPool as POOL;
#[cfg(not(feature = "legacy"))]
use wdk_sys::_POOL_TYPE::NonPagedPoolNx as POOL;

use super::irql::Pageable;

/// Rundown protection of one object.
pub(crate) struct Rundown(UnsafeCell<MaybeUninit<EX_RUNDOWN_REF>>);

// SAFETY: All changes are interlocked.
unsafe impl Sync for Rundown {}
// SAFETY: As above.
unsafe impl Send for Rundown {}

impl Rundown {
    /// Memory for rundown protection.
    pub(crate) const fn uninit() -> Self {
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    /// Initialises the protection.
    ///
    /// # Safety
    ///
    /// The object does not move from now on, and nobody uses it yet.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) unsafe fn init(&self) {
        // SAFETY: The memory is ours and stays where it is.
        unsafe { ntddk::ExInitializeRundownProtection(self.as_ptr()) };
    }

    const fn as_ptr(&self) -> *mut EX_RUNDOWN_REF {
        self.0.get().cast()
    }

    /// Takes a reference; `false` once the run-down has begun.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    #[must_use]
    pub(crate) fn acquire(&self) -> bool {
        // SAFETY: The protection was initialised before the object was shared.
        unsafe { ntddk::ExAcquireRundownProtection(self.as_ptr()) != 0 }
    }

    /// Gives a reference back. The object may be gone right after.
    ///
    /// # Safety
    ///
    /// The caller owns a reference and gives it up.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn release(&self) {
        // SAFETY: Forwarded.
        unsafe { ntddk::ExReleaseRundownProtection(self.as_ptr()) };
    }

    /// Begins the run-down and waits until no reference is left.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) fn wait(&self, _at: &Pageable) {
        // SAFETY: The protection was initialised; the caller owns the object, so only one wait happens.
        unsafe { ntddk::ExWaitForRundownProtectionRelease(self.as_ptr()) };
    }
}

/// Cache-aware rundown protection for what every processor takes references on all the time.
pub(crate) struct SharedRundown(AtomicPtr<_EX_RUNDOWN_REF_CACHE_AWARE>);

impl SharedRundown {
    /// Protection that does not exist yet.
    pub(crate) const fn none() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Allocates the protection.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) fn create(&self, tag: ULONG) -> Result<(), Error> {
        // SAFETY: The pool type is a nonpaged one.
        let block = unsafe { ntddk::ExAllocateCacheAwareRundownProtection(POOL, tag) };
        if block.is_null() {
            return Err(Error::InsufficientResources);
        }
        self.0.store(block, Ordering::Release);
        Ok(())
    }

    fn get(&self) -> PEX_RUNDOWN_REF_CACHE_AWARE {
        self.0.load(Ordering::Acquire)
    }

    /// Takes a reference; `false` once the run-down has begun.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    #[must_use]
    pub(crate) fn acquire(&self) -> bool {
        let block = self.get();
        // SAFETY: The protection exists from the start of the engine to its end; a service that was stopped has none.
        !block.is_null() && unsafe { ntddk::ExAcquireRundownProtectionCacheAware(block) != 0 }
    }

    /// Gives a reference back.
    ///
    /// # Safety
    ///
    /// The caller owns a reference and gives it up.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn release(&self) {
        // SAFETY: Forwarded.
        unsafe { ntddk::ExReleaseRundownProtectionCacheAware(self.get()) };
    }

    /// Waits until no reference is left and frees the protection.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) fn destroy(&self, _at: &Pageable) {
        let block = self.0.load(Ordering::Acquire);
        if block.is_null() {
            return;
        }
        if !mutant!(UnloadWithoutRundown) {
            // SAFETY: The protection exists and is run down once.
            unsafe { ntddk::ExWaitForRundownProtectionReleaseCacheAware(block) };
        }
        self.0.store(ptr::null_mut(), Ordering::Release);
        // SAFETY: Nobody has a reference, and nobody finds the block any more.
        unsafe { ntddk::ExFreeCacheAwareRundownProtection(block) };
    }
}
