//! The engine's callbacks: they note what happened in the [`Record`] of the session, their context, and return.
//!
//! All run at IRQL <= DISPATCH_LEVEL in an arbitrary thread.

use core::{ffi::c_int, slice};

use exchange_ioctl::Kind;
use rxce_client::{PRXCE_VC, RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION_EVENT_HANDLER};
use wdk_sys::{
    NTSTATUS, PMDL, PULONG, PVOID, STATUS_DATA_NOT_ACCEPTED, STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_SUCCESS, ULONG,
};

use crate::{
    record::{Received, Record},
    send::Send,
};

/// The table for the address.
pub(crate) const fn address_handlers() -> RXCE_ADDRESS_EVENT_HANDLER {
    RXCE_ADDRESS_EVENT_HANDLER {
        RxCeErrorEventHandler: Some(address_error),
        RxCeReceiveDatagramEventHandler: Some(receive_datagram),
        RxCeDataReadyEventHandler: Some(data_ready),
        RxCeSendPossibleEventHandler: None,
        RxCeSendCompleteEventHandler: Some(datagram_sent),
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
        RxCeSendCompleteEventHandler: Some(sent),
        RxCeSendSubmittedEventHandler: None,
    }
}

/// The context as a record.
///
/// # Safety
///
/// `context` is what was given to the engine at build: a record that outlives connection and address.
unsafe fn record<'a>(context: PVOID) -> &'a Record {
    // SAFETY: Forwarded from this function's `# Safety` section.
    unsafe { &*context.cast::<Record>() }
}

unsafe extern "C" fn address_error(context: PVOID, status: NTSTATUS) -> NTSTATUS {
    // SAFETY: The engine passes the address's context.
    unsafe { record(context) }.note(Kind::AddressError, status.cast_unsigned(), 0);
    STATUS_SUCCESS
}

unsafe extern "C" fn connection_error(context: PVOID, _vc: PRXCE_VC, status: NTSTATUS) -> NTSTATUS {
    // SAFETY: The engine passes the connection's context.
    unsafe { record(context) }.note(Kind::ConnectionError, status.cast_unsigned(), 0);
    STATUS_SUCCESS
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
    // SAFETY: The engine passes the connection's context.
    unsafe { record(context) }.note(Kind::Disconnected, flags, 0);
    STATUS_SUCCESS
}

/// Where an indication's answer goes.
struct Answers {
    taken: *mut ULONG,
    buffer: *mut PMDL,
    buffer_size: PULONG,
}

/// # Safety
///
/// `tsdu` points to `indicated` bytes, the answers are the engine's out parameters, and the context is a record.
unsafe fn indicated(
    context: PVOID,
    kind: Kind,
    (tsdu, indicated, available): (PVOID, ULONG, ULONG),
    answers: &Answers,
) -> NTSTATUS {
    let input = if tsdu.is_null() {
        &[]
    } else {
        // SAFETY: Forwarded from this function's `# Safety` section; valid during the call.
        unsafe { slice::from_raw_parts(tsdu.cast::<u8>(), indicated as usize) }
    };
    // SAFETY: As above.
    let answer = unsafe { record(context) }.indicated(kind, input, available as usize);
    let (status, count) = match answer {
        Received::Taken(count) => (STATUS_SUCCESS, count),
        Received::Refused => (STATUS_DATA_NOT_ACCEPTED, 0),
        Received::Further { taken, mdl, len } => {
            // SAFETY: An out parameter of the engine.
            unsafe { answers.buffer.write(mdl) };
            // SAFETY: As above. The length comes from a 32-bit count.
            unsafe { answers.buffer_size.write(ULONG::try_from(len).unwrap_or(0)) };
            (STATUS_MORE_PROCESSING_REQUIRED, taken)
        }
    };
    // SAFETY: An out parameter of the engine. No more bytes are taken than were indicated.
    unsafe {
        answers
            .taken
            .write(ULONG::try_from(count).unwrap_or(indicated))
    };
    status
}

unsafe extern "C" fn receive(
    context: PVOID,
    _vc: PRXCE_VC,
    _flags: ULONG,
    bytes: ULONG,
    available: ULONG,
    taken: *mut ULONG,
    tsdu: PVOID,
    buffer: *mut PMDL,
    buffer_size: PULONG,
) -> NTSTATUS {
    let answers = Answers {
        taken,
        buffer,
        buffer_size,
    };
    // SAFETY: The engine's own parameters.
    unsafe { indicated(context, Kind::Received, (tsdu, bytes, available), &answers) }
}

unsafe extern "C" fn receive_datagram(
    context: PVOID,
    _source_length: c_int,
    _source: PVOID,
    _options_length: c_int,
    _options: PVOID,
    _flags: ULONG,
    bytes: ULONG,
    available: ULONG,
    taken: *mut ULONG,
    tsdu: PVOID,
    buffer: *mut PMDL,
    buffer_size: PULONG,
) -> NTSTATUS {
    let answers = Answers {
        taken,
        buffer,
        buffer_size,
    };
    // SAFETY: The engine's own parameters.
    unsafe { indicated(context, Kind::Datagram, (tsdu, bytes, available), &answers) }
}

unsafe extern "C" fn data_ready(
    context: PVOID,
    _mdl: PMDL,
    copied: ULONG,
    status: NTSTATUS,
) -> NTSTATUS {
    // SAFETY: The engine passes the context of connection or address: the same record.
    unsafe { record(context) }.ready(copied as usize, status);
    STATUS_SUCCESS
}

unsafe extern "C" fn sent(
    context: PVOID,
    _vc: PRXCE_VC,
    completion: PVOID,
    status: NTSTATUS,
) -> NTSTATUS {
    // SAFETY: As in `datagram_sent`.
    unsafe { datagram_sent(context, completion, status) }
}

unsafe extern "C" fn datagram_sent(
    context: PVOID,
    completion: PVOID,
    status: NTSTATUS,
) -> NTSTATUS {
    // SAFETY: The engine passes the completion context of an asynchronous send, once.
    let send = unsafe { Send::from_context(completion) };
    let len = send.as_ref().map_or(0, |send| send.len());
    // The memory goes first: who waits for the event may count it.
    drop(send);
    // SAFETY: The engine passes the context of connection or address: the same record.
    unsafe { record(context) }.note(Kind::Sent, status.cast_unsigned(), len as usize);
    STATUS_SUCCESS
}
