//! The handlers that the engine registers on an address (specification, section 6). Each resolves the transport's
//! tokens to blocks with a reference; a token that names nothing gets the drop value.

use rxce_engine::{circuit as engine, life::Notice, receive::Channel};
use wdk_sys::{NTSTATUS, PIRP, PVOID, STATUS_SUCCESS};

use super::{
    address::Address,
    circuit::Circuit,
    receive::{self, Indicated},
    registry::ids,
};

/// Makes the one callback that the end of a circuit is announced with, without the transport's disconnect data.
pub(super) fn notify(circuit: &Circuit, notice: Notice) {
    let (callbacks, client) = circuit.connection().callbacks();
    let none = core::ptr::null_mut();
    match notice {
        Notice::Disconnect(flags) => {
            if let Some(disconnect) = callbacks.Disconnect {
                // SAFETY: The client's callback, as its table declares it; no lock is held.
                circuit.in_callback(|| unsafe {
                    disconnect(client, circuit.vc(), 0, none, 0, none, flags)
                });
            }
        }
        Notice::Error(status) => {
            if let Some(error) = callbacks.Error {
                // SAFETY: As above.
                circuit.in_callback(|| unsafe { error(client, circuit.vc(), status) });
            }
        }
    }
}

/// `TDI_EVENT_DISCONNECT`.
pub(super) unsafe extern "C" fn disconnect(
    _address: PVOID,
    token: PVOID,
    data_length: i32,
    data: PVOID,
    information_length: i32,
    information: PVOID,
    flags: u32,
) -> NTSTATUS {
    let Some(circuit) = ids::find::<Circuit>(token.addr()) else {
        return STATUS_SUCCESS;
    };
    let notice = engine::change(&*circuit, |ledger| ledger.life.remote_disconnect(flags));
    if notice.is_some() {
        let (callbacks, client) = circuit.connection().callbacks();
        if let Some(disconnect) = callbacks.Disconnect {
            let vc = circuit.vc();
            // SAFETY: The client's callback, as its table declares it; no lock is held. The transport's buffers are valid
            // during this call.
            circuit.in_callback(|| unsafe {
                disconnect(
                    client,
                    vc,
                    data_length,
                    data,
                    information_length,
                    information,
                    flags,
                )
            });
        }
    }
    STATUS_SUCCESS
}

/// `TDI_EVENT_ERROR`: the address and everything on it is of no more use.
pub(super) unsafe extern "C" fn error(token: PVOID, status: NTSTATUS) -> NTSTATUS {
    let Some(address) = ids::find::<Address>(token.addr()) else {
        return STATUS_SUCCESS;
    };
    let (callbacks, client) = address.callbacks();
    if let Some(error) = callbacks.Error {
        // SAFETY: The client's callback, as its table declares it; no lock is held.
        unsafe { error(client, status) };
    }
    address.for_each_unseen(
        |circuit| engine::change(circuit, |ledger| ledger.life.address_error(status)),
        |circuit, notice| {
            if let Some(notice) = notice {
                notify(&circuit, notice);
            }
        },
    );
    STATUS_SUCCESS
}

/// `TDI_EVENT_SEND_POSSIBLE`: for the circuit if the token names one, else for the address.
pub(super) unsafe extern "C" fn send_possible(
    address: PVOID,
    token: PVOID,
    available: u32,
) -> NTSTATUS {
    if let Some(circuit) = ids::find::<Circuit>(token.addr()) {
        if !circuit.is_announced() {
            return STATUS_SUCCESS;
        }
        let (callbacks, client) = circuit.connection().callbacks();
        if let Some(possible) = callbacks.SendPossible {
            // SAFETY: The client's callback, as its table declares it; no lock is held.
            circuit.in_callback(|| unsafe { possible(client, circuit.vc(), available) });
        }
    } else if let Some(address) = ids::find::<Address>(address.addr()) {
        let (callbacks, client) = address.callbacks();
        if let Some(possible) = callbacks.SendPossible {
            // SAFETY: As above.
            unsafe { possible(client, core::ptr::null_mut(), available) };
        }
    }
    STATUS_SUCCESS
}

/// `TDI_EVENT_RECEIVE`.
pub(super) unsafe extern "C" fn receive(
    _address: PVOID,
    token: PVOID,
    flags: u32,
    indicated: u32,
    available: u32,
    taken: *mut u32,
    tsdu: PVOID,
    packet: *mut PIRP,
) -> NTSTATUS {
    let event = Indicated {
        channel: Channel::Normal,
        flags,
        indicated,
        available,
        tsdu,
    };
    // SAFETY: The transport's buffers and results are valid during this call.
    unsafe { receive::indicate(token.addr(), &event, taken, packet) }
}

/// `TDI_EVENT_RECEIVE_EXPEDITED`.
pub(super) unsafe extern "C" fn receive_expedited(
    _address: PVOID,
    token: PVOID,
    flags: u32,
    indicated: u32,
    available: u32,
    taken: *mut u32,
    tsdu: PVOID,
    packet: *mut PIRP,
) -> NTSTATUS {
    let event = Indicated {
        channel: Channel::Expedited,
        flags,
        indicated,
        available,
        tsdu,
    };
    // SAFETY: The transport's buffers and results are valid during this call.
    unsafe { receive::indicate(token.addr(), &event, taken, packet) }
}
