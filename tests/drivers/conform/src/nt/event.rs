//! Notification events.

use alloc::boxed::Box;
use core::{cell::UnsafeCell, ptr};

use wdk_sys::{KEVENT, PKEVENT, ntddk};

use super::{status, time};

/// A notification event at a fixed nonpaged address.
pub(crate) struct Event(Box<UnsafeCell<KEVENT>>);

// SAFETY: A KEVENT is meant to be used from several threads at once, through the kernel's routines only.
unsafe impl Send for Event {}
// SAFETY: As above.
unsafe impl Sync for Event {}

impl Event {
    /// An event that is not signalled.
    pub(crate) fn new() -> Self {
        let event = Self(Box::new(UnsafeCell::new(KEVENT::default())));
        // SAFETY: The block is ours, nonpaged (the global allocator's pool), and of the right size; 0 = notification.
        unsafe { ntddk::KeInitializeEvent(event.as_ptr(), 0, 0) };
        event
    }

    /// The kernel object.
    pub(crate) fn as_ptr(&self) -> PKEVENT {
        self.0.get()
    }

    /// Signals the event.
    pub(crate) fn set(&self) {
        // SAFETY: Initialised in `new`; no wait follows, so `<= DISPATCH_LEVEL` will do.
        unsafe { ntddk::KeSetEvent(self.as_ptr(), 0, 0) };
    }

    /// Waits until it is signalled, for at most `limit`; tells whether it was.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`.
    pub(crate) fn wait(&self, limit: i64) -> bool {
        // SAFETY: Initialised in `new` and kept alive by `self`.
        unsafe { wait_for(self.as_ptr().cast(), limit) }
    }
}

/// Waits for a dispatcher object for at most `limit`; tells whether it was signalled.
///
/// # Safety
///
/// `object` is a dispatcher object that outlives the call. IRQL `<= APC_LEVEL`.
pub(crate) unsafe fn wait_for(object: *mut core::ffi::c_void, limit: i64) -> bool {
    let mut relative = time::relative(limit);
    let timeout = if limit == time::FOREVER {
        ptr::null_mut()
    } else {
        &raw mut relative
    };
    // SAFETY: Forwarded from this function's contract; 0 = Executive, KernelMode, not alertable.
    let result = unsafe { ntddk::KeWaitForSingleObject(object, 0, 0, 0, timeout) };
    result == status::SUCCESS
}
