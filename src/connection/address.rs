//! Addresses: one local transport address each, on which the engine's event handlers are registered
//! (specification 5.5, 5.6).

mod chained;

pub(crate) use self::chained::accept as accept_chained;

use core::{cell::UnsafeCell, ffi::c_void, mem::offset_of, ptr::NonNull};

use rxce_engine::{Error, mutant};
use wdk_sys::{PMDL, PVOID};

use super::{
    counters::{Counter, Totals},
    layer::{self, Layer},
    list::{Linked, Links, List},
    pins::{Child, Pins},
    registry::{Block, Header, Kind, Ref, ids::OwnedId, pointers},
    transport::{self, Transport},
};
use crate::{
    abi::{self, Client, Signed, write_field},
    nt::{
        file::File,
        handle_thread::HANDLE_THREAD,
        irql::Pageable,
        pool::{Bytes, PoolBox, Pooled, Tag},
        spin_lock::SpinLock,
        target::Target,
    },
    tdi::{
        bindings::{
            TDI_EVENT_DISCONNECT, TDI_EVENT_ERROR, TDI_EVENT_RECEIVE, TDI_EVENT_RECEIVE_DATAGRAM,
            TDI_EVENT_RECEIVE_EXPEDITED, TDI_EVENT_SEND_POSSIBLE, TDI_SERVICE_CONNECTIONLESS_MODE,
            TDI_SERVICE_EXPEDITED_DATA, TDI_SERVICE_INTERNAL_BUFFERING,
        },
        open, request, synchronous,
    },
    trace,
};

/// A circuit's place in the lists of its address.
pub(super) struct Member(UnsafeCell<Links<Self>>);

// SAFETY: The links are reached only under the address's lock.
unsafe impl Sync for Member {}

impl Member {
    /// A place in no list.
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(Links::new()))
    }
}

// SAFETY: The links belong to the lists of the address.
unsafe impl Linked for Member {
    fn links(node: NonNull<Self>) -> *mut Links<Self> {
        // SAFETY: A node lives while it is listed.
        unsafe { node.as_ref() }.0.get()
    }
}

/// The handlers that a transport calls, each of its event's type, with the address's token as context.
pub(crate) struct Handlers {
    pub(crate) error: *const c_void,
    pub(crate) disconnect: *const c_void,
    pub(crate) receive: *const c_void,
    pub(crate) receive_expedited: *const c_void,
    pub(crate) receive_datagram: *const c_void,
    pub(crate) send_possible: *const c_void,
}

/// The private block of an `RXCE_ADDRESS`.
#[repr(C)]
pub(super) struct Address {
    header: Header,
    /// `pHandler` points here.
    handler: abi::AddressEventHandler,
    context: PVOID,
    /// Pinned by this address.
    transport: NonNull<Transport>,
    id: OwnedId,
    /// `pTransportAddress` points here.
    local: Bytes,
    file: File,
    state: SpinLock<State>,
    totals: Totals,
    chained: chained::Callback,
}

/// What changes, under the address's lock.
struct State {
    pins: Pins,
    /// Circuits that no error event has visited.
    live: List<Member>,
    /// Those that one has.
    seen: List<Member>,
    chained: chained::Wish,
}

// SAFETY: The table and the context are the client's to share; all else synchronises itself.
unsafe impl Sync for Address {}

// SAFETY: The header comes first, and only addresses have this kind.
unsafe impl Block for Address {
    const KIND: Kind = Kind::Address;

    fn header(&self) -> &Header {
        &self.header
    }
}

impl Pooled for Address {
    const TAG: Tag = Tag::new(*b"RxAd");
}

impl Layer for Address {
    type Public = abi::Address;

    fn disconnect(&self, at: &Pageable) {
        self.id.withdraw();
        // The close disables the handlers and completes what is outstanding: waiting first could take for ever.
        HANDLE_THREAD.at_passive(at, || self.file.close());
    }

    fn release(&self, at: &Pageable) {
        HANDLE_THREAD.at_passive(at, || self.file.dereference());
    }

    fn retire(&self) {
        trace::address_ended(self.public().address());
        // SAFETY: The structure is registered, and its claimant clears it.
        unsafe { self.public().clear() };
        self.transport().unpin(Child::Address);
    }
}

/// Copies of local addresses.
const LOCAL_TAG: Tag = Tag::new(*b"RxTa");

/// `RxCeBuildAddress`.
///
/// # Errors
///
/// The documented ones, and the statuses of the open and of the registrations.
pub(crate) fn build(
    at: &Pageable,
    public: Client<abi::Address>,
    transport: Client<abi::Transport>,
    local: &[u8],
    handler: abi::AddressEventHandler,
    context: PVOID,
    handlers: &Handlers,
) -> Result<(), Error> {
    layer::require_free(public)?;
    let transport = transport::find(transport)?;
    transport.pin(Child::Address)?;
    // The pin keeps the transport from now on.
    let parent = transport.as_ptr();
    let block = Address::new(public, parent, local, handler, context);
    let address = match layer::reserve(public, block) {
        Ok(address) => address,
        Err(error) => {
            transport.unpin(Child::Address);
            return Err(error);
        }
    };
    match address.open(at, &address, handlers) {
        Ok(()) => {
            pointers::set_usable(&address);
            trace::address_built(public.address(), transport.public().address());
            Ok(())
        }
        Err(error) => {
            layer::dismantle(at, address);
            Err(error)
        }
    }
}

