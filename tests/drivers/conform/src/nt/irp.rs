//! What the kit's inline functions do with an IRP, for a driver that receives one.

use core::{
    ffi::c_void,
    sync::atomic::{AtomicPtr, Ordering},
};

use wdk_sys::{IO_STACK_LOCATION, NTSTATUS, PDRIVER_CANCEL, PIRP, ntddk};

/// SL_PENDING_RETURNED.
const PENDING_RETURNED: u8 = 0x01;

/// IoGetCurrentIrpStackLocation.
///
/// # Safety
///
/// `irp` is a request that this driver owns now.
pub(crate) unsafe fn current(irp: PIRP) -> *mut IO_STACK_LOCATION {
    // SAFETY: A valid request by this function's contract.
    let irp = unsafe { &*irp };
    // SAFETY: In a request that is in use, the overlay is the form that is valid.
    let overlay = unsafe { &irp.Tail.Overlay };
    // SAFETY: As above.
    unsafe {
        overlay
            .__bindgen_anon_2
            .__bindgen_anon_1
            .CurrentStackLocation
    }
}

/// AssociatedIrp.SystemBuffer.
///
/// # Safety
///
/// `irp` is a create request, or one of a METHOD_BUFFERED control code, that this driver owns now.
pub(crate) unsafe fn system_buffer(irp: PIRP) -> *mut u8 {
    // SAFETY: A valid request by this function's contract.
    let irp = unsafe { &*irp };
    // SAFETY: The form that such requests use.
    unsafe { irp.AssociatedIrp.SystemBuffer }.cast()
}

/// IoMarkIrpPending.
///
/// # Safety
///
/// As for [`current`].
pub(crate) unsafe fn mark_pending(irp: PIRP) {
    // SAFETY: Forwarded.
    let stack = unsafe { current(irp) };
    // SAFETY: The current location of a request we own.
    unsafe { (*stack).Control |= PENDING_RETURNED };
}

/// IoSetCancelRoutine; tells whether there was one.
///
/// # Safety
///
/// `irp` is a request that has not been completed.
pub(crate) unsafe fn set_cancel_routine(irp: PIRP, routine: PDRIVER_CANCEL) -> bool {
    let new = routine.map_or(core::ptr::null_mut(), |routine| routine as *mut c_void);
    // SAFETY: A valid request by this function's contract.
    let slot = unsafe { &raw mut (*irp).CancelRoutine };
    // SAFETY: The member is a naturally aligned pointer that everyone exchanges atomically.
    let slot = unsafe { AtomicPtr::from_ptr(slot.cast::<*mut c_void>()) };
    !slot.swap(new, Ordering::SeqCst).is_null()
}

/// Writes the result and completes the request, which is gone then.
///
/// # Safety
///
/// `irp` is a request that this driver owns and has not completed; nobody here touches it again.
pub(crate) unsafe fn complete(irp: PIRP, status: NTSTATUS, information: u64) {
    // SAFETY: Ours by this function's contract.
    let block = unsafe { &mut (*irp).IoStatus };
    block.__bindgen_anon_1.Status = status;
    block.Information = information;
    // SAFETY: As above; given up here.
    unsafe { ntddk::IofCompleteRequest(irp, 0) };
}
