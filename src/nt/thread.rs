//! Threads: who is calling, and the driver's own.

use core::ptr;

use rxce_engine::Error;
use wdk_sys::{HANDLE, OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES, PVOID, THREAD_ALL_ACCESS, ntddk};

use super::file::OBJECT_ATTRIBUTES_LENGTH;

/// Whether the calling thread belongs to the system.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
#[cfg(debug_assertions)]
pub(crate) fn is_system() -> bool {
    // SAFETY: PsGetCurrentThread has no requirements.
    let thread = unsafe { ntddk::PsGetCurrentThread() };
    // SAFETY: The current thread exists.
    unsafe { ntddk::PsIsSystemThread(thread) != 0 }
}

/// The calling thread, as a number to compare.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn current() -> usize {
    // SAFETY: PsGetCurrentThread has no requirements.
    unsafe { ntddk::PsGetCurrentThread() }.expose_provenance()
}

/// A system thread of the driver, by its kernel handle.
pub(crate) struct SystemThread(HANDLE);

// SAFETY: A kernel handle may be used from any thread.
unsafe impl Send for SystemThread {}

impl SystemThread {
    /// Starts a thread in the system process.
    ///
    /// # Errors
    ///
    /// The status of the system.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) fn start(
        routine: unsafe extern "C" fn(PVOID),
        context: PVOID,
    ) -> Result<Self, Error> {
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: OBJECT_ATTRIBUTES_LENGTH,
            Attributes: OBJ_KERNEL_HANDLE,
            ..OBJECT_ATTRIBUTES::default()
        };
        let mut handle: HANDLE = ptr::null_mut();
        // SAFETY: All pointers live across the call; the routine takes what it is given.
        let status = unsafe {
            ntddk::PsCreateSystemThread(
                &raw mut handle,
                THREAD_ALL_ACCESS,
                &raw mut attributes,
                ptr::null_mut(),
                ptr::null_mut(),
                Some(routine),
                context,
            )
        };
        if wdk::nt_success(status) {
            Ok(Self(handle))
        } else {
            Err(Error::Transport(status))
        }
    }

    /// Waits until the thread has ended.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) fn join(self) {
        // SAFETY: The handle is open; a wait without limit ends with the thread.
        let _ = unsafe { ntddk::ZwWaitForSingleObject(self.0, 0, ptr::null_mut()) };
        // SAFETY: The handle was opened in `start` and is closed once.
        let _ = unsafe { ntddk::ZwClose(self.0) };
    }

    /// Lets the thread end by itself.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) fn leave(self) {
        // SAFETY: The handle was opened in `start` and is closed once.
        let _ = unsafe { ntddk::ZwClose(self.0) };
    }
}
