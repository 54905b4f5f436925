//! Virtual circuits: the private block of an `RXCE_VC`, and how others find it. What the engine's steps do to it is in
//! [`steps`], what clients do to it in [`super::lifecycle`] and beside it.

mod callbacks;
mod counting;
mod kept;
mod opening;
mod steps;
mod structure;

#[cfg(debug_assertions)]
use core::sync::atomic::AtomicUsize;
use core::{
    cell::{Cell, UnsafeCell},
    ffi::c_void,
    mem::offset_of,
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
};

use rxce_engine::{Error, circuit as engine, ledger::Ledger, mutant, receive::Channel};
use wdk_sys::NTSTATUS;

use self::kept::{Kept, Stream};
pub(super) use self::{kept::Disconnects, opening::Opening, steps::WaitedFor};
use super::{
    address::Member,
    counters::{OfCircuit, Stripe},
    layer::Layer,
    peer::Connection,
    registry::{self, AnyRef, Block, Header, Ref, ids::OwnedId, pointers},
    request::{Handle, Holders, Purpose, Request, RequestList},
};
use crate::{
    abi::{self, Client},
    nt::{
        event::Event,
        file::File,
        handle_thread::HANDLE_THREAD,
        irql::Pageable,
        pool::{PoolBox, Pooled, Tag},
        spin_lock::SpinLock,
        target::{Device, Target},
    },
    trace,
};

/// The private block of an `RXCE_VC`.
#[repr(C)]
pub(super) struct Circuit {
    header: Header,
    /// Pinned by this circuit.
    connection: NonNull<Connection>,
    /// Its share in what the transport counts, kept by the same pin.
    stripe: NonNull<Stripe>,
    /// `ConnectionId` and the `ConnectionContext` of the endpoint.
    id: OwnedId,
    endpoint: File,
    ledger: SpinLock<Ledger<RequestList>>,
    /// Beside the ledger: each send touches both.
    counters: OfCircuit,
    progress: Event,
    /// The place in the address's lists.
    member: Member,
    /// Set by the build, before anybody else can find the circuit.
    kept: UnsafeCell<Kept>,
    /// Requests on the stack of whoever drains the circuit; only for him.
    disconnects: Cell<Option<NonNull<Disconnects>>>,
    streams: [Stream; 2],
    /// Set where several circuits compete for one structure.
    competing: Option<PoolBox<Competing>>,
    /// Whether the client's structure shows this circuit.
    announced: AtomicBool,
    #[cfg(debug_assertions)]
    callback_thread: AtomicUsize,
}

/// The most nonpaged pool that the engine keeps for a circuit, whatever the provider; packets do not count.
const MOST_BYTES: usize = 512;

const _: () = assert!(
    size_of::<Circuit>() + registry::MOST_BYTES_PER_BLOCK <= MOST_BYTES,
    "the circuit has grown too large"
);

/// What only a circuit that competes with others needs.
struct Competing {
    entrant: Entrant,
    /// `pCleanUpEvent` of a winner whose rivals are still being closed.
    clean_up: Event,
}

impl Pooled for Competing {
    const TAG: Tag = Tag::new(*b"RxCp");
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

/// Whether a winner's rivals are still being closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rivals {
    Gone,
    Closing,
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
            if !mutant!(FileObjectKept) {
                self.endpoint.dereference();
            }
            if !mutant!(EndpointKept) {
                self.endpoint.close();
            }
        });
    }

    fn retire(&self) {
        if !mutant!(FoldForgotten) {
            self.fold_counters();
        }
        if !mutant!(StructureNotCleared) {
            // SAFETY: The structure is registered, and its claimant clears it.
            unsafe { self.public().clear() };
        }
        // SAFETY: The circuit was linked at its publication, or is in no list.
        unsafe { self.connection().unpin_circuit(self.member()) };
    }
}

/// Finds a circuit that nobody has damaged, on intact parents.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub(super) fn find(public: Client<abi::Vc>) -> Result<Ref<Circuit>, Error> {
    find_checked(public, Circuit::is_intact)
}

/// As [`find`], for one of the engine's procedures: it compares the public `State` in the hold in which it decides.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub(super) fn find_to_decide(public: Client<abi::Vc>) -> Result<Ref<Circuit>, Error> {
    find_checked(public, Circuit::is_intact_but_for_state)
}

fn find_checked(
    public: Client<abi::Vc>,
    is_intact: impl FnOnce(&Circuit) -> bool,
) -> Result<Ref<Circuit>, Error> {
    let circuit: Ref<Circuit> = pointers::find(public.address()).required()?;
    let connection = circuit.connection();
    let parents = connection.is_signed() && connection.parents_are_signed();
    if is_intact(&circuit) && (parents || mutant!(ParentsUnchecked)) {
        Ok(circuit)
    } else {
        Err(Error::InvalidParameter)
    }
}

/// As [`find`], for a send: the circuit is active besides, as far as can be told without its lock. Whoever lists the send
/// decides under the lock.
///
/// # Errors
///
/// [`Error::Disconnected`].
pub(super) fn find_active(public: Client<abi::Vc>) -> Result<Ref<Circuit>, Error> {
    let circuit = pointers::find(public.address()).required();
    let circuit: Ref<Circuit> = circuit.map_err(|_| Error::Disconnected)?;
    let connection = circuit.connection();
    if circuit.seems_active() && connection.is_signed() && connection.parents_are_signed() {
        Ok(circuit)
    } else {
        Err(Error::Disconnected)
    }
}

