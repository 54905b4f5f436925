//! Requests: what the engine remembers of a packet while a transport has it.
//!
//! A request's count has a part for the completion routine, one for the submitter, and one for a canceller while it is
//! inside `IoCancelIrp`. Whoever drops the last part frees the request with its packet, or leaves it to the circuit that keeps
//! it, or, if it was a send, on the transport's shelf; and then releases the request's one reference to the circuit
//! (specification 3.6).

use core::{
    cell::{Cell, UnsafeCell},
    mem::offset_of,
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
};

use rxce_engine::{
    Error,
    ledger::{InFlight, Kind},
    parts::Parts,
    receive::Channel,
};
use wdk_sys::{NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL, PVOID, STATUS_MORE_PROCESSING_REQUIRED};

use super::{
    list::{Linked, Links, List},
    registry::{AnyRef, Header},
};
use crate::{
    nt::{
        event::Event,
        irp::{self, Call, Irp},
        pool::{PoolBox, Pooled, Tag},
        target::Target,
    },
    tdi::{IN_FLIGHT, bindings::TDI_CONNECTION_INFORMATION},
};

/// What follows the end of a request.
pub(super) trait Ending {
    /// Runs in the completion routine.
    ///
    /// # Safety
    ///
    /// The completion's part of the request goes with this call.
    unsafe fn run(request: Handle);
}

/// What a request is for.
pub(super) enum Purpose {
    /// The connect of a build.
    Connect(NonNull<Returned>),
    /// A disconnect of either kind.
    Disconnect,
    /// A client's send, with the context of its Send Complete callback.
    Send(PVOID),
    /// A send or a query whose end somebody waits for, with an event on his stack.
    Waited(NonNull<Event>),
    /// A receive of one stream.
    Receive(Channel),
}

/// Where a transport may report of a connect.
pub(super) type Returned = UnsafeCell<TDI_CONNECTION_INFORMATION>;

/// The request of a connect, and behind it the place for the report.
#[repr(C)]
struct Connecting {
    request: Request,
    returned: Returned,
}

impl Pooled for Connecting {
    const TAG: Tag = Request::TAG;
}

/// Where a request goes when its last part was dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// To whoever dropped it, or to the pool.
    Pool,
    /// To whoever keeps it: it is a part of something that outlives the run-down of the circuit.
    Keeper,
}

/// One request. What its packet can tell is not kept here: where it goes, how it ended, and what follows.
pub(super) struct Request {
    links: UnsafeCell<Links<Self>>,
    /// The circuit's block, of which an armed request has a reference.
    owner: NonNull<Header>,
    irp: Irp,
    purpose: Purpose,
    parts: Parts,
    /// Set under the circuit's lock when the ledger learns that the transport has been called.
    called: AtomicBool,
    home: Home,
    /// Marked by the one canceller, under the circuit's lock.
    cancelled: Cell<bool>,
}

impl Pooled for Request {
    const TAG: Tag = Tag::new(*b"RxRq");
}

// SAFETY: The links belong to the list of the circuit's ledger.
unsafe impl Linked for Request {
    fn links(node: NonNull<Self>) -> *mut Links<Self> {
        // SAFETY: A node lives while it is listed.
        unsafe { node.as_ref() }.links.get()
    }
}

/// A copyable handle to a request whose part the holder has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle(NonNull<Request>);

/// The requests in flight on one circuit.
pub(super) struct RequestList(List<Request>);

impl RequestList {
    pub(super) const fn new() -> Self {
        Self(List::new())
    }

    /// Marks one request that was not cancelled yet, and takes a part of it for the canceller.
    pub(super) fn next_to_cancel(&self) -> Option<Handle> {
        let mut at = self.0.first();
        while let Some(request) = at {
            // SAFETY: A listed request lives.
            let request_ref = unsafe { request.as_ref() };
            if !request_ref.cancelled.replace(true) {
                request_ref.parts.add();
                return Some(Handle(request));
            }
            // SAFETY: The request is in this list.
            at = unsafe { self.0.after(request) };
        }
        None
    }
}

impl InFlight for RequestList {
    type Request = Handle;

    fn insert(&mut self, request: &Handle) {
        // SAFETY: A request is listed once, before it is handed over, and unlisted by its completion routine.
        unsafe { self.0.insert(request.0) };
    }

    fn remove(&mut self, request: &Handle) {
        // SAFETY: The request was listed here.
        unsafe { self.0.remove(request.0) };
    }

    fn note_called(&mut self, request: &Handle) -> bool {
        let called = &request.get().called;
        let before = called.load(Ordering::Relaxed);
        called.store(true, Ordering::Release);
        !before
    }
}

