//! Virtual circuits: built, disconnected and torn down (specification 5.10, 5.12, 5.13). The order of steps is the
//! engine crate's; here is what each step does to the kernel.

use core::{
    cell::UnsafeCell,
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use rxce_engine::{
    Error,
    circuit::{self as engine, Prepared, Submission, Waited},
    ledger::{Kind, Ledger},
    life::{Life, Mode, State},
    receive::Channel,
};
use wdk_sys::{KEVENT, NTSTATUS, PMDL};

use super::{
    events,
    layer::{self, Layer},
    list::{Linked, Links},
    multiple::{self, Entrant},
    peer::{self, Connection},
    receive::{self, Backlog, Transfer},
    registry::{self, Block, Header, Ref, ids::OwnedId, pointers},
    request::{self, Handle, Home, Parts, Purpose, Request, RequestList},
};
use crate::{
    abi::{self, Client, Signed, write_field},
    nt::{
        event::{self, Event},
        file::File,
        handle_thread::HANDLE_THREAD,
        irp::Target,
        irql::Pageable,
        pool::{PoolBox, Pooled, Tag},
        report,
        spin_lock::SpinLock,
        time,
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
    /// Of the address's lists.
    links: UnsafeCell<Links<Self>>,
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
    callback_thread: core::sync::atomic::AtomicUsize,
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

// SAFETY: The links belong to the lists of the address.
unsafe impl Linked for Circuit {
    fn links(node: NonNull<Self>) -> *mut Links<Self> {
        // SAFETY: A node lives while it is listed.
        unsafe { node.as_ref() }.links.get()
    }
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
        unsafe { connection.address().unlink(NonNull::from(self)) };
        // SAFETY: The structure is registered, and its claimant clears it.
        unsafe { self.public.clear() };
        connection.unpin();
    }
}

/// `RxCeBuildVC`.
///
/// # Errors
///
/// The documented ones, and the statuses of open, associate and connect.
pub(crate) fn build(
    at: &Pageable,
    public: Client<abi::Vc>,
    connection: Client<abi::Connection>,
) -> Result<(), Error> {
    layer::require_free(public)?;
    let connection = peer::find(connection)?;
    build_on(at, &connection, public)
}

/// Builds a circuit on a connection to which the caller has a reference, and connects it.
fn build_on(
    at: &Pageable,
    connection: &Ref<Connection>,
    public: Client<abi::Vc>,
) -> Result<(), Error> {
    connect(at, reserve_on(connection, public)?)
}

/// A circuit that is reserved and not connected, with its connect request.
pub(super) struct Reserved {
    circuit: Ref<Circuit>,
    connect: PoolBox<Request>,
}

/// Allocates a circuit, counts it in at its parents, and reserves the client's structure. Nothing is written to it unless
/// memory is short: then it is zeroed.
///
/// # Errors
///
/// [`Error::InvalidParameter`], [`Error::InsufficientResources`].
pub(super) fn reserve_on(
    connection: &Ref<Connection>,
    public: Client<abi::Vc>,
) -> Result<Reserved, Error> {
    layer::require_free(public)?;
    connection.pin()?;
    let reserved = match Circuit::new(public, connection, None) {
        Ok((block, connect)) => {
            layer::reserve(public, Ok(block)).map(|circuit| Reserved { circuit, connect })
        }
        Err(error) => layer::reserve::<Circuit>(public, Err(error)).and(Err(error)),
    };
    reserved.inspect_err(|_| connection.unpin())
}

/// Opens, associates and connects a reserved circuit. The connection's count keeps it, and the caller's reference outlives
/// the last touch of it.
///
/// # Errors
///
/// The statuses of the steps.
pub(super) fn connect(at: &Pageable, reserved: Reserved) -> Result<(), Error> {
    let Reserved { circuit, connect } = reserved;
    let built = Circuit::open(&circuit, at, connect).and_then(|connect| {
        circuit.publish(&circuit);
        engine::connect(&*circuit, at, connect)
    });
    match built {
        Ok(owed) => {
            if let Some(notice) = owed {
                events::notify(&circuit, notice);
            }
            Ok(())
        }
        Err(error) => {
            layer::dismantle(at, circuit);
            Err(error)
        }
    }
}

/// Zeroes a structure for which a build failed before it was reserved.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if something else was built there meanwhile.
pub(super) fn clear_unbuilt(public: Client<abi::Vc>) -> Result<(), Error> {
    // SAFETY: Nothing is registered for the structure, and nobody can reserve it now.
    pointers::while_free(public.address(), || unsafe { public.clear() })
}

/// `RxCeInitiateVCDisconnect`.
///
/// # Errors
///
/// The documented ones.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn initiate_disconnect(public: Client<abi::Vc>) -> Result<(), Error> {
    engine::initiate_disconnect(&*find(public)?)
}

/// `RxCeTearDownVC`.
///
/// # Errors
///
/// [`Error::InvalidParameter`] with nothing changed, or the status of the last disconnect; the circuit is gone then.
pub(crate) fn tear_down(at: &Pageable, public: Client<abi::Vc>) -> Result<(), Error> {
    let circuit = find(public)?;
    if circuit.is_in_callback_here() {
        report::misuse(
            c"RxCeTearDownVC",
            c"called from a callback of the same circuit",
        );
        return Err(Error::InvalidParameter);
    }
    let result = engine::tear_down(&*circuit, at, || circuit.wait_for_clean_up(at))?;
    layer::dismantle(at, circuit);
    result
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

/// The end of a connect or a disconnect.
///
/// # Safety
///
/// Called by the completion routine, whose part of the request goes.
pub(super) unsafe fn complete(request: Handle) {
    let circuit = request.get().circuit();
    // SAFETY: The request's reference keeps the circuit until its last part is dropped.
    let circuit = unsafe { circuit.as_ref() };
    engine::change(circuit, |ledger| {
        ledger.remove(&request, request.get().kind())
    });
    if let (Kind::Connect, Some(entrant)) = (request.get().kind(), &circuit.entrant) {
        let (status, _) = request.get().outcome();
        // SAFETY: This slot's connect ends here, once.
        unsafe { multiple::connected(entrant, status) };
    }
    // SAFETY: Forwarded.
    unsafe { request.drop_part() };
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
            links: UnsafeCell::new(Links::new()),
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
            callback_thread: core::sync::atomic::AtomicUsize::new(0),
        })?;
        // SAFETY: The circuit is in its place for good, and nobody else has it.
        unsafe { circuit.progress.init_auto_reset() };
        // SAFETY: As above.
        unsafe { circuit.clean_up.init_manual_reset() };
        let block = circuit.as_ptr();
        let expedited = transport.offers(TDI_SERVICE_EXPEDITED_DATA);
        *circuit.kept.get_mut() = Kept::new(block, stack_size, expedited)?;
        let connect = Request::new(block, Purpose::Connect, stack_size, Home::Pool)?;
        Ok((circuit, connect))
    }

    /// Opens and associates the endpoint; arms the connect request.
    pub(super) fn open(
        circuit: &Ref<Self>,
        at: &Pageable,
        connect: PoolBox<Request>,
    ) -> Result<Handle, Error> {
        let name = circuit.connection().transport().name();
        let mut attribute = Attribute::connection_context(circuit.id.raw())?;
        HANDLE_THREAD.at_passive(at, || attribute.open(&circuit.endpoint, name.as_string()))?;
        // SAFETY: The file object was referenced by the open.
        let target = unsafe { circuit.endpoint.target() };
        let connect = circuit.fit(connect, &target)?;
        let associate = call::associate_address(circuit.connection().address().handle());
        // SAFETY: The endpoint is open.
        let (status, _) = unsafe {
            synchronous::perform(at, &target, &associate, ptr::null_mut(), Submit::AtPassive)
        }?;
        if !wdk::nt_success(status) {
            return Err(Error::Transport(status));
        }
        let reference = circuit.again().ok_or(Error::InvalidParameter)?;
        // SAFETY: The request is new, and given up to its parts here.
        Ok(unsafe {
            Handle::arm(
                connect.into_raw(),
                reference,
                target,
                Parts::CompletionAndSubmitter,
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
        let kept = Kept::new(NonNull::from(self), stack_size, expedited)?;
        // SAFETY: The circuit is reserved, and nobody but its build can find it.
        unsafe { *self.kept.get() = kept };
        Request::new(
            NonNull::from(self),
            Purpose::Connect,
            stack_size,
            Home::Pool,
        )
    }

    /// Makes the circuit known: to the client, to the transport's events, and to address errors. The peer may send before
    /// the connect is known to be over.
    fn publish(&self, this: &Ref<Self>) {
        self.show(State::Active, ptr::null_mut());
        self.expose(this);
        pointers::set_usable(this);
    }

    /// Lets events of the transport and errors of the address find the circuit.
    pub(super) fn expose(&self, this: &Ref<Self>) {
        self.id.publish(this);
        // SAFETY: The circuit is in no list, and is unlinked when it retires.
        unsafe { self.connection().address().link(this.as_ptr()) };
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

    /// Shows the winner of a competition to the client; `rivals` says whether others still have to be closed.
    pub(super) fn announce(&self, rivals: Rivals) {
        let clean_up = match rivals {
            Rivals::Gone => ptr::null_mut(),
            Rivals::Closing => self.clean_up.as_ptr(),
        };
        self.ledger.with(|ledger| {
            ledger.life.announce();
            self.show(ledger.life.state(), clean_up);
        });
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

    /// Whether the client knows of the circuit.
    pub(super) fn is_announced(&self) -> bool {
        self.announced.load(Ordering::Acquire)
    }

    /// What the transport calls the circuit.
    pub(super) const fn token(&self) -> usize {
        self.id.raw()
    }

    /// Delivers what was held back until the client knew of the circuit.
    pub(super) fn catch_up(&self) {
        let owed = engine::change(self, |ledger| {
            if ledger.life.state() == State::TearDown {
                None
            } else {
                ledger.life.take_owed()
            }
        });
        if let Some(notice) = owed {
            events::notify(self, notice);
        }
        for channel in [Channel::Normal, Channel::Expedited] {
            receive::catch_up(self, channel);
        }
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

    fn wait_for_clean_up(&self, at: &Pageable) {
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

    /// Looks at the list, under the lock.
    pub(super) fn with_list<R>(&self, look: impl FnOnce(&RequestList) -> R) -> R {
        self.ledger.with(|ledger| look(&ledger.list))
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
    fn is_in_callback_here(&self) -> bool {
        self.callback_thread.load(Ordering::Relaxed) == crate::nt::thread::current()
    }

    #[cfg(not(debug_assertions))]
    const fn is_in_callback_here(&self) -> bool {
        false
    }
}

impl Kept {
    fn new(circuit: NonNull<Circuit>, stack_size: i8, expedited: bool) -> Result<Self, Error> {
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

/// What the engine's procedures do to the kernel. Whoever runs them has a reference to the circuit.
impl engine::Circuit for Circuit {
    type Request = Handle;
    type List = RequestList;
    type Level = Pageable;

    fn hold<R>(&self, decide: impl FnOnce(&mut Ledger<RequestList>) -> R) -> R {
        self.ledger.with(|ledger| {
            let before = ledger.life.state();
            let result = decide(ledger);
            let after = ledger.life.state();
            if after != before && self.announced.load(Ordering::Relaxed) {
                self.state().swap(after.code(), Ordering::SeqCst);
            }
            result
        })
    }

    fn signal(&self) {
        self.progress.set();
    }

    fn wait(&self, level: &Pageable, limit_100ns: Option<u64>) -> Waited {
        match limit_100ns {
            Some(limit) => self.progress.wait_at_most(level, limit),
            None => {
                self.progress.wait(level);
                Waited::Signalled
            }
        }
    }

    fn now_100ns(&self) -> u64 {
        time::now_100ns()
    }

    fn new_disconnect(&self) -> Option<Handle> {
        Request::submittable(self, Purpose::Disconnect)
            .ok()
            .flatten()
    }

    fn discard(&self, request: Handle) {
        // SAFETY: The request was never listed.
        unsafe { request.disarm() };
    }

    fn prepared(&self, which: Prepared) -> Option<Handle> {
        // SAFETY: The build has written it, and nobody writes it again.
        let [first, second] = unsafe { &(*self.kept.get()).disconnects };
        let kept = match which {
            Prepared::First => first,
            Prepared::Escalation => second,
        };
        let target = self.target();
        let request = kept
            .as_ref()
            .filter(|request| request.is_idle() && request.fits(&target))?;
        let reference = self.reference()?;
        // SAFETY: The request is idle, and only the one tear-down or build that drains the circuit arms it.
        Some(unsafe {
            Handle::arm(
                request.as_ptr(),
                reference,
                target,
                Parts::CompletionAndSubmitter,
            )
        })
    }

    fn call_driver(&self, request: Handle, submission: Submission) {
        let call = match submission {
            Submission::Connect => {
                call::connect(self.connection().information(), self.returned.get())
            }
            Submission::Disconnect(Mode::Release) => {
                call::disconnect(Mode::Release, request.get().timeout())
            }
            Submission::Disconnect(Mode::Abort) => call::disconnect(Mode::Abort, ptr::null()),
        };
        // SAFETY: The request is listed and not handed over yet; its parameters are parts of request, circuit and
        // connection, which outlive it.
        unsafe { request.prepare(&call, ptr::null_mut()) };
        // SAFETY: The request was prepared, and the caller has the submitter's part.
        unsafe { request.send() };
    }

    fn drop_part(&self, request: Handle) {
        // SAFETY: The procedures drop the submitter's part once.
        unsafe { request.drop_part() };
    }

    fn status(&self, request: Handle) -> NTSTATUS {
        request.get().outcome().0
    }

    fn cancel_all(&self) {
        request::cancel_all(self);
    }

    fn close_endpoint(&self, level: &Pageable) {
        HANDLE_THREAD.at_passive(level, || self.endpoint.close());
    }
}
