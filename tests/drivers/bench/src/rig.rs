//! A transport, an address, a connection and any number of circuits, built through the engine.
//!
//! The engine's routines are called by its table, as an import is called on Windows: directly. An import of another driver
//! would go through ntsim's gate here.

use alloc::vec::Vec;
use core::{ffi::c_int, mem, ptr};

use bench_ioctl::Provider;
use client_nt::{
    pool::{Bytes, NonPaged},
    status::{Result, check},
};
use rxce_client::{
    PRXCE_VC, RXCE_ADDRESS, RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION,
    RXCE_CONNECTION_EVENT_HANDLER, RXCE_TRANSPORT, RXCE_VC, RXCEX_ROUTINES, RxCexGetRoutines,
    remote_information,
};
use wdk_sys::{
    NTSTATUS, PMDL, PULONG, PVOID, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    STATUS_PROCEDURE_NOT_FOUND, STATUS_SUCCESS, ULONG,
};

use crate::client::{self, Client, Inbox, Sent};

const TAG: u32 = u32::from_le_bytes(*b"Benc");

/// Circuits in one piece of memory.
const CHUNK: u32 = 1024;

/// Calls a routine of the table.
macro_rules! engine {
    ($rig:expr, $routine:ident($($argument:expr),* $(,)?)) => {{
        let routine = $rig.routines.$routine.ok_or(STATUS_PROCEDURE_NOT_FOUND)?;
        // SAFETY: The structures are built, or are what the engine refuses; what the arguments point to lives across the
        // call, and longer where the routine says so.
        check(unsafe { routine($($argument),*) })
    }};
}
pub(crate) use engine;

/// What is built. The circuits are built from the first on.
pub(crate) struct Rig {
    pub(crate) routines: RXCEX_ROUTINES,
    provider: Provider,
    transport: NonPaged<RXCE_TRANSPORT>,
    address: NonPaged<RXCE_ADDRESS>,
    connection: NonPaged<RXCE_CONNECTION>,
    /// The connection's own circuit, which stays.
    first: NonPaged<RXCE_VC>,
    inbox: NonPaged<Inbox>,
    chunks: Vec<Chunk>,
    live: u32,
}

/// Memory for circuits.
struct Chunk {
    start: *mut RXCE_VC,
    _memory: Bytes,
}

impl Chunk {
    fn new() -> Result<Self> {
        let bytes = size_of::<RXCE_VC>().saturating_mul(CHUNK as usize);
        let mut memory = Bytes::try_new(bytes, TAG)?;
        Ok(Self {
            start: memory.as_mut_ptr().cast(),
            _memory: memory,
        })
    }
}

/// The engine's table.
fn routines() -> Result<RXCEX_ROUTINES> {
    // SAFETY: Integers and optional functions.
    let mut routines: RXCEX_ROUTINES = unsafe { mem::zeroed() };
    #[expect(clippy::cast_possible_truncation, reason = "some hundred bytes")]
    const SIZE: u32 = size_of::<RXCEX_ROUTINES>() as u32;
    routines.Size = SIZE;
    // SAFETY: The table has room for what its size says.
    check(unsafe { RxCexGetRoutines(&raw mut routines) })?;
    Ok(routines)
}

impl Rig {
    /// Builds everything but further circuits.
    ///
    /// # Errors
    ///
    /// The first failure; nothing is built then.
    pub(crate) fn new(provider: Provider) -> Result<Self> {
        let inbox = NonPaged::try_new(Inbox::new(), TAG)?;
        // SAFETY: In its place, in nonpaged pool.
        unsafe { inbox.initialise() };
        let rig = Self {
            routines: routines()?,
            provider,
            transport: NonPaged::try_new(RXCE_TRANSPORT::default(), TAG)?,
            address: NonPaged::try_new(RXCE_ADDRESS::default(), TAG)?,
            connection: NonPaged::try_new(RXCE_CONNECTION::default(), TAG)?,
            first: NonPaged::try_new(RXCE_VC::default(), TAG)?,
            inbox,
            chunks: Vec::new(),
            live: 0,
        };
        // What is built is taken down with the rig, also where a later step fails.
        rig.build_parents()?;
        Ok(rig)
    }

