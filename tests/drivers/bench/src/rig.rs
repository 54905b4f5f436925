//! A transport, an address, a connection and any number of circuits, built through the engine.

use alloc::vec::Vec;
use core::ptr;

use client_nt::{
    pool::{Bytes, NonPaged},
    status::{Result, check},
    unicode,
};
use rxce_client::{
    RXCE_ADDRESS, RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION, RXCE_CONNECTION_EVENT_HANDLER,
    RXCE_CONNECTION_INFORMATION, RXCE_TRANSPORT, RXCE_VC, RxCeBuildAddress, RxCeBuildConnection,
    RxCeBuildTransport, RxCeBuildVC, RxCeTearDownAddress, RxCeTearDownConnection,
    RxCeTearDownTransport, RxCeTearDownVC,
};
use wdk_sys::{STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER};

const TAG: u32 = u32::from_le_bytes(*b"Benc");

/// Circuits in one piece of memory.
const CHUNK: u32 = 1024;

/// An IPv4 `TRANSPORT_ADDRESS`.
const ADDRESS: [u8; 22] = [
    1, 0, 0, 0, 14, 0, 2, 0, 2, 52, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// What is built. The circuits are built from the first on.
pub(crate) struct Rig {
    transport: NonPaged<RXCE_TRANSPORT>,
    address: NonPaged<RXCE_ADDRESS>,
    connection: NonPaged<RXCE_CONNECTION>,
    /// The connection's own circuit, which stays.
    first: NonPaged<RXCE_VC>,
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

impl Rig {
    /// Builds everything but further circuits.
    pub(crate) fn new() -> Result<Self> {
        let rig = Self {
            transport: NonPaged::try_new(RXCE_TRANSPORT::default(), TAG)?,
            address: NonPaged::try_new(RXCE_ADDRESS::default(), TAG)?,
            connection: NonPaged::try_new(RXCE_CONNECTION::default(), TAG)?,
            first: NonPaged::try_new(RXCE_VC::default(), TAG)?,
            chunks: Vec::new(),
            live: 0,
        };
        // What is built is taken down with the rig, also where a later step fails.
        rig.build()?;
        Ok(rig)
    }

    fn build(&self) -> Result {
        let (transport, address) = (self.transport.as_non_null(), self.address.as_non_null());
        let mut name = unicode!(bench_ioctl::TRANSPORT_NAME);
        // SAFETY: All arguments live across the call; the structures stay until they are torn down.
        check(unsafe { RxCeBuildTransport(transport.as_ptr(), &raw mut name, 0) })?;
        let mut local = ADDRESS;
        let mut on_address = RXCE_ADDRESS_EVENT_HANDLER::default();
        // SAFETY: As above.
        check(unsafe {
            RxCeBuildAddress(
                address.as_ptr(),
                transport.as_ptr(),
                local.as_mut_ptr().cast(),
                &raw mut on_address,
                ptr::null_mut(),
            )
        })?;
        let mut peer = ADDRESS;
        let mut information = RXCE_CONNECTION_INFORMATION {
            RemoteAddressLength: 22,
            RemoteAddress: peer.as_mut_ptr().cast(),
            ..Default::default()
        };
        let mut on_connection = RXCE_CONNECTION_EVENT_HANDLER::default();
        // SAFETY: As above.
        check(unsafe {
            RxCeBuildConnection(
                address.as_ptr(),
                &raw mut information,
                &raw mut on_connection,
                ptr::null_mut(),
                self.connection.as_non_null().as_ptr(),
                self.first.as_non_null().as_ptr(),
            )
        })
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

    /// Builds circuit `index`.
    pub(crate) fn build_circuit(&self, index: u32) -> Result {
        let vc = self.circuit(index)?;
        let connection = self.connection.as_non_null().as_ptr();
        // SAFETY: Both structures stay until they are torn down.
        check(unsafe { RxCeBuildVC(vc, connection) })
    }

    /// Builds or tears down circuits until `count` are alive.
    pub(crate) fn resize(&mut self, count: u32) -> Result {
        while self.live < count {
            if self.live.is_multiple_of(CHUNK) && (self.live / CHUNK) as usize == self.chunks.len()
            {
                let room = self.chunks.try_reserve(1);
                room.map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
                self.chunks.push(Chunk::new()?);
            }
            self.build_circuit(self.live)?;
            self.live = self.live.saturating_add(1);
        }
        while self.live > count {
            let last = self.live.saturating_sub(1);
            let vc = self.circuit(last)?;
            // SAFETY: The circuit is built.
            check(unsafe { RxCeTearDownVC(vc) })?;
            self.live = last;
        }
        Ok(())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // What the engine refuses to take down stays visible as a leak.
        let _ = self.resize(0);
        // SAFETY: What is not built is refused.
        let _ = unsafe { RxCeTearDownVC(self.first.as_non_null().as_ptr()) };
        // SAFETY: As above.
        let _ = unsafe { RxCeTearDownConnection(self.connection.as_non_null().as_ptr()) };
        // SAFETY: As above.
        let _ = unsafe { RxCeTearDownAddress(self.address.as_non_null().as_ptr()) };
        // SAFETY: As above.
        let _ = unsafe { RxCeTearDownTransport(self.transport.as_non_null().as_ptr()) };
    }
}
