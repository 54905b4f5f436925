//! The engine's callbacks: they note what happened in the [`Link`], their context, and return.
//!
//! All run at IRQL <= DISPATCH_LEVEL in an arbitrary thread.

use core::{ffi::c_int, slice};

use rxce_client::{PRXCE_VC, RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION_EVENT_HANDLER};
use wdk_sys::{
    NTSTATUS, PMDL, PULONG, PVOID, STATUS_CONNECTION_DISCONNECTED, STATUS_CONNECTION_RESET,
    STATUS_DATA_NOT_ACCEPTED, STATUS_MORE_PROCESSING_REQUIRED, STATUS_SUCCESS, ULONG,
};

use crate::{
    counters::COUNTERS,
    link::{Link, Received},
};

/// `TDI_DISCONNECT_RELEASE`: the peer closed its side in an orderly way.
const RELEASE: ULONG = 4;

/// The table for the address.
pub(crate) const fn address_handlers() -> RXCE_ADDRESS_EVENT_HANDLER {
    RXCE_ADDRESS_EVENT_HANDLER {
        RxCeErrorEventHandler: Some(address_error),
        RxCeReceiveDatagramEventHandler: None,
        RxCeDataReadyEventHandler: None,
        RxCeSendPossibleEventHandler: None,
        RxCeSendCompleteEventHandler: None,
    }
}

/// The table for the connection.
pub(crate) const fn connection_handlers() -> RXCE_CONNECTION_EVENT_HANDLER {
    RXCE_CONNECTION_EVENT_HANDLER {
        RxCeDisconnectEventHandler: Some(disconnect),
        RxCeErrorEventHandler: Some(connection_error),
        RxCeReceiveEventHandler: Some(receive),
        RxCeReceiveDatagramEventHandler: None,
        RxCeReceiveExpeditedEventHandler: None,
        RxCeSendPossibleEventHandler: None,
        RxCeDataReadyEventHandler: Some(data_ready),
        RxCeSendCompleteEventHandler: Some(send_complete),
        RxCeSendSubmittedEventHandler: None,
    }
}

/// The context as a link.
///
/// # Safety
///
/// `context` is what was given to the engine at build: a link that outlives connection and address.
unsafe fn link<'a>(context: PVOID) -> &'a Link {
    // SAFETY: Forwarded from this function's `# Safety` section.
    unsafe { &*context.cast::<Link>() }
}

unsafe extern "C" fn address_error(context: PVOID, status: NTSTATUS) -> NTSTATUS {
    // SAFETY: The engine passes the address's context.
    unsafe { link(context) }.fail(failure(status));
    STATUS_SUCCESS
}

unsafe extern "C" fn connection_error(context: PVOID, _vc: PRXCE_VC, status: NTSTATUS) -> NTSTATUS {
    // SAFETY: The engine passes the connection's context.
    unsafe { link(context) }.fail(failure(status));
    STATUS_SUCCESS
}

/// An error indication with a success status is an error nevertheless.
const fn failure(status: NTSTATUS) -> NTSTATUS {
    if wdk::nt_success(status) {
        STATUS_CONNECTION_DISCONNECTED
    } else {
        status
    }
}

unsafe extern "C" fn disconnect(
    context: PVOID,
    _vc: PRXCE_VC,
    _data_length: c_int,
    _data: PVOID,
    _information_length: c_int,
    _information: PVOID,
    flags: ULONG,
) -> NTSTATUS {
    COUNTERS.disconnects.one();
    let status = if flags == RELEASE {
        STATUS_CONNECTION_DISCONNECTED
    } else {
        STATUS_CONNECTION_RESET
    };
    // SAFETY: The engine passes the connection's context.
    unsafe { link(context) }.fail(status);
    STATUS_SUCCESS
}

unsafe extern "C" fn receive(
    context: PVOID,
    _vc: PRXCE_VC,
    _flags: ULONG,
    indicated: ULONG,
    _available: ULONG,
    taken: *mut ULONG,
    tsdu: PVOID,
    buffer: *mut PMDL,
    buffer_size: PULONG,
) -> NTSTATUS {
    COUNTERS.indications.one();
    let len = usize::try_from(indicated).unwrap_or(0);
    let input = if tsdu.is_null() || len == 0 {
        &[]
    } else {
        // SAFETY: The engine passes `BytesIndicated` bytes, valid during the call.
        unsafe { slice::from_raw_parts(tsdu.cast::<u8>(), len) }
    };
    // SAFETY: The engine passes the connection's context.
    let answer = unsafe { link(context) }.receive(input);
    let (status, count) = match answer {
        Received::Taken(count) => (STATUS_SUCCESS, count),
        Received::Refused => (STATUS_DATA_NOT_ACCEPTED, 0),
        Received::InPlace { taken, mdl, len } => {
            COUNTERS.in_place_receives.one();
            // SAFETY: An out parameter of the engine.
            unsafe { buffer.write(mdl) };
            // SAFETY: As above. The length comes from a 32-bit count.
            unsafe { buffer_size.write(ULONG::try_from(len).unwrap_or(0)) };
            (STATUS_MORE_PROCESSING_REQUIRED, taken)
        }
    };
    // SAFETY: An out parameter of the engine. No more bytes are taken than were indicated.
    unsafe { taken.write(ULONG::try_from(count).unwrap_or(indicated)) };
    status
}

unsafe extern "C" fn data_ready(
    context: PVOID,
    _mdl: PMDL,
    copied: ULONG,
    status: NTSTATUS,
) -> NTSTATUS {
    // SAFETY: The engine passes the connection's context.
    unsafe { link(context) }.data_ready(usize::try_from(copied).unwrap_or(0), status);
    STATUS_SUCCESS
}

unsafe extern "C" fn send_complete(
    context: PVOID,
    _vc: PRXCE_VC,
    _completion: PVOID,
    status: NTSTATUS,
) -> NTSTATUS {
    COUNTERS.sends_completed.one();
    // SAFETY: The engine passes the connection's context.
    unsafe { link(context) }.end_send(status);
    STATUS_SUCCESS
}
