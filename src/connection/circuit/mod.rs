//! Virtual circuits: the private block of an `RXCE_VC`, its callbacks and its requests. What the engine's steps do to it
//! is in [`steps`], what clients do to it in [`super::lifecycle`] and beside it.

mod steps;

#[cfg(debug_assertions)]
use core::sync::atomic::AtomicUsize;
use core::{
    cell::UnsafeCell,
    ffi::c_void,
    mem::offset_of,
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use rxce_engine::{
    Error, circuit as engine,
    ledger::Ledger,
    life::{Life, Notice, State},
    receive::Channel,
};
use wdk_sys::{KEVENT, NTSTATUS, PMDL};

pub(super) use self::steps::finish_waited;
use super::{
    address::Member,
    backlog::Backlog,
    layer::Layer,
    peer::Connection,
    registry::{self, Block, Header, Ref, ids::OwnedId, pointers},
    request::{Finish, Handle, Home, Parts, Purpose, Request, RequestList},
    transfer::Transfer,
};
use crate::{
    abi::{self, Client, Signed, write_field},
    nt::{
        event::{self, Event},
        file::File,
        handle_thread::HANDLE_THREAD,
        irp::Irp,
        irql::Pageable,
        pool::{PoolBox, Pooled, Tag},
        spin_lock::SpinLock,
        target::Target,
    },
    tdi::{
        bindings::{TDI_CONNECTION_INFORMATION, TDI_SERVICE_EXPEDITED_DATA},
        open::Attribute,
        request as call,
        synchronous::{self, Submit},
    },
};

/// The private block of an `RXCE_VC`.
#[repr(C)]
pub(super) struct Circuit {
    header: Header,
    public: Client<abi::Vc>,
    /// Pinned by this circuit.
    connection: NonNull<Connection>,
    /// `ConnectionId` and the `ConnectionContext` of the endpoint.
    id: OwnedId,
    endpoint: File,
    ledger: SpinLock<Ledger<RequestList>>,
    progress: Event,
    /// The place in the address's lists.
    member: Member,
    /// Set by the build, before anybody else can find the circuit.
    kept: UnsafeCell<Kept>,
    /// Touched by whoever has the guard of the stream.
    backlogs: [Backlog; 2],
    /// Whether the client's structure shows this circuit.
    announced: AtomicBool,
    /// Set where several circuits compete for one structure.
    entrant: Option<Entrant>,
    /// `pCleanUpEvent` of a winner whose rivals are still being closed.
    clean_up: Event,
    /// Where the transport may report of a connect.
    returned: UnsafeCell<TDI_CONNECTION_INFORMATION>,
    #[cfg(debug_assertions)]
    callback_thread: AtomicUsize,
}

/// Where a circuit competes with others for one structure: whom the end of its connect is told.
#[derive(Clone, Copy)]
pub(super) struct Entrant {
    /// The competition.
    pub(super) race: NonNull<c_void>,
    /// The circuit's number in it.
    pub(super) index: usize,
    /// Called once, by the completion routine of the connect or in its place; the competition lasts until then.
    pub(super) connected: unsafe fn(&Self, NTSTATUS),
}

/// What the opening of an endpoint needs.
pub(super) struct Opening {
    attribute: Attribute,
    associate: Irp,
    connect: PoolBox<Request>,
}

/// Whether a winner's rivals are still being closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rivals {
    Gone,
    Closing,
}

/// Requests allocated ahead, so that nothing fails for memory where it must not.
struct Kept {
    disconnects: [Option<PoolBox<Request>>; 2],
    receives: [Option<PoolBox<Request>>; 2],
}

// SAFETY: Each member says who may touch it; the others synchronise themselves.
unsafe impl Sync for Circuit {}

// SAFETY: The header comes first, and only circuits have this kind.
unsafe impl Block for Circuit {
    const KIND: registry::Kind = registry::Kind::Circuit;

    fn header(&self) -> &Header {
        &self.header
    }
}

impl Pooled for Circuit {
    const TAG: Tag = Tag::new(*b"RxVc");
}

impl Layer for Circuit {
    type Public = abi::Vc;

