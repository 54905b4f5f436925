//! TDI transports without a network: they complete a request with success and without doing anything, inside the dispatch
//! routine. One of them pends sends instead, until the bench completes them.

use core::{
    ptr, slice,
    sync::atomic::{AtomicPtr, Ordering},
};

use client_nt::{access, irp::Irp};
use rxce_client::TDI_PROVIDER_INFO;
use wdk_sys::{
    IO_NO_INCREMENT, IRP, IRP_MJ_CREATE, IRP_MJ_INTERNAL_DEVICE_CONTROL, NTSTATUS, PIRP,
    STATUS_ACCESS_DENIED, STATUS_PENDING, STATUS_SUCCESS, ntddk::IofCompleteRequest,
};

/// Connections, errors are none, orderly release, expedited data: with every service that makes the engine keep more.
const SERVICES: u32 = 0x1 | 0x2 | 0x4 | 0x100;
/// `TDI_SEND` and `TDI_QUERY_INFORMATION`.
pub(crate) const SEND: u8 = 7;
const QUERY: u8 = 0xC;
#[expect(clippy::cast_possible_truncation, reason = "the constant is 15")]
pub(crate) const INTERNAL: u8 = IRP_MJ_INTERNAL_DEVICE_CONTROL as u8;
#[expect(clippy::cast_possible_truncation, reason = "the constant is 0")]
const CREATE: u8 = IRP_MJ_CREATE as u8;
#[expect(clippy::cast_possible_truncation, reason = "the constant is 0")]
const NO_INCREMENT: i8 = IO_NO_INCREMENT as i8;

/// What a transport does with sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sends {
    Complete,
    Pend,
}

/// The send that is pended; there is one at a time.
static PENDED: AtomicPtr<IRP> = AtomicPtr::new(ptr::null_mut());

/// Completes the send that is pended; false if there is none.
pub(crate) fn complete_pended() -> bool {
    let irp = PENDED.swap(ptr::null_mut(), Ordering::AcqRel);
    if irp.is_null() {
        return false;
    }
    // SAFETY: Pended, and given back there.
    unsafe { complete(irp, STATUS_SUCCESS, 0) };
    true
}

/// Takes a request and completes it.
///
/// # Safety
///
/// The I/O manager hands `irp` over for the transport's device.
pub(crate) unsafe fn dispatch(irp: PIRP, sends: Sends) -> NTSTATUS {
    // SAFETY: The request is ours now.
    let tail = unsafe { &(*irp).Tail };
    // SAFETY: The union has this meaning while a driver has the request.
    let stack = unsafe {
        tail.Overlay
            .__bindgen_anon_2
            .__bindgen_anon_1
            .CurrentStackLocation
    };
    // SAFETY: Its current location.
    let location = unsafe { &*stack };
    // SAFETY: A create request, in the thread that opens.
    if location.MajorFunction == CREATE && unsafe { access::is_refused(irp) } {
        // SAFETY: Ours, and given back there.
        return unsafe { complete(irp, STATUS_ACCESS_DENIED, 0) };
    }
    let is_send = (location.MajorFunction, location.MinorFunction) == (INTERNAL, SEND);
    if is_send && sends == Sends::Pend {
        // SAFETY: Ours, and kept.
        let mut pended = unsafe { Irp::from_raw(irp) };
        pended.mark_pending();
        PENDED.store(pended.into_raw(), Ordering::Release);
        return STATUS_PENDING;
    }
    let information = match (location.MajorFunction, location.MinorFunction) {
        (INTERNAL, SEND) => {
            let parameters = (&raw const location.Parameters).cast::<u32>();
            // SAFETY: A send's parameters begin with its length.
            u64::from(unsafe { parameters.read() })
        }
        // SAFETY: A query has an MDL of the client's.
        (INTERNAL, QUERY) => unsafe { answer(irp) },
        _ => 0,
    };
    // SAFETY: Ours still, and given back there.
    unsafe { complete(irp, STATUS_SUCCESS, information) }
}

/// # Safety
///
/// The request is ours, and given back here.
unsafe fn complete(irp: PIRP, status: NTSTATUS, information: u64) -> NTSTATUS {
    // SAFETY: Forwarded.
    let block = unsafe { &mut (*irp).IoStatus };
    block.__bindgen_anon_1.Status = status;
    block.Information = information;
    // SAFETY: Forwarded.
    unsafe { IofCompleteRequest(irp, NO_INCREMENT) };
    status
}

/// Says what the provider is; any query is taken for that one.
///
/// # Safety
///
/// The request is ours.
unsafe fn answer(irp: PIRP) -> u64 {
    // SAFETY: Forwarded.
    let mdl = unsafe { (*irp).MdlAddress };
    if mdl.is_null() {
        return 0;
    }
    // SAFETY: An MDL of a request is valid while the request is under way.
    let mdl = unsafe { &*mdl };
    let info = TDI_PROVIDER_INFO {
        Version: 0x0200,
        MaxSendSize: 0x1_0000,
        ServiceFlags: SERVICES,
        MinimumLookaheadData: 1,
        MaximumLookaheadData: 0x1_0000,
        ..Default::default()
    };
    let bytes = (&raw const info).cast::<u8>();
    let room = (mdl.ByteCount as usize).min(size_of::<TDI_PROVIDER_INFO>());
    // The engine describes nonpaged pool, which has a system address.
    let target = mdl.MappedSystemVa.cast::<u8>();
    // SAFETY: The structure is at least `room` bytes long, and has no padding.
    let source = unsafe { slice::from_raw_parts(bytes, room) };
    // SAFETY: The MDL describes at least `room` bytes.
    let target = unsafe { slice::from_raw_parts_mut(target, room) };
    target.copy_from_slice(source);
    room as u64
}