/// Finds a circuit that is being built, or was; one that is shown to its client must not be damaged.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub(super) fn find_build(public: Client<abi::Vc>) -> Result<Ref<Circuit>, Error> {
    let circuit: Ref<Circuit> = pointers::find_reserved(public.address()).required()?;
    if circuit.announced.load(Ordering::Acquire) && !circuit.is_intact() {
        return Err(Error::InvalidParameter);
    }
    Ok(circuit)
}

impl Circuit {
    /// Where its connection is, for debuggers.
    pub(super) const CONNECTION: usize = offset_of!(Self, connection);
    /// Where it counts.
    pub(super) const FLOW: usize = offset_of!(Self, counters) + OfCircuit::FLOW;

    /// Lets events of the transport and errors of the address find the circuit.
    pub(super) fn expose(&self, this: &Ref<Self>) {
        self.id.publish(this);
        // SAFETY: The circuit is in no list, and is unlinked when it retires.
        unsafe { self.connection().address().link(self.member()) };
    }

    /// Lets the client hear of the winner from now on.
    pub(super) fn announce(&self) {
        engine::change(self, |ledger| ledger.life.announce());
    }

    /// Tells who traces that the circuit can be used.
    pub(super) fn tell_built(&self) {
        trace::circuit_built(self.vc().addr(), self.connection().public().address());
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
        if let Some(competing) = &self.competing
            && !mutant!(CleanUpEventNeverSet)
        {
            competing.clean_up.set();
        }
    }

    /// Whether the client may hear of the circuit.
    pub(super) fn is_announced(&self) -> bool {
        self.ledger.with(|ledger| ledger.life.is_announced())
    }

    /// What the transport calls the circuit.
    pub(super) fn token(&self) -> usize {
        self.id.raw()
    }

    /// The connection.
    pub(super) const fn connection(&self) -> &Connection {
        // SAFETY: The circuit has pinned it.
        unsafe { self.connection.as_ref() }
    }

    /// The client's structure.
    const fn public(&self) -> Client<abi::Vc> {
        self.header.structure()
    }

    /// The client's structure, for callbacks.
    pub(super) const fn vc(&self) -> *mut abi::Vc {
        self.public().as_ptr()
    }

    /// Where requests go at this moment.
    pub(super) fn target(&self) -> Target {
        // SAFETY: The file object is referenced from the open until after the run-down.
        unsafe { self.endpoint.target() }
    }

    /// This endpoint behind a device that it had before.
    pub(super) fn target_at(&self, device: Device) -> Target {
        let file = self.endpoint.object();
        Target { device, file }
    }

    /// One byte stream.
    pub(super) const fn stream(&self, channel: Channel) -> &Stream {
        let [normal, expedited] = &self.streams;
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
        let spare = unsafe { &(*self.kept.get()).receives }.of(channel)?;
        (spare.is_idle() || mutant!(SpareReusedEarly)).then(|| NonNull::from(spare))
    }

    /// Lends the circuit requests for the disconnects of its draining.
    ///
    /// # Safety
    ///
    /// The caller builds the circuit, or has claimed it for a tear-down: nobody else drains it. The requests stay where they
    /// are until the circuit is built or run down.
    pub(super) unsafe fn lend(&self, disconnects: &Disconnects) {
        self.disconnects.set(Some(NonNull::from(disconnects)));
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
    pub(super) fn submittable(&self, purpose: Purpose) -> Result<Option<Handle>, Error> {
        let Some(this) = self.reference() else {
            return Ok(None);
        };
        let target = this.target();
        let request = Request::allocate(this.block(), purpose, target.device.stack_size())?;
        Ok(Some(Self::arm(this.erase(), request, &target)))
    }

    /// The same for a send, from the shelf if there is a request on it, and with the caller's reference: the request's parts
    /// keep the circuit from now on.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) fn sendable(this: Ref<Self>, purpose: Purpose) -> Result<Handle, Error> {
        let target = this.target();
        let request = this.shelf().request(this.block(), purpose, &target)?;
        Ok(Self::arm(this.erase(), request, &target))
    }

    /// Arms a request that nobody else has.
    fn arm(reference: AnyRef, request: PoolBox<Request>, target: &Target) -> Handle {
        let holders = Holders::CompletionAndSubmitter;
        // SAFETY: The request is idle, was made for this target or fits it, and is given up to its parts here.
        unsafe { Handle::arm(request.into_raw(), reference, target, holders) }
    }

    /// The circuit of a request.
    ///
    /// # Safety
    ///
    /// The request is a circuit's, and the caller has a part of it for as long as the result is used.
    pub(super) const unsafe fn of<'a>(request: &Handle) -> &'a Self {
        // SAFETY: Forwarded: an armed request has a reference to its circuit.
        unsafe { Self::at(request.get().owner()) }
    }

    /// The circuit that is the owner of a request.
    ///
    /// # Safety
    ///
    /// It is one, and the caller has a reference to it for as long as the result is used.
    pub(super) const unsafe fn at<'a>(owner: NonNull<Header>) -> &'a Self {
        // SAFETY: Forwarded.
        unsafe { owner.cast().as_ref() }
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
}
