//! Kernel events.

use core::{cell::UnsafeCell, mem::MaybeUninit, ptr};

use rxce_engine::circuit::Waited;
use wdk_sys::{
    _EVENT_TYPE::{NotificationEvent, SynchronizationEvent},
    _KWAIT_REASON::Executive,
    _MODE::KernelMode,
    EVENT_TYPE, KEVENT, LARGE_INTEGER, NTSTATUS, PVOID, STATUS_TIMEOUT, ntddk,
};

use super::irql::Pageable;

/// A kernel event. It must not move once it was initialised.
pub(crate) struct Event(UnsafeCell<MaybeUninit<KEVENT>>);

// SAFETY: The dispatcher serialises all uses of an event.
unsafe impl Sync for Event {}
// SAFETY: As above; an uninitialised event is plain memory.
unsafe impl Send for Event {}

impl Event {
    /// Memory for an event.
    pub(crate) const fn uninit() -> Self {
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    /// Initialises an auto-reset event, not signalled.
    ///
    /// # Safety
    ///
    /// The event does not move from now on, and nobody uses it yet.
    pub(crate) unsafe fn init_auto_reset(&self) {
        // SAFETY: Forwarded.
        unsafe { self.init(SynchronizationEvent) };
    }

    /// Initialises an event that stays signalled, not signalled.
    ///
    /// # Safety
    ///
    /// The event does not move from now on, and nobody uses it yet.
    pub(crate) unsafe fn init_manual_reset(&self) {
        // SAFETY: Forwarded.
        unsafe { self.init(NotificationEvent) };
    }

    unsafe fn init(&self, kind: EVENT_TYPE) {
        // SAFETY: The memory is ours and stays where it is.
        unsafe { ntddk::KeInitializeEvent(self.as_ptr(), kind, 0) };
    }

    /// The event for routines of the system.
    pub(crate) const fn as_ptr(&self) -> *mut KEVENT {
        self.0.get().cast()
    }

    /// Signals the event.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) fn set(&self) {
        // SAFETY: The event was initialised before it was shared; `Wait` is FALSE.
        unsafe { ntddk::KeSetEvent(self.as_ptr(), 0, 0) };
    }

    /// Waits without limit, in kernel mode and not alertable.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) fn wait(&self, at: &Pageable) {
        // SAFETY: The event was initialised before it was shared.
        unsafe { wait_for(self.as_ptr().cast(), at) };
    }

    /// Waits for at most `limit_100ns`.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) fn wait_at_most(&self, _at: &Pageable, limit_100ns: u64) -> Waited {
        let mut timeout = LARGE_INTEGER {
            QuadPart: relative(limit_100ns),
        };
        // SAFETY: The event was initialised before it was shared, and the level allows a wait.
        let status = unsafe {
            ntddk::KeWaitForSingleObject(
                self.as_ptr().cast(),
                Executive,
                KERNEL_MODE,
                0,
                &raw mut timeout,
            )
        };
        if status == STATUS_TIMEOUT as NTSTATUS {
            Waited::TimedOut
        } else {
            Waited::Signalled
        }
    }
}

/// `KernelMode` in the type that the system's routines take.
pub(crate) const KERNEL_MODE: i8 = {
    assert!(KernelMode == 0);
    0
};

/// A span of time as the negative number that means "from now".
pub(crate) const fn relative(span_100ns: u64) -> i64 {
    0_i64.saturating_sub_unsigned(span_100ns)
}

/// Waits for a dispatcher object without limit, in kernel mode and not alertable.
///
/// # Safety
///
/// `object` is a dispatcher object that lives until the wait is over.
///
/// # IRQL
///
/// `<= APC_LEVEL`
pub(crate) unsafe fn wait_for(object: PVOID, _at: &Pageable) {
    // SAFETY: Forwarded; such a wait ends only with the object's signal, so there is no other status.
    let _ =
        unsafe { ntddk::KeWaitForSingleObject(object, Executive, KERNEL_MODE, 0, ptr::null_mut()) };
}