/// `RxCeTearDownAddress`.
///
/// # Errors
///
/// [`Error::InvalidParameter`] for an address that is not built, damaged or in use.
pub(crate) fn tear_down(at: &Pageable, public: Client<abi::Address>) -> Result<(), Error> {
    let address = find(public)?;
    address.state.with(|state| {
        if state.chained == chained::Wish::Asking {
            return Err(Error::InvalidParameter);
        }
        state.pins.claim()
    })?;
    layer::dismantle(at, address);
    Ok(())
}

/// Finds a built address that nobody has damaged, on an intact transport.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub(super) fn find(public: Client<abi::Address>) -> Result<Ref<Address>, Error> {
    let address: Ref<Address> = pointers::find(public.address()).required()?;
    if address.is_intact() && address.transport().is_signed() {
        Ok(address)
    } else {
        Err(Error::InvalidParameter)
    }
}

impl Address {
    /// Where its transport is, for debuggers.
    pub(super) const TRANSPORT: usize = offset_of!(Self, transport);
    /// Where it counts.
    pub(super) const FLOW: usize = offset_of!(Self, totals) + Totals::FLOW;

    fn new(
        public: Client<abi::Address>,
        transport: NonNull<Transport>,
        local: &[u8],
        handler: abi::AddressEventHandler,
        context: PVOID,
    ) -> Result<PoolBox<Self>, Error> {
        let mut copy = Bytes::new(local.len(), LOCAL_TAG)?;
        copy.copy_from_slice(local);
        PoolBox::new(Self {
            header: Header::new(Kind::Address, public),
            handler,
            context,
            transport,
            id: OwnedId::new()?,
            local: copy,
            file: File::none(),
            state: SpinLock::new(State {
                pins: Pins::new(),
                live: List::new(),
                seen: List::new(),
                chained: chained::Wish::None,
            }),
            totals: Totals::new(),
            chained: chained::Callback::none(),
        })
    }

    /// Opens the address, publishes the structure and registers the handlers, which may run during that.
    fn open(&self, at: &Pageable, this: &Ref<Self>, handlers: &Handlers) -> Result<(), Error> {
        let transport = self.transport();
        let name = transport.name();
        HANDLE_THREAD.at_passive(at, || {
            open::address(&self.file, name.as_string(), &self.local)
        })?;
        let value = abi::Address {
            Signature: 0,
            pTransport: transport.public().as_ptr(),
            pTransportAddress: self.local.as_ptr().cast(),
            pContext: self.context,
            pHandler: (&raw const self.handler).cast_mut(),
            pReceiveMdl: core::ptr::null_mut(),
            hAddress: self.file.handle(),
            pFileObject: self.file.object(),
            ConnectionCount: 0,
            VirtualCircuitCount: 0,
        };
        // SAFETY: The structure is reserved by this build.
        unsafe { self.public().publish(value) };
        self.id.publish(this);
        self.register_handlers(at, handlers)
    }

    fn register_handlers(&self, at: &Pageable, handlers: &Handlers) -> Result<(), Error> {
        let transport = self.transport();
        if !mutant!(NoErrorHandler) {
            self.register(at, TDI_EVENT_ERROR, handlers.error)?;
        }
        if transport.offers(TDI_SERVICE_CONNECTIONLESS_MODE) {
            self.register(at, TDI_EVENT_RECEIVE_DATAGRAM, handlers.receive_datagram)?;
        }
        // The engine works without expedited data and Send Possible: what a transport does not offer after all is not
        // missed.
        if transport.has_connections() {
            self.register(at, TDI_EVENT_DISCONNECT, handlers.disconnect)?;
            self.register(at, TDI_EVENT_RECEIVE, handlers.receive)?;
            if transport.offers(TDI_SERVICE_EXPEDITED_DATA) || mutant!(ExpeditedUnasked) {
                let _ = self.register(at, TDI_EVENT_RECEIVE_EXPEDITED, handlers.receive_expedited);
            }
        }
        if transport.offers(TDI_SERVICE_INTERNAL_BUFFERING) {
            let _ = self.register(at, TDI_EVENT_SEND_POSSIBLE, handlers.send_possible);
        }
        Ok(())
    }

    fn register(&self, at: &Pageable, event: u32, handler: *const c_void) -> Result<(), Error> {
        let call = request::set_event_handler(event, handler, self.id.raw());
        let target = self.target();
        // SAFETY: The address is open, and the handler is of the event's type.
        let (status, _) =
            unsafe { synchronous::perform(at, &target, &call, core::ptr::null_mut()) }?;
        if wdk::nt_success(status) {
            Ok(())
        } else {
            Err(Error::Transport(status))
        }
    }

