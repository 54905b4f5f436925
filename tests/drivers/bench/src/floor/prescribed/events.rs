//! What the transport tells of circuits, by their ids (rxce.md §6).

use core::ffi::c_int;

use wdk_sys::{NTSTATUS, PIRP, PVOID, STATUS_DATA_NOT_ACCEPTED, STATUS_SUCCESS, ULONG};

use super::{life::State, root::Root};
use crate::floor::request::{ABORT, RELEASE};

/// The peer disconnects.
pub(super) unsafe extern "C" fn peer_disconnects(
    context: PVOID,
    connection: PVOID,
    _data_length: c_int,
    _data: PVOID,
    _information_length: c_int,
    _information: PVOID,
    flags: ULONG,
) -> NTSTATUS {
    // SAFETY: What was registered: the root, which outlives its address.
    let root = unsafe { &*context.cast::<Root>() };
    if let Some(circuit) = root.ids.find(connection.addr()) {
        let orderly = flags as usize & (ABORT | RELEASE) == RELEASE;
        circuit.change(|life| life.peer_disconnects(orderly));
    }
    STATUS_SUCCESS
}

/// Takes what is there; what comes for a circuit that is being torn down is discarded.
pub(super) unsafe extern "C" fn receive(
    context: PVOID,
    connection: PVOID,
    _flags: ULONG,
    indicated: ULONG,
    _available: ULONG,
    taken: *mut ULONG,
    _tsdu: PVOID,
    _irp: *mut PIRP,
) -> NTSTATUS {
    // SAFETY: What was registered: the root, which outlives its address.
    let root = unsafe { &*context.cast::<Root>() };
    let found = root.ids.find(connection.addr());
    let bytes = if found.is_some() { indicated } else { 0 };
    // SAFETY: An out parameter of the transport.
    unsafe { taken.write(bytes) };
    let Some(circuit) = found else {
        return STATUS_DATA_NOT_ACCEPTED;
    };
    if circuit.hold(|life| life.state()) != State::TearDown {
        root.inbox.receive(indicated);
    }
    STATUS_SUCCESS
}
