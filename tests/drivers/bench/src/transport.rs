//! A TDI transport that completes every request inside its dispatch routine, with success and without doing anything.

use core::slice;

use rxce_client::TDI_PROVIDER_INFO;
use wdk_sys::{
    IO_NO_INCREMENT, IRP_MJ_INTERNAL_DEVICE_CONTROL, NTSTATUS, PIRP, STATUS_SUCCESS,
    ntddk::IofCompleteRequest,
};

/// Connections, errors are none, orderly release, expedited data: with every service that makes the engine keep more.
const SERVICES: u32 = 0x1 | 0x2 | 0x4 | 0x100;
/// `TDI_SEND` and `TDI_QUERY_INFORMATION`.
const SEND: u8 = 7;
const QUERY: u8 = 0xC;
#[expect(clippy::cast_possible_truncation, reason = "the constant is 15")]
const INTERNAL: u8 = IRP_MJ_INTERNAL_DEVICE_CONTROL as u8;
#[expect(clippy::cast_possible_truncation, reason = "the constant is 0")]
const NO_INCREMENT: i8 = IO_NO_INCREMENT as i8;

/// Takes a request and completes it.
///
/// # Safety
///
/// The I/O manager hands `irp` over for the transport's device.
pub(crate) unsafe fn dispatch(irp: PIRP) -> NTSTATUS {
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
    // SAFETY: Ours still.
    let block = unsafe { &mut (*irp).IoStatus };
    block.__bindgen_anon_1.Status = STATUS_SUCCESS;
    block.Information = information;
    // SAFETY: Ours, and given back here.
    unsafe { IofCompleteRequest(irp, NO_INCREMENT) };
    STATUS_SUCCESS
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