    fn disconnect(&self, _at: &Pageable) {
        self.id.withdraw();
    }

    fn release(&self, at: &Pageable) {
        HANDLE_THREAD.at_passive(at, || {
            self.endpoint.dereference();
            self.endpoint.close();
        });
    }

    fn retire(&self) {
        let connection = self.connection();
        // SAFETY: The circuit was linked at its publication, or is in no list.
        unsafe { connection.address().unlink(self.member()) };
        // SAFETY: The structure is registered, and its claimant clears it.
        unsafe { self.public.clear() };
        connection.unpin();
    }
}

/// Finds a circuit that nobody has damaged, on intact parents.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub(super) fn find(public: Client<abi::Vc>) -> Result<Ref<Circuit>, Error> {
    let circuit: Ref<Circuit> = pointers::find(public.address()).required()?;
    let connection = circuit.connection();
    let intact = circuit.is_intact() && connection.is_signed() && connection.parents_are_signed();
    if intact {
        Ok(circuit)
    } else {
        Err(Error::InvalidParameter)
    }
}

impl Circuit {
    /// Allocates everything that the circuit will need, and the connect request.
    pub(super) fn new(
        public: Client<abi::Vc>,
        connection: &Connection,
        entrant: Option<Entrant>,
    ) -> Result<(PoolBox<Self>, PoolBox<Request>), Error> {
        let transport = connection.transport();
        let stack_size = transport.stack_size();
        let closing = transport.closing();
        let life = if entrant.is_some() {
            Life::competing(closing)
        } else {
            Life::new(closing)
        };
        let mut circuit = PoolBox::new(Self {
            header: Header::new(registry::Kind::Circuit, public.address()),
            public,
            connection: NonNull::from(connection),
            id: OwnedId::new()?,
            endpoint: File::none(),
            ledger: SpinLock::new(Ledger::new(life, RequestList::new())),
            progress: Event::uninit(),
            member: Member::new(),
            kept: UnsafeCell::new(Kept {
                disconnects: [None, None],
                receives: [None, None],
            }),
            backlogs: [Backlog::new(), Backlog::new()],
            announced: AtomicBool::new(false),
            entrant,
            clean_up: Event::uninit(),
            returned: UnsafeCell::new(TDI_CONNECTION_INFORMATION::default()),
            #[cfg(debug_assertions)]
            callback_thread: AtomicUsize::new(0),
        })?;
        // SAFETY: The circuit is in its place for good, and nobody else has it.
        unsafe { circuit.progress.init_auto_reset() };
        // SAFETY: As above.
        unsafe { circuit.clean_up.init_manual_reset() };
        let block = circuit.as_ptr();
        let expedited = transport.offers(TDI_SERVICE_EXPEDITED_DATA);
        *circuit.kept.get_mut() = Kept::new(block.cast(), stack_size, expedited)?;
        let connect = Request::new(block.cast(), Purpose::Connect, stack_size, Home::Pool)?;
        Ok((circuit, connect))
    }

