//! Values in nonpaged pool with several owners.

use core::{
    ops::Deref,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering, fence},
};

use rxce_engine::Error;
use wdk_sys::PVOID;

use super::pool::{PoolBox, Pooled, Tag};

/// One owner's part of a value, which does not move and is dropped with its last owner.
pub(crate) struct Shared<T: Pooled>(NonNull<Counted<T>>);

#[repr(C)]
struct Counted<T> {
    /// First, so that a pointer to the value is one to the block.
    value: T,
    owners: AtomicUsize,
}

impl<T: Pooled> Pooled for Counted<T> {
    const TAG: Tag = T::TAG;
}

// SAFETY: The owners share the value, and the last one drops it, on whatever thread.
unsafe impl<T: Pooled + Send + Sync> Send for Shared<T> {}
// SAFETY: As above.
unsafe impl<T: Pooled + Send + Sync> Sync for Shared<T> {}

impl<T: Pooled> Shared<T> {
    /// Moves `value` into pool.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(crate) fn new(value: T) -> Result<Self, Error> {
        let block = PoolBox::new(Counted {
            value,
            owners: AtomicUsize::new(1),
        })?;
        Ok(Self(block.into_raw()))
    }

    /// The value's address, for those who only borrow it.
    pub(crate) const fn as_context(&self) -> PVOID {
        self.0.as_ptr().cast()
    }

    /// Gives this owner's part to whoever keeps the pointer.
    pub(crate) fn into_context(self) -> PVOID {
        let context = self.as_context();
        core::mem::forget(self);
        context
    }

    /// Takes a part back.
    ///
    /// # Safety
    ///
    /// `context` came from [`Self::into_context`] of the same type, and this part was not taken back yet.
    pub(crate) unsafe fn from_context(context: PVOID) -> Option<Self> {
        NonNull::new(context.cast()).map(Self)
    }
}

/// Another part of the value behind a context; `None` for NULL.
///
/// # Safety
///
/// `context` is NULL or came from [`Shared::into_context`] of the same type, and that part lives during this call.
pub(crate) unsafe fn share<T: Pooled>(context: PVOID) -> Option<Shared<T>> {
    // SAFETY: Forwarded; the part of the context is not given up here.
    let kept = core::mem::ManuallyDrop::new(unsafe { Shared::from_context(context) }?);
    Some(Shared::clone(&kept))
}

impl<T: Pooled> Clone for Shared<T> {
    fn clone(&self) -> Self {
        // SAFETY: This owner keeps the block.
        unsafe { self.0.as_ref() }
            .owners
            .fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl<T: Pooled> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: This owner keeps the block.
        &unsafe { self.0.as_ref() }.value
    }
}

impl<T: Pooled> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: This owner keeps the block until the count is down.
        let before = unsafe { self.0.as_ref() }
            .owners
            .fetch_sub(1, Ordering::Release);
        if before == 1 {
            fence(Ordering::Acquire);
            // SAFETY: Nobody else owns the block any more, and it came from a `PoolBox`.
            drop(unsafe { PoolBox::from_raw(self.0) });
        }
    }
}
