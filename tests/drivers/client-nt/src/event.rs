//! An auto-reset event.

use core::{cell::UnsafeCell, ptr};

use wdk_sys::{
    _EVENT_TYPE::SynchronizationEvent,
    _KWAIT_REASON::Executive,
    _MODE::KernelMode,
    BOOLEAN, KEVENT, KPROCESSOR_MODE, LARGE_INTEGER, STATUS_SUCCESS,
    ntddk::{KeInitializeEvent, KeSetEvent, KeWaitForSingleObject},
};

/// `KernelMode` in the type that parameters and fields have.
#[expect(clippy::cast_possible_truncation, reason = "the constant is 0")]
pub const KERNEL_MODE: KPROCESSOR_MODE = KernelMode as KPROCESSOR_MODE;

/// A synchronization event. It must be initialised at its final place, in nonpaged memory.
pub struct Event(UnsafeCell<KEVENT>);

// SAFETY: The kernel serialises all access to an event.
unsafe impl Sync for Event {}
// SAFETY: As above; it is moved only before it is initialised.
unsafe impl Send for Event {}

impl Event {
    /// An event that is not yet initialised.
    pub const fn uninitialised() -> Self {
        // SAFETY: Integers and null pointers; the kernel gives them a meaning in `initialise`.
        Self(UnsafeCell::new(unsafe { core::mem::zeroed() }))
    }

    /// Makes the event usable.
    ///
    /// # Safety
    ///
    /// Nobody uses it yet, it is not moved any more, and lies in nonpaged memory.
    pub unsafe fn initialise(&self, signalled: bool) {
        // SAFETY: Forwarded from this function's `# Safety` section.
        unsafe { KeInitializeEvent(self.0.get(), SynchronizationEvent, BOOLEAN::from(signalled)) };
    }

    /// Lets one waiter go, now or later.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub fn set(&self) {
        // SAFETY: Initialised; no wait follows, so the dispatcher lock is not kept.
        unsafe { KeSetEvent(self.0.get(), 0, BOOLEAN::from(false)) };
    }

    /// Waits without a limit.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub fn wait(&self) {
        self.wait_until(ptr::null_mut());
    }

    /// Waits for at most `seconds`; false when they are over.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub fn wait_seconds(&self, seconds: u32) -> bool {
        self.wait_milliseconds(seconds.saturating_mul(1000))
    }

    /// Waits for at most `milliseconds`; false when they are over.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub fn wait_milliseconds(&self, milliseconds: u32) -> bool {
        // Negative: relative, in units of 100 ns.
        let mut timeout = LARGE_INTEGER {
            QuadPart: i64::from(milliseconds).saturating_mul(-10_000),
        };
        self.wait_until(&raw mut timeout)
    }

    fn wait_until(&self, timeout: *mut LARGE_INTEGER) -> bool {
        // SAFETY: An initialised event; the time-out is null or lives during the call.
        let status = unsafe {
            KeWaitForSingleObject(
                self.0.get().cast(),
                Executive,
                KERNEL_MODE,
                BOOLEAN::from(false),
                timeout,
            )
        };
        status == STATUS_SUCCESS
    }
}
