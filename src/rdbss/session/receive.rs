//! What the engine calls for a session: at `DISPATCH_LEVEL` or below, in any thread.

use core::ptr::NonNull;

use wdk_sys::{
    NTSTATUS, PMDL, PVOID, STATUS_CONNECTION_DISCONNECTED, STATUS_CONNECTION_RESET, STATUS_SUCCESS,
};

use super::{Session, asking};
use crate::{abi, nt::mdl, tdi::bindings::TDI_DISCONNECT_RELEASE};

/// The table of an address that all sessions share: errors of the address reach each circuit.
pub(in crate::rdbss) const fn address_events() -> abi::AddressEventHandler {
    abi::AddressEventHandler {
        Error: None,
        ReceiveDatagram: None,
        DataReady: None,
        SendPossible: None,
        SendComplete: None,
    }
}

/// The table of a session's connection, whose context is the session.
pub(super) const fn connection_events() -> abi::ConnectionEventHandler {
    abi::ConnectionEventHandler {
        Disconnect: Some(disconnect),
        Error: Some(error),
        Receive: Some(receive),
        ReceiveDatagram: None,
        ReceiveExpedited: None,
        SendPossible: None,
        DataReady: None,
        SendComplete: Some(send_complete),
        SendSubmitted: None,
    }
}

/// # Safety
///
/// `context` is the session that was given to the build; it is closed before it is freed.
const unsafe fn session<'a>(context: PVOID) -> &'a Session {
    // SAFETY: Forwarded.
    unsafe { &*context.cast() }
}

unsafe extern "C" fn disconnect(
    context: PVOID,
    _vc: *mut abi::Vc,
    _data_length: i32,
    _data: PVOID,
    _information_length: i32,
    _information: PVOID,
    flags: u32,
) -> NTSTATUS {
    let reason = if flags & TDI_DISCONNECT_RELEASE == 0 {
        STATUS_CONNECTION_RESET
    } else {
        STATUS_CONNECTION_DISCONNECTED
    };
    // SAFETY: The engine passes the connection's context.
    unsafe { session(context) }.fail(reason);
    STATUS_SUCCESS
}

unsafe extern "C" fn error(context: PVOID, _vc: *mut abi::Vc, status: NTSTATUS) -> NTSTATUS {
    // An error is one, whatever its status says.
    let reason = if wdk::nt_success(status) {
        STATUS_CONNECTION_DISCONNECTED
    } else {
        status
    };
    // SAFETY: The engine passes the connection's context.
    unsafe { session(context) }.fail(reason);
    STATUS_SUCCESS
}

unsafe extern "C" fn receive(
    context: PVOID,
    _vc: *mut abi::Vc,
    _flags: u32,
    indicated: u32,
    _available: u32,
    taken: *mut u32,
    tsdu: PVOID,
    _chain: *mut PMDL,
    _size: *mut u32,
) -> NTSTATUS {
    // SAFETY: The engine passes so many bytes, valid during the call.
    let bytes = unsafe { mdl::indicated(tsdu.cast(), indicated as usize) };
    // SAFETY: The engine passes the connection's context.
    let session = unsafe { session(context) };
    // Bytes that nobody wants any more are taken, too: refused ones would stay queued and block an orderly end.
    session.table.with(|table| table.receive(bytes));
    // SAFETY: A result of the engine's.
    unsafe { taken.write(indicated) };
    STATUS_SUCCESS
}

unsafe extern "C" fn send_complete(
    context: PVOID,
    _vc: *mut abi::Vc,
    exchange: PVOID,
    status: NTSTATUS,
) -> NTSTATUS {
    // SAFETY: The engine passes the connection's context.
    let session = unsafe { session(context) };
    if let Some(exchange) = NonNull::new(exchange.cast()) {
        // SAFETY: The context of a send is its exchange.
        unsafe { asking::sent(session, exchange, status) };
    }
    STATUS_SUCCESS
}