    fn build_parents(&self) -> Result {
        let transport = self.transport.as_non_null().as_ptr();
        let address = self.address.as_non_null().as_ptr();
        let mut name = client::device(self.provider);
        engine!(self, BuildTransport(transport, &raw mut name, 0))?;
        let mut local = client::LOCAL;
        let mut on_address = RXCE_ADDRESS_EVENT_HANDLER::default();
        engine!(
            self,
            BuildAddress(
                address,
                transport,
                local.as_mut_ptr().cast(),
                &raw mut on_address,
                ptr::null_mut(),
            )
        )?;
        let mut peer = client::peer(self.provider);
        let mut information = remote_information(&mut peer);
        let mut on_connection = RXCE_CONNECTION_EVENT_HANDLER {
            RxCeReceiveEventHandler: Some(receive),
            RxCeDisconnectEventHandler: Some(disconnected),
            RxCeSendCompleteEventHandler: Some(sent),
            ..Default::default()
        };
        engine!(
            self,
            BuildConnection(
                address,
                &raw mut information,
                &raw mut on_connection,
                self.inbox.as_non_null().as_ptr().cast(),
                self.connection.as_non_null().as_ptr(),
                self.first.as_non_null().as_ptr(),
            )
        )
    }

    /// How many circuits are alive besides the connection's own.
    pub(crate) const fn live(&self) -> u32 {
        self.live
    }

    /// Circuit `index`, whether it is built or not.
    pub(crate) fn circuit(&self, index: u32) -> Result<*mut RXCE_VC> {
        let chunk = self.chunks.get((index / CHUNK) as usize);
        let chunk = chunk.ok_or(STATUS_INVALID_PARAMETER)?;
        Ok(chunk.start.wrapping_add((index % CHUNK) as usize))
    }

    /// Builds or tears down circuits until `count` are alive.
    ///
    /// # Errors
    ///
    /// The first failure.
    pub(crate) fn resize(&mut self, count: u32) -> Result {
        while self.live < count {
            if self.live.is_multiple_of(CHUNK) && (self.live / CHUNK) as usize == self.chunks.len()
            {
                let room = self.chunks.try_reserve(1);
                room.map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
                self.chunks.push(Chunk::new()?);
            }
            self.build(self.live)?;
            self.live = self.live.saturating_add(1);
        }
        while self.live > count {
            let last = self.live.saturating_sub(1);
            self.tear_down(last)?;
            self.live = last;
        }
        Ok(())
    }

    fn take_down(&self) -> Result {
        // What is not built is refused.
        let _ = engine!(self, TearDownVC(self.first.as_non_null().as_ptr()));
        let connection = self.connection.as_non_null().as_ptr();
        let _ = engine!(self, TearDownConnection(connection));
        let _ = engine!(self, TearDownAddress(self.address.as_non_null().as_ptr()));
        engine!(
            self,
            TearDownTransport(self.transport.as_non_null().as_ptr())
        )
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // What the engine refuses to take down stays visible as a leak.
        let _ = self.resize(0);
        let _ = self.take_down();
    }
}

impl Client for Rig {
    unsafe fn send(&self, index: u32, mdl: PMDL, length: u32, context: PVOID) -> Result {
        engine!(self, Send(self.circuit(index)?, 0, mdl, length, context))
    }

    fn disconnect(&self, index: u32) -> Result {
        engine!(self, InitiateVCDisconnect(self.circuit(index)?))
    }

    fn tear_down(&self, index: u32) -> Result {
        engine!(self, TearDownVC(self.circuit(index)?))
    }

    fn build(&self, index: u32) -> Result {
        let connection = self.connection.as_non_null().as_ptr();
        engine!(self, BuildVC(self.circuit(index)?, connection))
    }

    fn inbox(&self) -> &Inbox {
        &self.inbox
    }
}

/// Takes what is there.
unsafe extern "C" fn receive(
    context: PVOID,
    _vc: PRXCE_VC,
    _flags: ULONG,
    indicated: ULONG,
    _available: ULONG,
    taken: *mut ULONG,
    _tsdu: PVOID,
    _buffer: *mut PMDL,
    _buffer_size: PULONG,
) -> NTSTATUS {
    // SAFETY: An out parameter of the engine.
    unsafe { taken.write(indicated) };
    // SAFETY: The connection's context: the inbox, which outlives it.
    unsafe { &*context.cast::<Inbox>() }.receive(indicated);
    STATUS_SUCCESS
}

/// The peer's end of a circuit is known from what the peer does not send.
unsafe extern "C" fn disconnected(
    _context: PVOID,
    _vc: PRXCE_VC,
    _data_length: c_int,
    _data: PVOID,
    _information_length: c_int,
    _information: PVOID,
    _flags: ULONG,
) -> NTSTATUS {
    STATUS_SUCCESS
}

unsafe extern "C" fn sent(
    _context: PVOID,
    _vc: PRXCE_VC,
    completion: PVOID,
    status: NTSTATUS,
) -> NTSTATUS {
    // SAFETY: The completion context of a send, once.
    unsafe { Sent::end(completion, status) };
    STATUS_SUCCESS
}
