//! Asynchronous requests that a redirector's device counts: it is not unloaded while there are some.

use core::{
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use wdk_sys::{KEVENT, ntddk};

/// `RDBSS_DEVICE_OBJECT.AsynchronousRequestsPending`.
const PENDING: usize = 0x270;
/// `RDBSS_DEVICE_OBJECT.pAsynchronousRequestsCompletionEvent`.
const EVENT: usize = 0x278;
/// A device object with these members is at least so large.
const LEAST_SIZE: u16 = 0x280;
/// `IO_TYPE_DEVICE`.
const TYPE_DEVICE: u16 = 3;

/// One request that a device counts, until it is dropped.
pub(crate) struct Pending(*mut u8);

impl Pending {
    /// Counts a request, if `device` is an RDBSS device object by type and size.
    pub(crate) fn new(device: *mut u8) -> Self {
        // SAFETY: The client hands in a device object, or NULL.
        let counts = !device.is_null() && unsafe { is_rdbss_device(device) };
        let pending = Self(if counts { device } else { ptr::null_mut() });
        if let Some(count) = pending.count() {
            count.fetch_add(1, Ordering::AcqRel);
        }
        pending
    }

    fn count(&self) -> Option<&AtomicI32> {
        if self.0.is_null() {
            return None;
        }
        let member = self.0.wrapping_byte_add(PENDING).cast();
        // SAFETY: The device has the member, aligned, and keeps it as long as it counts requests.
        Some(unsafe { AtomicI32::from_ptr(member) })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(count) = self.count() else { return };
        if count.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        // Read after the count went: a redirector that stores its event and still sees a request waits for it.
        let slot = self.0.wrapping_byte_add(EVENT).cast::<*mut KEVENT>();
        // SAFETY: As for the count.
        let event = unsafe { slot.read_volatile() };
        if !event.is_null() {
            // SAFETY: The member is NULL or an event that the redirector waits for.
            unsafe { ntddk::KeSetEvent(event, 0, 0) };
        }
    }
}

/// # Safety
///
/// `device` points to a device object.
unsafe fn is_rdbss_device(device: *mut u8) -> bool {
    // SAFETY: Forwarded: a device object begins with its type and size.
    let [kind, size] = unsafe { device.cast::<[u16; 2]>().read() };
    kind == TYPE_DEVICE && size >= LEAST_SIZE
}
