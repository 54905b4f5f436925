//! Requests: what the engine remembers of a packet while a transport has it.
//!
//! A request's count has a part for the completion routine, one for the submitter, and one for a canceller while it is
//! inside `IoCancelIrp`. Whoever drops the last part frees the request with its packet, or leaves it to the circuit that
//! keeps it, and then releases the request's one reference to the circuit (specification 3.6).

use core::{
    cell::{Cell, UnsafeCell},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use rxce_engine::{
    Error,
    circuit::RELEASE_TIMEOUT_100NS,
    ledger::{InFlight, Kind},
};
use wdk_sys::{NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL, PVOID, STATUS_MORE_PROCESSING_REQUIRED};

use super::{
    list::{Linked, Links, List},
    registry::{AnyRef, Header},
    transfer::Transfer,
};
use crate::{
    nt::{
        event::{self, Event},
        irp::{self, Call, Irp},
        pool::{PoolBox, Pooled, Tag},
        target::Target,
    },
    tdi::IN_FLIGHT,
};

/// What follows the end of a request, in its completion routine: it takes the completion's part.
pub(super) type Finish = unsafe fn(Handle);

/// What a request is for.
pub(super) enum Purpose {
    /// The connect that a build waits for.
    Connect,
    /// A disconnect of either kind.
    Disconnect,
    /// A client's send, with the context of its Send Complete callback.
    Send(PVOID),
    /// A send or a query whose end somebody waits for.
    Waited(Event),
    /// A receive into the client's memory or into ours.
    Receive(Transfer),
}

/// Where a request goes when its last part was dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// To the pool.
    Pool,
    /// To the circuit, which keeps it for another use.
    Circuit,
}

/// One request.
pub(super) struct Request {
    links: UnsafeCell<Links<Self>>,
    parts: AtomicU32,
    home: Home,
    /// Marked by the one canceller, under the circuit's lock.
    cancelled: Cell<bool>,
    /// The circuit's block, of which an armed request has a reference.
    owner: NonNull<Header>,
    purpose: Purpose,
    finish: Cell<Finish>,
    irp: Irp,
    target: Cell<Option<Target>>,
    outcome: Cell<(NTSTATUS, usize)>,
    /// What the stack location of a RELEASE points to.
    timeout: i64,
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
                request_ref.parts.fetch_add(1, Ordering::Relaxed);
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
}

impl Request {
    /// Allocates a request with a packet for stacks of `stack_size`. It has no parts yet.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) fn new(
        owner: NonNull<Header>,
        purpose: Purpose,
        stack_size: i8,
        home: Home,
    ) -> Result<PoolBox<Self>, Error> {
        let irp = Irp::new(stack_size)?;
        PoolBox::new(Self {
            links: UnsafeCell::new(Links::new()),
            parts: AtomicU32::new(0),
            home,
            cancelled: Cell::new(false),
            owner,
            purpose,
            finish: Cell::new(never_armed),
            irp,
            target: Cell::new(None),
            outcome: Cell::new((0, 0)),
            timeout: event::relative(RELEASE_TIMEOUT_100NS),
        })
    }

    /// Whether nobody has a part of it.
    pub(super) fn is_idle(&self) -> bool {
        self.parts.load(Ordering::Acquire) == 0
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

    /// What a receive carries.
    pub(super) const fn transfer(&self) -> Option<&Transfer> {
        match &self.purpose {
            Purpose::Receive(transfer) => Some(transfer),
            Purpose::Connect | Purpose::Disconnect | Purpose::Send(_) | Purpose::Waited(_) => None,
        }
    }

    /// What the tear-down's conditions take it for.
    pub(super) const fn kind(&self) -> Kind {
        match self.purpose {
            Purpose::Receive(_) => Kind::Receive,
            Purpose::Connect => Kind::Connect,
            Purpose::Disconnect | Purpose::Send(_) | Purpose::Waited(_) => Kind::Other,
        }
    }

    /// Status and bytes of the request that is over.
    pub(super) const fn outcome(&self) -> (NTSTATUS, usize) {
        self.outcome.get()
    }

    /// The time-out for a RELEASE.
    pub(super) const fn timeout(&self) -> *const i64 {
        &raw const self.timeout
    }
}

