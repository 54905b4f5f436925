//! What the TDI transports of the bench share: addresses, event handlers, the memory of requests, queries, the
//! dispatch routines and the thread.
//!
//! A transport is one device. Its dispatch routine checks little and queues; one thread of the kernel does all socket
//! work, so indications and completions are serialised by construction. They are made at DISPATCH_LEVEL with no lock of
//! the host held. Nothing leaves the machine: only loopback addresses are accepted.
//!
//! | errno | NTSTATUS |
//! |---|---|
//! | ECONNREFUSED | CONNECTION_REFUSED |
//! | ECONNRESET, EPIPE | CONNECTION_RESET |
//! | ETIMEDOUT | IO_TIMEOUT |
//! | ENETUNREACH, EHOSTUNREACH | NETWORK_UNREACHABLE, HOST_UNREACHABLE |
//! | EADDRINUSE | ADDRESS_ALREADY_EXISTS |
//! | EADDRNOTAVAIL | INVALID_ADDRESS_COMPONENT |
//! | EMSGSIZE | INVALID_BUFFER_SIZE |
//! | ENOMEM, ENOBUFS, EMFILE, ENFILE | INSUFFICIENT_RESOURCES |
//! | others | CONNECTION_ABORTED |

pub mod address;
pub(crate) mod engine;
pub(crate) mod front;
pub(crate) mod handlers;
pub(crate) mod memory;
pub(crate) mod query;
pub(crate) mod queue;

use std::io::ErrorKind;

use crate::io::complete::complete_with;
use crate::io::{cancel, status};
use crate::layout::io::Irp;
use crate::mem::{self, peek, poke};

/// TDI_TRANSPORT_ADDRESS_FILE.
pub(crate) const ADDRESS_FILE: usize = 1;
/// TDI_CONNECTION_FILE.
pub(crate) const CONNECTION_FILE: usize = 2;
/// TDI_CONTROL_CHANNEL_FILE.
pub(crate) const CONTROL_CHANNEL_FILE: usize = 3;
/// FILE_DEVICE_NETWORK.
pub(crate) const DEVICE_NETWORK: u32 = 0x12;
/// TDI_RECEIVE_NORMAL.
pub(crate) const RECEIVE_NORMAL: u32 = 0x20;
/// TDI_RECEIVE_PEEK.
pub(crate) const RECEIVE_PEEK: u32 = 0x80;
/// TDI_RECEIVE_ENTIRE_MESSAGE.
pub(crate) const RECEIVE_ENTIRE_MESSAGE: u32 = 0x400;
/// TDI_RECEIVE_AT_DISPATCH_LEVEL.
pub(crate) const RECEIVE_AT_DISPATCH_LEVEL: u32 = 0x800;
/// TDI_RECEIVE_NO_PUSH.
pub(crate) const RECEIVE_NO_PUSH: u32 = 0x4000;

/// The status for an error of the host's sockets; the table is in the documentation of this module.
pub(crate) fn errno_status(error: &std::io::Error) -> i32 {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => status::CONNECTION_REFUSED,
        Some(libc::ECONNRESET | libc::EPIPE) => status::CONNECTION_RESET,
        Some(libc::ETIMEDOUT) => status::IO_TIMEOUT,
        Some(libc::ENETUNREACH) => status::NETWORK_UNREACHABLE,
        Some(libc::EHOSTUNREACH) => status::HOST_UNREACHABLE,
        Some(libc::EADDRINUSE) => status::ADDRESS_ALREADY_EXISTS,
        Some(libc::EADDRNOTAVAIL) => status::INVALID_ADDRESS_COMPONENT,
        Some(libc::EMSGSIZE) => status::INVALID_BUFFER_SIZE,
        Some(libc::ENOMEM | libc::ENOBUFS | libc::EMFILE | libc::ENFILE) => {
            status::INSUFFICIENT_RESOURCES
        }
        _ => status::CONNECTION_ABORTED,
    }
}

/// Whether a socket only has nothing to do now.
pub(crate) fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Completes a request inside its dispatch routine.
pub(crate) fn now(irp: Irp, result: i32) -> i32 {
    complete_with(irp, result, 0);
    result
}

/// Completes a request which may have a cancel routine.
pub(crate) fn finish(irp: Irp, result: i32, information: usize) {
    cancel::set_routine(irp, 0);
    crate::io::complete::complete_at_dispatch(irp, result, information);
}

/// The remote address in a TDI_CONNECTION_INFORMATION, if there is one that can be read.
pub(crate) fn remote_address(information: usize) -> Option<std::net::SocketAddr> {
    if information == 0 {
        return None;
    }
    let place = peek::<usize>(information + 0x28);
    let length = usize::try_from(peek::<i32>(information + 0x20)).ok()?;
    if place == 0 {
        return None;
    }
    address::parse(&mem::read_bytes(place, length))
}

/// Tells a client the remote address in its ReturnConnectionInformation, if it gave one with enough room.
pub(crate) fn return_address(information: usize, remote: &std::net::SocketAddr) {
    if information == 0 {
        return;
    }
    let bytes = address::encode(remote);
    let (room, place) = (
        peek::<i32>(information + 0x20),
        peek::<usize>(information + 0x28),
    );
    if place != 0 && usize::try_from(room).is_ok_and(|room| room >= bytes.len()) {
        mem::write_bytes(place, &bytes);
        poke(information + 0x20, i32::try_from(bytes.len()).unwrap_or(0));
    }
}

/// The status that an event handler returned.
pub(crate) fn answer_of(rax: u64) -> i32 {
    u32::try_from(rax & 0xffff_ffff).unwrap_or(0).cast_signed()
}
