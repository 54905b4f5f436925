//! Connections: a remote peer and the client's callbacks, shared by the circuits to that peer
//! (specification 5.7, 5.9).

use core::{
    mem::offset_of,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicBool, Ordering},
};

use rxce_engine::{Error, mutant};
use wdk_sys::PVOID;

use super::{
    address::{Address, Member},
    counters::Totals,
    information::{Information, Remote},
    layer::{self, Layer},
    pins::{Child, Pins},
    registry::{Block, Header, Kind, Ref, pointers},
    transport::Transport,
};
use crate::{
    abi::{self, Client, Signed, write_field},
    nt::{
        irql::Pageable,
        pool::{PoolBox, Pooled, Tag},
        spin_lock::SpinLock,
    },
    tdi::bindings::TDI_CONNECTION_INFORMATION,
    trace,
};

/// The private block of an `RXCE_CONNECTION`.
#[repr(C)]
pub(super) struct Connection {
    header: Header,
    /// `pHandler` points here.
    handler: abi::ConnectionEventHandler,
    context: PVOID,
    /// Pinned by this connection.
    address: NonNull<Address>,
    information: Information,
    pins: SpinLock<Pins>,
    totals: Totals,
    /// Whether the client's structure shows this connection.
    announced: AtomicBool,
}

// SAFETY: The table and the context are the client's to share; all else synchronises itself.
unsafe impl Sync for Connection {}

// SAFETY: The header comes first, and only connections have this kind.
unsafe impl Block for Connection {
    const KIND: Kind = Kind::Connection;

    fn header(&self) -> &Header {
        &self.header
    }
}

impl Pooled for Connection {
    const TAG: Tag = Tag::new(*b"RxCo");
}

impl Layer for Connection {
    type Public = abi::Connection;

    fn disconnect(&self, _at: &Pageable) {}

    fn release(&self, _at: &Pageable) {}

    fn retire(&self) {
        trace::connection_ended(self.public().address());
        if self.announced.load(Ordering::Relaxed) {
            // SAFETY: The structure is registered, and its claimant clears it.
            unsafe { self.public().clear() };
        }
        self.address().unpin(Child::Connection);
    }
}

/// `RxCeTearDownConnection`.
///
/// # Errors
///
/// [`Error::InvalidParameter`] for a connection that is not built, damaged, or has circuits.
pub(crate) fn tear_down(at: &Pageable, public: Client<abi::Connection>) -> Result<(), Error> {
    let connection = find(public)?;
    connection.pins.with(Pins::claim)?;
    layer::dismantle(at, connection);
    Ok(())
}

/// Finds a built connection that nobody has damaged, on intact parents.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub(super) fn find(public: Client<abi::Connection>) -> Result<Ref<Connection>, Error> {
    let connection: Ref<Connection> = pointers::find(public.address()).required()?;
    let intact = connection.is_intact() && connection.parents_are_signed();
    if intact {
        Ok(connection)
    } else {
        Err(Error::InvalidParameter)
    }
}

impl Connection {
    /// Where its address is, for debuggers.
    pub(super) const ADDRESS: usize = offset_of!(Self, address);
    /// Where it counts.
    pub(super) const FLOW: usize = offset_of!(Self, totals) + Totals::FLOW;