impl Request {
    /// A request in a packet that is not in use. It has no parts yet.
    pub(super) const fn new(
        owner: NonNull<Header>,
        purpose: Purpose,
        irp: Irp,
        home: Home,
    ) -> Self {
        Self {
            links: UnsafeCell::new(Links::new()),
            owner,
            irp,
            purpose,
            parts: Parts::none(),
            called: AtomicBool::new(false),
            home,
            cancelled: Cell::new(false),
        }
    }

    /// Allocates a request with a packet for stacks of `stack_size`.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) fn allocate(
        owner: NonNull<Header>,
        purpose: Purpose,
        stack_size: i8,
    ) -> Result<PoolBox<Self>, Error> {
        let irp = Irp::new(stack_size)?;
        PoolBox::new(Self::new(owner, purpose, irp, Home::Pool))
    }

    /// Allocates the request of a connect.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) fn allocate_connect(
        owner: NonNull<Header>,
        stack_size: i8,
    ) -> Result<PoolBox<Self>, Error> {
        let irp = Irp::new(stack_size)?;
        let connecting = PoolBox::new(Connecting {
            request: Self::new(
                owner,
                Purpose::Connect(NonNull::dangling()),
                irp,
                Home::Pool,
            ),
            returned: Returned::default(),
        })?
        .into_raw();
        // SAFETY: The place lies in the block, and is good as long as that is.
        let returned = unsafe { connecting.byte_add(offset_of!(Connecting, returned)) };
        let request: NonNull<Self> = connecting.cast();
        // SAFETY: The block begins with the request, which nobody else knows.
        unsafe { (*request.as_ptr()).purpose = Purpose::Connect(returned.cast()) };
        // SAFETY: The block was given up above, has the tag of requests, and nothing in it but the request is to be dropped.
        Ok(unsafe { PoolBox::from_raw(request) })
    }

    /// Makes an idle request that is in nobody's hands ready for another circuit or purpose.
    pub(super) fn assign(&mut self, owner: NonNull<Header>, purpose: Purpose) {
        self.renew();
        self.owner = owner;
        self.purpose = purpose;
    }

    /// Whether nobody has a part of it.
    pub(super) fn is_idle(&self) -> bool {
        self.parts.is_none()
    }

    /// Makes the packet of an idle request ready for another use.
    pub(super) fn renew(&self) {
        // SAFETY: An idle request's packet is not in flight.
        unsafe { self.irp.reuse() };
    }

    /// Whether its packet has locations enough for a target.
    pub(super) fn fits(&self, target: &Target) -> bool {
        target.device.stack_size() <= self.irp.stack_count()
    }

    /// The block of the circuit.
    pub(super) const fn owner(&self) -> NonNull<Header> {
        self.owner
    }

    /// What it is for.
    pub(super) const fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// What the tear-down's conditions take it for.
    pub(super) const fn kind(&self) -> Kind {
        match self.purpose {
            Purpose::Receive(_) => Kind::Receive,
            Purpose::Connect(_) => Kind::Connect,
            Purpose::Disconnect | Purpose::Send(_) | Purpose::Waited(_) => Kind::Other,
        }
    }

    /// Whether the ledger knows that the transport has been called. Without the lock, a "no" may be late.
    pub(super) fn is_known_called(&self) -> bool {
        self.called.load(Ordering::Acquire)
    }

    /// Status and bytes of a request that is over, as its packet has them.
    pub(super) fn outcome(&self) -> (NTSTATUS, usize) {
        // SAFETY: The packet is the driver's again once the request is over, and was completed then.
        unsafe { self.irp.result() }
    }
}

/// Who has a part of a request when it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holders {
    /// One for the completion routine: the transport gets the packet from an event handler.
    Completion = 1,
    /// One more for the submitter.
    CompletionAndSubmitter = 2,
}

/// What is left of a request of which nobody has a part any more.
pub(super) struct Last {
    /// The request, unless it belongs to somebody who keeps it. It goes before the reference does.
    pub(super) request: Option<PoolBox<Request>>,
    /// The block of the circuit.
    pub(super) owner: NonNull<Header>,
    /// Keeps that block.
    _reference: AnyRef,
}

impl Handle {
    /// Arms an idle request: parts, a target that it fits, and a reference to the circuit of its own.
    ///
    /// # Safety
    ///
    /// The request is idle and fits the target, its packet is new or renewed, and nobody else arms it.
    pub(super) unsafe fn arm(
        request: NonNull<Request>,
        reference: AnyRef,
        target: &Target,
        holders: Holders,
    ) -> Self {
        // SAFETY: Forwarded: the request is the caller's.
        let request_ref = unsafe { request.as_ref() };
        request_ref.cancelled.set(false);
        request_ref.called.store(false, Ordering::Relaxed);
        // SAFETY: Forwarded.
        unsafe { request_ref.irp.aim(target) };
        request_ref.parts.begin(holders as u32);
        reference.leave();
        Self(request)
    }

