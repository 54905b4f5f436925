//! The parameters of each request, as the `TdiBuildXxx` macros lay them out.

use core::ffi::c_void;

use rxce_engine::life::Mode;
use wdk_sys::HANDLE;

use super::bindings::{
    TDI_ASSOCIATE_ADDRESS, TDI_CONNECT, TDI_CONNECTION_INFORMATION, TDI_DISCONNECT,
    TDI_QUERY_INFORMATION, TDI_RECEIVE, TDI_RECEIVE_DATAGRAM, TDI_SEND, TDI_SEND_DATAGRAM,
    TDI_SET_EVENT_HANDLER,
};
use crate::nt::irp::Call;

const fn call(minor: u32, parameters: [usize; 4]) -> Call {
    let [low, ..] = minor.to_le_bytes();
    Call {
        minor: low,
        parameters,
    }
}

/// Two `ULONG` members that share one pointer-sized word.
const fn pair(low: u32, high: u32) -> usize {
    (low as usize) | ((high as usize) << u32::BITS)
}

/// `TDI_ASSOCIATE_ADDRESS`. The transport references the handle in its dispatch routine: sent at `PASSIVE_LEVEL` only.
pub(crate) fn associate_address(address: HANDLE) -> Call {
    call(
        TDI_ASSOCIATE_ADDRESS,
        [address.expose_provenance(), 0, 0, 0],
    )
}

/// `TDI_CONNECT`, with the transport's own time-out.
pub(crate) fn connect(
    requested: *const TDI_CONNECTION_INFORMATION,
    returned: *mut TDI_CONNECTION_INFORMATION,
) -> Call {
    call(
        TDI_CONNECT,
        [
            0,
            requested.expose_provenance(),
            returned.expose_provenance(),
            0,
        ],
    )
}

/// `TDI_DISCONNECT`, with a time-out that must live as long as the request.
pub(crate) fn disconnect(mode: Mode, timeout: *const i64) -> Call {
    call(
        TDI_DISCONNECT,
        [
            mode.request_flags() as usize,
            0,
            0,
            timeout.expose_provenance(),
        ],
    )
}

/// `TDI_SEND`.
pub(crate) const fn send(bytes: u32, flags: u32) -> Call {
    call(TDI_SEND, [pair(bytes, flags), 0, 0, 0])
}

/// `TDI_RECEIVE`.
pub(crate) const fn receive(bytes: u32, flags: u32) -> Call {
    call(TDI_RECEIVE, [pair(bytes, flags), 0, 0, 0])
}

/// `TDI_RECEIVE_DATAGRAM`, from anybody.
pub(crate) const fn receive_datagram(bytes: u32, flags: u32) -> Call {
    call(TDI_RECEIVE_DATAGRAM, [bytes as usize, 0, 0, flags as usize])
}

/// `TDI_SEND_DATAGRAM`.
pub(crate) fn send_datagram(bytes: u32, destination: *const TDI_CONNECTION_INFORMATION) -> Call {
    call(
        TDI_SEND_DATAGRAM,
        [bytes as usize, destination.expose_provenance(), 0, 0],
    )
}

/// `TDI_SET_EVENT_HANDLER`.
pub(crate) fn set_event_handler(event: u32, handler: *const c_void, context: usize) -> Call {
    call(
        TDI_SET_EVENT_HANDLER,
        [event as usize, handler.expose_provenance(), context, 0],
    )
}

/// `TDI_QUERY_INFORMATION`; the output goes to the packet's MDL.
pub(crate) const fn query_information(query: u32) -> Call {
    call(TDI_QUERY_INFORMATION, [query as usize, 0, 0, 0])
}