    /// A connection that nobody knows yet. The caller has counted it in at the address.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(super) fn new(
        public: Client<abi::Connection>,
        address: NonNull<Address>,
        remote: Remote<'_>,
        handler: abi::ConnectionEventHandler,
        context: PVOID,
    ) -> Result<PoolBox<Self>, Error> {
        PoolBox::new(Self {
            header: Header::new(Kind::Connection, public),
            handler,
            context,
            address,
            information: Information::new(remote)?,
            pins: SpinLock::new(Pins::new()),
            totals: Totals::new(),
            announced: AtomicBool::new(false),
        })
    }

    /// Fills the client's structure, and keeps its counter right from now on.
    pub(super) fn publish(&self) {
        let value = abi::Connection {
            Signature: 0,
            pAddress: self.address().public().as_ptr(),
            VirtualCircuitCount: 0,
            pContext: self.context,
            pHandler: (&raw const self.handler).cast_mut(),
            pConnectionInformation: self.information.as_ptr(),
        };
        // SAFETY: The structure is reserved by this build.
        unsafe { self.public().publish(value) };
        self.pins.with(|pins| {
            self.announced.store(true, Ordering::Relaxed);
            self.mirror(pins);
        });
        trace::connection_built(self.public().address(), self.address().public().address());
    }

    fn is_intact(&self) -> bool {
        // SAFETY: The structure is registered.
        let public = unsafe { self.public().snapshot() };
        public.Signature == abi::Connection::SIGNATURE
            && public.pAddress == self.address().public().as_ptr()
            && ptr::addr_eq(public.pHandler, &raw const self.handler)
            && public.pConnectionInformation == self.information.as_ptr()
    }

    /// Whether the signature is intact: all that is asked of a parent.
    pub(super) fn is_signed(&self) -> bool {
        // SAFETY: The structure is registered as long as the block is pinned.
        unsafe { self.public().is_signed() }
    }

    /// Whether address and transport are intact.
    pub(super) fn parents_are_signed(&self) -> bool {
        self.address().is_signed() && self.transport().is_signed()
    }

    /// The client's structure, for a child's field.
    pub(super) const fn public(&self) -> Client<abi::Connection> {
        self.header.structure()
    }

    /// The local address.
    pub(super) const fn address(&self) -> &Address {
        // SAFETY: The connection has pinned it.
        unsafe { self.address.as_ref() }
    }

    /// What is counted for it.
    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The transport.
    pub(super) const fn transport(&self) -> &Transport {
        self.address().transport()
    }

    /// The client's callbacks.
    pub(super) const fn callbacks(&self) -> (&abi::ConnectionEventHandler, PVOID) {
        (&self.handler, self.context)
    }

    /// The copy of the client's connection information.
    pub(super) const fn information(&self) -> *const TDI_CONNECTION_INFORMATION {
        self.information.as_ptr()
    }

    /// The structure of that copy as bytes; its pointers lead into the copy, and are good as long as the connection.
    pub(super) const fn information_bytes(&self) -> &[u8] {
        // SAFETY: The copy begins with the structure, which was written whole.
        unsafe {
            slice::from_raw_parts(
                self.information.as_ptr().cast(),
                size_of::<TDI_CONNECTION_INFORMATION>(),
            )
        }
    }

    /// Counts a circuit in, here and at the parents.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if one of them is being torn down.
    pub(super) fn pin(&self) -> Result<(), Error> {
        self.pins.with(|pins| {
            pins.pin(Child::Circuit)?;
            self.mirror(pins);
            Ok(())
        })?;
        self.address()
            .pin(Child::Circuit)
            .inspect_err(|_| self.unpin_here())
    }

    /// Undoes [`Self::pin`] where no circuit came of it.
    pub(super) fn unpin(&self) {
        self.address().unpin(Child::Circuit);
        self.unpin_here();
    }

    /// Counts a circuit out, and unlinks it from the address; this connection comes last, since it pins the others.
    ///
    /// # Safety
    ///
    /// The member is in a list of the address, or in none.
    pub(super) unsafe fn unpin_circuit(&self, member: NonNull<Member>) {
        // SAFETY: Forwarded.
        unsafe { self.address().unpin_circuit(member) };
        self.unpin_here();
    }

    fn unpin_here(&self) {
        self.pins.with(|pins| {
            pins.unpin(Child::Circuit);
            if !mutant!(MirrorStale) {
                self.mirror(pins);
            }
        });
    }

    fn mirror(&self, pins: &Pins) {
        if !self.announced.load(Ordering::Relaxed) {
            return;
        }
        // The structure is registered, and the counter changes only under this lock.
        write_field!(
            self.public(),
            VirtualCircuitCount,
            pins.circuits().cast_unsigned()
        );
    }
}
