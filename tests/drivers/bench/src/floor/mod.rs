//! The hand-written client: what a driver does that needs circuits and has no engine. The same requests in the same order,
//! correct in what can race, and nothing else: no look-up, no checks of what the caller gives, no time-outs, no counters.
//!
//! A circuit's rundown protection holds it while requests are under way; the close waits for them. The driver itself stays,
//! since it is what closes its circuits.
//!
//! ```text
//! circuit     built, used, torn down
//! file        opens with an extended attribute
//! prescribed  the contract by hand: with every call of the kernel that the engine's prescribes
//! request     packets
//! ```

mod circuit;
mod file;
mod prescribed;
mod request;

use alloc::vec::Vec;
use core::ffi::c_int;

use bench_ioctl::Provider;
use client_nt::{pool::NonPaged, status::Result};
use wdk_sys::{
    NTSTATUS, PIRP, PMDL, PVOID, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    STATUS_SUCCESS, ULONG,
};

pub(crate) use self::prescribed::Prescribed;
use self::{circuit::Circuit, file::File};
use crate::client::{Client, Inbox};

const TAG: u32 = u32::from_le_bytes(*b"BenF");

/// `TDI_EVENT_DISCONNECT`.
const EVENT_DISCONNECT: usize = 1;
/// `TDI_EVENT_RECEIVE`.
const EVENT_RECEIVE: usize = 3;

/// An address and its circuits.
pub(crate) struct Floor {
    provider: Provider,
    address: File,
    inbox: NonPaged<Inbox>,
    circuits: Vec<NonPaged<Circuit>>,
}

impl Floor {
    /// Opens an address and builds `circuits` circuits on it.
    ///
    /// # Errors
    ///
    /// The first failure; nothing is open then.
    pub(crate) fn new(provider: Provider, circuits: u32) -> Result<Self> {
        let inbox = NonPaged::try_new(Inbox::new(), TAG)?;
        // SAFETY: In its place, in nonpaged pool.
        unsafe { inbox.initialise() };
        let address = File::address(provider)?;
        let context = inbox.as_non_null().as_ptr().expose_provenance();
        // SAFETY: The inbox outlives the address.
        unsafe { register(&address, context, circuit::peer_disconnects, receive) }?;
        let mut floor = Self {
            provider,
            address,
            inbox,
            circuits: Vec::new(),
        };
        let room = floor.circuits.try_reserve(circuits as usize);
        room.map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
        for _ in 0..circuits {
            let circuit = NonPaged::try_new(Circuit::new(), TAG)?;
            circuit.build(provider, &floor.address)?;
            floor.circuits.push(circuit);
        }
        Ok(floor)
    }

    fn circuit(&self, index: u32) -> Result<&Circuit> {
        let circuit = self.circuits.get(index as usize);
        circuit.map(|one| &**one).ok_or(STATUS_INVALID_PARAMETER)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        for circuit in &self.circuits {
            // One that is not built refuses.
            let _ = circuit.disconnect();
            circuit.tear_down();
        }
    }
}

impl Client for Floor {
    unsafe fn send(&self, index: u32, mdl: PMDL, length: u32, context: PVOID) -> Result {
        // SAFETY: Forwarded.
        unsafe { self.circuit(index)?.send(mdl, length, context) }
    }

    fn disconnect(&self, index: u32) -> Result {
        self.circuit(index)?.disconnect()
    }

    fn tear_down(&self, index: u32) -> Result {
        self.circuit(index)?.tear_down();
        Ok(())
    }

    fn build(&self, index: u32) -> Result {
        self.circuit(index)?.build(self.provider, &self.address)
    }

    fn inbox(&self) -> &Inbox {
        &self.inbox
    }
}

/// `PTDI_IND_DISCONNECT`.
type Disconnect = unsafe extern "C" fn(PVOID, PVOID, c_int, PVOID, c_int, PVOID, ULONG) -> NTSTATUS;

/// `PTDI_IND_RECEIVE`.
type Receive = unsafe extern "C" fn(
    PVOID,
    PVOID,
    ULONG,
    ULONG,
    ULONG,
    *mut ULONG,
    PVOID,
    *mut PIRP,
) -> NTSTATUS;

/// Registers the handlers of an address.
///
/// # Errors
///
/// The first failure.
///
/// # Safety
///
/// What the handlers take `context` for outlives the address.
unsafe fn register(
    address: &File,
    context: usize,
    disconnect: Disconnect,
    receive: Receive,
) -> Result {
    let handlers: [(usize, *const ()); 2] = [
        (EVENT_DISCONNECT, disconnect as _),
        (EVENT_RECEIVE, receive as _),
    ];
    for (event, handler) in handlers {
        let parameters = [event, handler.expose_provenance(), context, 0];
        // SAFETY: The address is open; forwarded.
        unsafe { request::perform(address, request::SET_EVENT_HANDLER, parameters) }?;
    }
    Ok(())
}

/// Takes what is there.
unsafe extern "C" fn receive(
    context: PVOID,
    _connection: PVOID,
    _flags: ULONG,
    indicated: ULONG,
    _available: ULONG,
    taken: *mut ULONG,
    _tsdu: PVOID,
    _irp: *mut PIRP,
) -> NTSTATUS {
    // SAFETY: An out parameter of the transport.
    unsafe { taken.write(indicated) };
    // SAFETY: What was registered: the inbox, which outlives the address.
    unsafe { &*context.cast::<Inbox>() }.receive(indicated);
    STATUS_SUCCESS
}