    /// The request. The holder has a part of it, or it is listed under a lock that he holds.
    pub(super) const fn get(&self) -> &Request {
        // SAFETY: A handle stands for a part, which keeps the request.
        unsafe { self.0.as_ref() }
    }

    /// Takes another part, for a request that is issued again.
    pub(super) fn add_part(self) {
        self.get().parts.add();
    }

    /// Gives a part back; the last one frees the request and releases the circuit.
    ///
    /// # Safety
    ///
    /// The caller has a part and does not use the handle again.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) unsafe fn drop_part(self) {
        // SAFETY: Forwarded.
        drop(unsafe { self.give_up_part() });
    }

    /// Gives a part back; if it was the last one, what is left.
    ///
    /// # Safety
    ///
    /// As for [`Self::drop_part`].
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) unsafe fn give_up_part(self) -> Option<Last> {
        let (owner, home) = (self.get().owner, self.get().home);
        self.get().parts.give_up().then(|| Last {
            // SAFETY: Nobody has a part any more; the allocation was given up when the request was armed.
            request: (home == Home::Pool).then(|| unsafe { PoolBox::from_raw(self.0) }),
            owner,
            // SAFETY: This is the reference that `arm` took in.
            _reference: unsafe { AnyRef::from_raw(owner) },
        })
    }

    /// Undoes [`Self::arm`]: the request was never listed.
    ///
    /// # Safety
    ///
    /// As for [`Self::drop_part`]; nobody else knows the request.
    pub(super) unsafe fn disarm(self) {
        self.get().parts.begin(1);
        // SAFETY: Forwarded: this is the only part.
        unsafe { self.drop_part() };
    }

    /// Fills the packet for a request that is about to be handed over; `E` follows its end.
    ///
    /// # Safety
    ///
    /// The request was armed or aimed again, its packet is not in flight, and what the parameters point to outlives the
    /// request.
    pub(super) unsafe fn prepare<E: Ending>(self, call: &Call, mdl: PMDL) {
        let context = self.0.as_ptr().cast();
        // SAFETY: Forwarded; the request outlives the packet's flight, since the completion has a part of it.
        unsafe { self.get().irp.fill(call, mdl, completed::<E>, context) };
    }

    /// Sends the prepared packet down. The request may be over when this returns.
    ///
    /// # Safety
    ///
    /// The packet was prepared and the request is listed; no lock is held. The caller has the submitter's part.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) unsafe fn send(self) {
        let irp = &self.get().irp;
        // SAFETY: Forwarded: the packet is ours until the next call.
        let device = unsafe { irp.aimed_at() };
        hold_driver();
        // SAFETY: Forwarded.
        unsafe { Irp::call(irp.as_ptr(), device) };
    }

    /// Makes the prepared packet ready to be returned from an event handler.
    ///
    /// # Safety
    ///
    /// The packet was prepared and the request is listed; the handler returns the packet next.
    pub(super) unsafe fn hand_back(self) -> PIRP {
        hold_driver();
        let irp = &self.get().irp;
        // SAFETY: Forwarded.
        unsafe { irp.advance() };
        irp.as_ptr()
    }

    /// Cancels the packet, which may be in flight.
    ///
    /// # Safety
    ///
    /// The caller has a part of the request.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) unsafe fn cancel(self) {
        // SAFETY: Forwarded: the part keeps the packet.
        unsafe { self.get().irp.cancel() };
    }

    /// Makes a completed packet ready to be sent to the same target again.
    ///
    /// # Safety
    ///
    /// Called in the completion routine, before the request is handed over again; the packet fits the target.
    pub(super) unsafe fn aim_again(self, target: &Target) {
        let irp = &self.get().irp;
        // SAFETY: Forwarded.
        unsafe { irp.reuse() };
        // SAFETY: Forwarded.
        unsafe { irp.aim(target) };
    }
}

/// Takes the reference that keeps the driver's code in place for a completion routine.
fn hold_driver() {
    // The run-down begins after the last structure was torn down, so a reference can always be had.
    let _held = IN_FLIGHT.acquire();
}

/// The completion routine of every request.
unsafe extern "C" fn completed<E: Ending>(
    _device: PDEVICE_OBJECT,
    irp: PIRP,
    context: PVOID,
) -> NTSTATUS {
    if let Some(request) = NonNull::new(context.cast::<Request>()) {
        // SAFETY: This is the packet's completion routine; the packet keeps the result.
        let _ = unsafe { irp::take_result(irp) };
        // SAFETY: The completion's part of the request goes with this call.
        unsafe { E::run(Handle(request)) };
    }
    // SAFETY: The reference was taken when the packet was handed over.
    unsafe { IN_FLIGHT.release() };
    STATUS_MORE_PROCESSING_REQUIRED
}