    /// Whether the client's structure still says what the build wrote.
    fn is_intact(&self) -> bool {
        // SAFETY: The structure is registered.
        let public = unsafe { self.public().snapshot() };
        public.Signature == abi::Address::SIGNATURE
            && public.pTransport == self.transport().public().as_ptr()
            && core::ptr::addr_eq(public.pHandler, &raw const self.handler)
            && public.hAddress == self.file.handle()
            && public.pFileObject == self.file.object()
    }

    /// Whether the signature is intact: all that is asked of a parent.
    pub(super) fn is_signed(&self) -> bool {
        // SAFETY: The structure is registered as long as the block is pinned.
        unsafe { self.public().is_signed() }
    }

    /// The client's structure, for a child's field.
    pub(super) const fn public(&self) -> Client<abi::Address> {
        self.header.structure()
    }

    /// What is counted for it.
    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Counts here and at the transport.
    pub(super) fn count(&self, number: u64, which: impl Fn(&Totals) -> &Counter) {
        which(&self.totals).add(number);
        which(self.transport().totals()).add(number);
    }

    /// The transport.
    pub(super) const fn transport(&self) -> &Transport {
        // SAFETY: The address has pinned it.
        unsafe { self.transport.as_ref() }
    }

    /// The kernel handle, for `TDI_ASSOCIATE_ADDRESS`.
    pub(super) fn handle(&self) -> wdk_sys::HANDLE {
        self.file.handle()
    }

    /// Where requests go at this moment.
    pub(super) fn target(&self) -> Target {
        // SAFETY: The file object is referenced from the open until after the run-down.
        unsafe { self.file.target() }
    }

    /// The public `pReceiveMdl`: the datagram that began last, or NULL.
    pub(super) fn set_receive_mdl(&self, mdl: PMDL) {
        // The structure is registered until after the run-down; the member is for the debugger only.
        write_field!(self.public(), pReceiveMdl, mdl);
    }

    /// The client's callbacks.
    pub(super) const fn callbacks(&self) -> (&abi::AddressEventHandler, PVOID) {
        (&self.handler, self.context)
    }

    /// Counts a child in, here and at the transport.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if a parent is being torn down.
    pub(super) fn pin(&self, child: Child) -> Result<(), Error> {
        self.state.with(|state| {
            state.pins.pin(child)?;
            self.mirror(&state.pins);
            Ok(())
        })?;
        // The address pins the transport, so this one succeeds as long as the address lives.
        self.transport()
            .pin(child)
            .inspect_err(|_| self.unpin_here(child))
    }

    /// Counts a child out: its last touch of the address, which may be gone right after. So the address comes last.
    pub(super) fn unpin(&self, child: Child) {
        self.transport().unpin(child);
        self.unpin_here(child);
    }

    fn unpin_here(&self, child: Child) {
        self.state.with(|state| {
            state.pins.unpin(child);
            self.mirror(&state.pins);
        });
    }

    fn mirror(&self, pins: &Pins) {
        // The structure is registered, and the counters change only under this lock.
        write_field!(self.public(), ConnectionCount, pins.connections());
        write_field!(self.public(), VirtualCircuitCount, pins.circuits());
    }

    /// Counts a circuit out and unlinks it, if it was linked: the last touch of the address, which may be gone right after.
    ///
    /// # Safety
    ///
    /// The member is in a list of this address, or in none.
    pub(super) unsafe fn unpin_circuit(&self, member: NonNull<Member>) {
        self.transport().unpin(Child::Circuit);
        self.state.with(|state| {
            // SAFETY: Forwarded: it is in one of the two lists, or in none.
            if !unsafe { state.live.remove(member) } {
                // SAFETY: As above.
                unsafe { state.seen.remove(member) };
            }
            state.pins.unpin(Child::Circuit);
            self.mirror(&state.pins);
        });
    }

    /// Links a published circuit, so that an error of the address reaches it.
    ///
    /// # Safety
    ///
    /// The member is in no list, and is unlinked before its circuit is freed.
    pub(super) unsafe fn link(&self, member: NonNull<Member>) {
        self.state.with(|state| {
            // SAFETY: Forwarded.
            unsafe { state.live.insert(member) };
        });
    }

    /// Decides about one circuit that no error has visited yet, under the address's lock; `None` when all were visited.
    pub(super) fn next_unseen<R>(&self, decide: impl FnOnce(NonNull<Member>) -> R) -> Option<R> {
        self.state.with(|state| {
            let member = state.live.first()?;
            // SAFETY: The member is the first of this list.
            unsafe { state.live.remove(member) };
            // SAFETY: It is in no list now.
            unsafe { state.seen.insert(member) };
            // A linked circuit lives. Lock order: address, then circuit.
            Some(decide(member))
        })
    }
}