    /// Allocates what the opening of the endpoint needs, so that it does not fail for memory later.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(super) fn prepare(&self, connect: PoolBox<Request>) -> Result<Opening, Error> {
        Ok(Opening {
            attribute: Attribute::connection_context(self.id.raw())?,
            associate: Irp::new(self.connection().transport().stack_size())?,
            connect,
        })
    }

    /// Opens and associates the endpoint; arms the connect request.
    ///
    /// # Errors
    ///
    /// The status of the step that failed; [`Error::InsufficientResources`] only where the endpoint's device stack is
    /// higher than the transport's was.
    pub(super) fn open(
        circuit: &Ref<Self>,
        at: &Pageable,
        opening: Opening,
    ) -> Result<Handle, Error> {
        let Opening {
            mut attribute,
            mut associate,
            connect,
        } = opening;
        let name = circuit.connection().transport().name();
        HANDLE_THREAD.at_passive(at, || attribute.open(&circuit.endpoint, name.as_string()))?;
        let target = circuit.target();
        let connect = circuit.fit(connect, &target)?;
        if target.device.stack_size() > associate.stack_count() {
            associate = Irp::new(target.device.stack_size())?;
        }
        let call = call::associate_address(circuit.connection().address().handle());
        let (none, submit) = (ptr::null_mut(), Submit::AtPassive);
        // SAFETY: The endpoint is open, and the packet fits its device.
        let (status, _) =
            unsafe { synchronous::perform_with(at, associate, &target, &call, none, submit) }?;
        if !wdk::nt_success(status) {
            return Err(Error::Transport(status));
        }
        let reference = circuit.again().ok_or(Error::InvalidParameter)?.erase();
        let parts = Parts::CompletionAndSubmitter;
        // SAFETY: The request is new, and given up to its parts here.
        Ok(unsafe {
            Handle::arm(
                connect.into_raw(),
                reference,
                target,
                parts,
                steps::complete,
            )
        })
    }

    /// Replaces requests whose packets are too small for the endpoint's device: a filter may sit above it.
    fn fit(&self, connect: PoolBox<Request>, target: &Target) -> Result<PoolBox<Request>, Error> {
        if connect.fits(target) {
            return Ok(connect);
        }
        drop(connect);
        let stack_size = target.device.stack_size();
        let expedited = self
            .connection()
            .transport()
            .offers(TDI_SERVICE_EXPEDITED_DATA);
        let kept = Kept::new(self.block(), stack_size, expedited)?;
        // SAFETY: The circuit is reserved, and nobody but its build can find it.
        unsafe { *self.kept.get() = kept };
        Request::new(self.block(), Purpose::Connect, stack_size, Home::Pool)
    }

    /// Makes the circuit known: to the client, to the transport's events, and to address errors. The peer may send before
    /// the connect is known to be over.
    pub(super) fn publish(&self, this: &Ref<Self>) {
        self.show(State::Active, ptr::null_mut());
        self.expose(this);
        pointers::set_usable(this);
    }

    /// Lets events of the transport and errors of the address find the circuit.
    pub(super) fn expose(&self, this: &Ref<Self>) {
        self.id.publish(this);
        // SAFETY: The circuit is in no list, and is unlinked when it retires.
        unsafe { self.connection().address().link(self.member()) };
    }

    /// Fills the client's structure, which this build has reserved.
    fn show(&self, state: State, clean_up_event: *mut KEVENT) {
        let value = abi::Vc {
            Signature: 0,
            pConnection: self.connection().public().as_ptr(),
            hEndpoint: self.endpoint.handle(),
            pEndpointFileObject: self.endpoint.object(),
            State: state.code(),
            ConnectionId: self.id.raw(),
            pReceiveMdl: ptr::null_mut(),
            pCleanUpEvent: clean_up_event,
        };
        // SAFETY: The structure is reserved by this build.
        unsafe { self.public.publish(value) };
        self.announced.store(true, Ordering::Release);
    }

    /// Shows the winner of a competition in the client's structure; `rivals` says whether others still have to be closed.
    pub(super) fn show_winner(&self, rivals: Rivals) {
        let clean_up = match rivals {
            Rivals::Gone => ptr::null_mut(),
            Rivals::Closing => self.clean_up.as_ptr(),
        };
        self.ledger
            .with(|ledger| self.show(ledger.life.state(), clean_up));
    }

    /// Lets the client hear of the winner from now on.
    pub(super) fn announce(&self) {
        engine::change(self, |ledger| ledger.life.announce());
    }

    /// Gives up a circuit that lost, and closes its endpoint: that ends its connect.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(super) fn give_up(&self) {
        engine::change(self, |ledger| ledger.life.give_up());
        self.id.withdraw();
        self.endpoint.close();
    }

    /// The rivals of a winner are gone.
    pub(super) fn rivals_are_gone(&self) {
        self.clean_up.set();
    }

    /// Whether the client may hear of the circuit.
    pub(super) fn is_announced(&self) -> bool {
        self.ledger.with(|ledger| ledger.life.is_announced())
    }

    /// What the transport calls the circuit.
    pub(super) const fn token(&self) -> usize {
        self.id.raw()
    }

    fn is_intact(&self) -> bool {
        // SAFETY: The structure is registered.
        let public = unsafe { self.public.snapshot() };
        public.Signature == abi::Vc::SIGNATURE
            && public.pConnection == self.connection().public().as_ptr()
            && public.hEndpoint == self.endpoint.handle()
            && public.pEndpointFileObject == self.endpoint.object()
            && public.ConnectionId == self.id.raw()
            && self
                .ledger
                .with(|ledger| self.state().load(Ordering::Relaxed) == ledger.life.state().code())
    }

    /// The public `State`, which is written under the lock and read by anybody.
    fn state(&self) -> &AtomicI32 {
        let vc = self.public.as_ptr();
        // SAFETY: This only computes an address inside the registered structure.
        let state = unsafe { &raw mut (*vc).State };
        // SAFETY: The structure is registered, so it lives; the member is aligned and only ever accessed so.
        unsafe { AtomicI32::from_ptr(state) }
    }

    /// The public `pReceiveMdl`.
    pub(super) fn set_receive_mdl(&self, mdl: PMDL) {
        // The structure is registered; only whoever has the guard of normal data writes the member.
        write_field!(self.public, pReceiveMdl, mdl);
    }

    pub(super) fn wait_for_clean_up(&self, at: &Pageable) {
        // SAFETY: The structure is registered.
        let event = unsafe { self.public.snapshot() }.pCleanUpEvent;
        if event.is_null() {
            return;
        }
        // SAFETY: The member is NULL or an initialised event, by the client's contract.
        unsafe { event::wait_for(event.cast(), at) };
        // This tear-down owns the structure.
        write_field!(self.public, pCleanUpEvent, ptr::null_mut());
    }

    /// The connection.
    pub(super) const fn connection(&self) -> &Connection {
        // SAFETY: The circuit has pinned it.
        unsafe { self.connection.as_ref() }
    }

    /// The client's structure, for callbacks.
    pub(super) const fn vc(&self) -> *mut abi::Vc {
        self.public.as_ptr()
    }

    /// Where requests go at this moment.
    pub(super) fn target(&self) -> Target {
        // SAFETY: The file object is referenced from the open until after the run-down.
        unsafe { self.endpoint.target() }
    }

    /// The bytes of one stream that the client has refused.
    pub(super) const fn backlog(&self, channel: Channel) -> &Backlog {
        let [normal, expedited] = &self.backlogs;
        match channel {
            Channel::Normal => normal,
            Channel::Expedited => expedited,
        }
    }

    /// Another reference; `None` once the run-down has begun.
    pub(super) fn reference(&self) -> Option<Ref<Self>> {
        // SAFETY: The reference that is taken here is the new guard's.
        self.header
            .rundown()
            .acquire()
            .then(|| unsafe { Ref::from_raw(NonNull::from(self)) })
    }

    /// The spare receive request of a stream, if it is not in use.
    pub(super) fn spare_receive(&self, channel: Channel) -> Option<NonNull<Request>> {
        // SAFETY: The build has written it, and nobody writes it again.
        let [normal, expedited] = unsafe { &(*self.kept.get()).receives };
        let spare = match channel {
            Channel::Normal => normal,
            Channel::Expedited => expedited,
        };
        spare
            .as_ref()
            .filter(|request| request.is_idle())
            .map(PoolBox::as_ptr)
    }

    /// Makes the one callback that the end of the circuit is announced with, without the transport's disconnect data.
    pub(super) fn notify(&self, notice: Notice) {
        let (callbacks, client) = self.connection().callbacks();
        let none = ptr::null_mut();
        match notice {
            Notice::Disconnect(flags) => {
                if let Some(disconnect) = callbacks.Disconnect {
                    // SAFETY: The client's callback, as its table declares it; no lock is held.
                    self.in_callback(|| unsafe {
                        disconnect(client, self.vc(), 0, none, 0, none, flags)
                    });
                }
            }
            Notice::Error(status) => {
                if let Some(error) = callbacks.Error {
                    // SAFETY: As above.
                    self.in_callback(|| unsafe { error(client, self.vc(), status) });
                }
            }
        }
    }

    /// A new request for the endpoint as it is now, to be submitted. `None` once the run-down has begun.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) fn submittable(
        &self,
        purpose: Purpose,
        finish: Finish,
    ) -> Result<Option<Handle>, Error> {
        let target = self.target();
        let request = Request::new(
            self.block(),
            purpose,
            target.device.stack_size(),
            Home::Pool,
        )?;
        if let Purpose::Waited(event) = request.purpose() {
            // SAFETY: The request is in its place for good, and nobody else has it.
            unsafe { event.init_manual_reset() };
        }
        let Some(reference) = self.reference() else {
            return Ok(None);
        };
        let reference = reference.erase();
        let parts = Parts::CompletionAndSubmitter;
        // SAFETY: The request is new, and given up to its parts here.
        Ok(Some(unsafe {
            Handle::arm(request.into_raw(), reference, target, parts, finish)
        }))
    }

    /// The circuit of a request.
    ///
    /// # Safety
    ///
    /// The request is a circuit's, and the caller has a part of it for as long as the result is used.
    pub(super) const unsafe fn of<'a>(request: &Handle) -> &'a Self {
        // SAFETY: Forwarded: an armed request has a reference to its circuit.
        unsafe { request.get().owner().cast().as_ref() }
    }

    /// The circuit of a member of its address.
    ///
    /// # Safety
    ///
    /// The member is a circuit's and is linked, under the address's lock.
    pub(super) const unsafe fn of_member<'a>(member: NonNull<Member>) -> &'a Self {
        // SAFETY: Forwarded: the member lies inside a circuit.
        let circuit = unsafe { member.byte_sub(offset_of!(Self, member)) };
        // SAFETY: Forwarded: a linked circuit lives.
        unsafe { circuit.cast().as_ref() }
    }

    /// The place in the address's lists. The pointer is good for the whole block: [`Self::of_member`] goes back.
    pub(super) fn member(&self) -> NonNull<Member> {
        let circuit = NonNull::from(self);
        // SAFETY: The member lies inside the circuit.
        unsafe { circuit.byte_add(offset_of!(Self, member)) }.cast()
    }

    /// The block as requests know it.
    pub(super) const fn block(&self) -> NonNull<Header> {
        NonNull::from_ref(self).cast()
    }

    /// Runs a client callback, which must not tear this circuit down.
    #[cfg(debug_assertions)]
    pub(super) fn in_callback<R>(&self, callback: impl FnOnce() -> R) -> R {
        // One thread is remembered: with several callbacks at once the rule is checked for the first.
        let first = self.callback_thread.compare_exchange(
            0,
            crate::nt::thread::current(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        let result = callback();
        if first.is_ok() {
            self.callback_thread.store(0, Ordering::Relaxed);
        }
        result
    }

    /// Runs a client callback.
    #[cfg(not(debug_assertions))]
    #[expect(clippy::unused_self, reason = "debug builds record the thread")]
    pub(super) fn in_callback<R>(&self, callback: impl FnOnce() -> R) -> R {
        callback()
    }

    #[cfg(debug_assertions)]
    pub(super) fn is_in_callback_here(&self) -> bool {
        self.callback_thread.load(Ordering::Relaxed) == crate::nt::thread::current()
    }

    #[cfg(not(debug_assertions))]
    pub(super) const fn is_in_callback_here(&self) -> bool {
        false
    }
}

impl Kept {
    fn new(circuit: NonNull<Header>, stack_size: i8, expedited: bool) -> Result<Self, Error> {
        let disconnect = || Request::new(circuit, Purpose::Disconnect, stack_size, Home::Circuit);
        let receive = |channel| {
            Request::new(
                circuit,
                Purpose::Receive(Transfer::new(channel)),
                stack_size,
                Home::Circuit,
            )
        };
        let second = if expedited {
            Some(receive(Channel::Expedited)?)
        } else {
            None
        };
        Ok(Self {
            disconnects: [Some(disconnect()?), Some(disconnect()?)],
            receives: [Some(receive(Channel::Normal)?), second],
        })
    }
}
