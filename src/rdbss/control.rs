//! Control requests on the driver's device: start and stop.

use wdk_sys::{NTSTATUS, STATUS_INVALID_DEVICE_REQUEST};

use super::{
    abi::RxContext,
    imports::{RxStartMinirdr, RxStopMinirdr},
};

/// `FSCTL_RXCE_START`.
const START: u32 = 0x0014_A000;
/// `FSCTL_RXCE_STOP`.
const STOP: u32 = 0x0014_A004;

/// `CTL_CODE` of the buffered method, with write access.
const fn control_code(function: u32) -> u32 {
    wdk_sys::FILE_DEVICE_NETWORK_FILE_SYSTEM << 16
        | wdk_sys::FILE_WRITE_ACCESS << 14
        | function << 2
}

const _: () = assert!(START == control_code(0x800) && STOP == control_code(0x801));

/// `MRxDevFcbXXXControlFile`, and the two `MRxLowIOSubmit` slots for control requests: the reference pages name both.
///
/// # Safety
///
/// RDBSS's request.
pub(super) unsafe extern "C" fn control(context: *mut RxContext) -> NTSTATUS {
    // SAFETY: Forwarded.
    let request = unsafe { RxContext::of(context) };
    // SAFETY: Only control requests come here.
    let code = unsafe { request.control() }.Code;
    // SAFETY: As above.
    if !unsafe { is_for_device(request) } {
        return STATUS_INVALID_DEVICE_REQUEST;
    }
    let post = &raw mut request.PostRequest;
    // What they answer goes back unchanged: with STATUS_PENDING, RDBSS posts the request and calls again.
    match code {
        // SAFETY: The request and one of its members.
        START => unsafe { RxStartMinirdr(context, post) },
        // SAFETY: As above.
        STOP => unsafe { RxStopMinirdr(context, post) },
        _ => STATUS_INVALID_DEVICE_REQUEST,
    }
}

/// `RDBSS_NTC_DEVICE_FCB`.
const DEVICE_FCB: u16 = 0xEB9A;

/// Whether a request is for the device itself, and not for a file: both arrive at the same slots.
///
/// # Safety
///
/// RDBSS's request.
const unsafe fn is_for_device(request: &RxContext) -> bool {
    let fcb = request.pFcb.cast::<u16>();
    // SAFETY: Every node begins with its type.
    !fcb.is_null() && unsafe { fcb.read() } == DEVICE_FCB
}