/// How many parts a request begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// One for the completion routine: the transport gets the packet from an event handler.
    Completion = 1,
    /// One more for the submitter.
    CompletionAndSubmitter = 2,
}

impl Handle {
    /// Arms an idle request: parts, a target that it fits, and a reference to the circuit of its own.
    ///
    /// # Safety
    ///
    /// The request is idle, and nobody else arms it.
    pub(super) unsafe fn arm(
        request: NonNull<Request>,
        reference: AnyRef,
        target: Target,
        parts: Parts,
        finish: Finish,
    ) -> Self {
        // SAFETY: Forwarded: the request is the caller's.
        let request_ref = unsafe { request.as_ref() };
        request_ref.cancelled.set(false);
        request_ref.target.set(Some(target));
        request_ref.outcome.set((0, 0));
        request_ref.finish.set(finish);
        request_ref.parts.store(parts as u32, Ordering::Release);
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
        self.get().parts.fetch_add(1, Ordering::Relaxed);
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
        let (owner, home) = (self.get().owner, self.get().home);
        if self.get().parts.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        if home == Home::Pool {
            // SAFETY: Nobody has a part any more; the allocation was given up when the request was armed.
            drop(unsafe { PoolBox::from_raw(self.0) });
        }
        // SAFETY: This is the reference that `arm` took in.
        drop(unsafe { AnyRef::from_raw(owner) });
    }

    /// Undoes [`Self::arm`]: the request was never listed.
    ///
    /// # Safety
    ///
    /// As for [`Self::drop_part`]; nobody else knows the request.
    pub(super) unsafe fn disarm(self) {
        self.get().parts.store(1, Ordering::Relaxed);
        // SAFETY: Forwarded: this is the only part.
        unsafe { self.drop_part() };
    }

    /// Fills the packet for a request that is about to be handed over.
    ///
    /// # Safety
    ///
    /// The packet is not in flight, and what the parameters point to outlives the request.
    pub(super) unsafe fn prepare(self, call: &Call, mdl: PMDL) {
        let request = self.get();
        if let Some(target) = request.target.get() {
            // SAFETY: Forwarded; the request outlives the packet's flight, since the completion has a part of it.
            unsafe {
                request
                    .irp
                    .prepare(&target, call, mdl, completed, self.0.as_ptr().cast())
            };
        }
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
        let request = self.get();
        if let Some(target) = request.target.get() {
            hold_driver();
            // SAFETY: Forwarded.
            unsafe { Irp::call(request.irp.as_ptr(), target.device) };
        }
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

    /// Makes a completed packet ready for another request of the same kind.
    ///
    /// # Safety
    ///
    /// Called in the completion routine, before the request is handed over again.
    pub(super) unsafe fn renew(self) {
        // SAFETY: Forwarded.
        unsafe { self.get().irp.reuse() };
    }
}

/// Takes the reference that keeps the driver's code in place for a completion routine.
fn hold_driver() {
    // The run-down begins after the last structure was torn down, so a reference can always be had.
    let _held = IN_FLIGHT.acquire();
}

/// The completion routine of every request.
unsafe extern "C" fn completed(_device: PDEVICE_OBJECT, irp: PIRP, context: PVOID) -> NTSTATUS {
    if let Some(request) = NonNull::new(context.cast::<Request>()) {
        let request = Handle(request);
        // SAFETY: This is the packet's completion routine.
        request.get().outcome.set(unsafe { irp::take_result(irp) });
        let finish = request.get().finish.get();
        // SAFETY: The completion's part of the request goes with this call.
        unsafe { finish(request) };
    }
    // SAFETY: The reference was taken when the packet was handed over.
    unsafe { IN_FLIGHT.release() };
    STATUS_MORE_PROCESSING_REQUIRED
}

/// The end of a request that was never armed: there is none.
unsafe fn never_armed(_request: Handle) {}
