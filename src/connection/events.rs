//! The handlers that the engine registers on an address (specification, section 6). Each resolves the transport's
//! tokens to blocks with a reference; a token that names nothing gets the drop value.

use core::ffi::c_void;

use rxce_engine::{circuit as engine, mutant, receive::Channel};
use wdk_sys::{NTSTATUS, PIRP, PMDL, PVOID, STATUS_SUCCESS};

use super::{
    address::{Address, Handlers},
    circuit::Circuit,
    datagram,
    receive::{self, Chain, Indicated},
    registry::{Ref, ids},
};
use crate::trace;

/// The handlers, for the build of an address.
pub(crate) fn handlers() -> Handlers {
    Handlers {
        error: error as *const c_void,
        disconnect: disconnect as *const c_void,
        receive: receive as *const c_void,
        receive_expedited: receive_expedited as *const c_void,
        receive_datagram: datagram::receive as *const c_void,
        send_possible: send_possible as *const c_void,
    }
}

/// The handler of chained receives, which an address gets when the client asks for them.
pub(crate) fn chained_handler() -> *const c_void {
    chained_receive as *const c_void
}

/// `TDI_EVENT_DISCONNECT`.
unsafe extern "C" fn disconnect(
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
    circuit.count(|totals| &totals.remote_disconnects);
    trace::disconnect_indicated(circuit.vc().addr(), flags);
    let notice = engine::change(&*circuit, |ledger| ledger.life.remote_disconnect(flags));
    if notice.is_none() && mutant!(ReferenceKept) {
        let _ = circuit.into_raw();
        return STATUS_SUCCESS;
    }
    if notice.is_none() && mutant!(ReferenceReleasedTwice) {
        // SAFETY: None: that is what is wrong.
        drop(unsafe { Ref::from_raw(circuit.as_ptr()) });
    }
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
unsafe extern "C" fn error(token: PVOID, status: NTSTATUS) -> NTSTATUS {
    let Some(address) = ids::find::<Address>(token.addr()) else {
        return STATUS_SUCCESS;
    };
    address.count(1, |totals| &totals.address_errors);
    trace::address_error(address.public().address(), status);
    let (callbacks, client) = address.callbacks();
    if let Some(error) = callbacks.Error {
        // SAFETY: The client's callback, as its table declares it; no lock is held.
        unsafe { error(client, status) };
    }
    let decide = |member| {
        // SAFETY: The member is linked, under the address's lock.
        let circuit = unsafe { Circuit::of_member(member) };
        let notice = engine::change(circuit, |ledger| ledger.life.address_error(status));
        circuit.reference().zip(notice)
    };
    while let Some(visited) = address.next_unseen(decide) {
        if let Some((circuit, notice)) = visited {
            circuit.notify(notice);
        }
        if mutant!(ErrorReachesOne) {
            break;
        }
    }
    STATUS_SUCCESS
}

/// `TDI_EVENT_SEND_POSSIBLE`: for the circuit if the token names one, else for the address.
unsafe extern "C" fn send_possible(address: PVOID, token: PVOID, available: u32) -> NTSTATUS {
    let named = ids::find::<Circuit>(token.addr()).filter(|_| !mutant!(SendPossibleToAddress));
    if let Some(circuit) = named {
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
unsafe extern "C" fn receive(
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
unsafe extern "C" fn receive_expedited(
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
        channel: if mutant!(ExpeditedAsNormal) {
            Channel::Normal
        } else {
            Channel::Expedited
        },
        flags,
        indicated,
        available,
        tsdu,
    };
    // SAFETY: The transport's buffers and results are valid during this call.
    unsafe { receive::indicate(token.addr(), &event, taken, packet) }
}

/// `TDI_EVENT_CHAINED_RECEIVE`.
unsafe extern "C" fn chained_receive(
    _address: PVOID,
    token: PVOID,
    flags: u32,
    length: u32,
    offset: u32,
    tsdu: PMDL,
    descriptor: PVOID,
) -> NTSTATUS {
    let chain = Chain {
        flags,
        length,
        offset,
        tsdu,
        descriptor,
    };
    // SAFETY: The transport's chain is valid during this call, and longer if the client keeps it.
    unsafe { receive::indicate_chain(token.addr(), &chain) }
}
