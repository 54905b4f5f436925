//! A circuit's block (rxce.md §3.6).

use core::{
    cell::{Cell, UnsafeCell},
    mem,
    ptr::NonNull,
    sync::atomic::{AtomicI32, Ordering},
};

use client_nt::{event::Event, pool::NonPaged, spin_lock::SpinLock, status::Result};
use rxce_client::{RXCE_VC, TDI_CONNECTION_INFORMATION};
use wdk_sys::STATUS_INVALID_DEVICE_STATE;

use super::{
    life::{Life, State},
    list::{Linked, Links},
    packet::Packet,
    record::{Home, Record},
    registry::{Block, Header, Kind},
    root::{Root, Shelf},
};
use crate::floor::{TAG, file::File};

/// One circuit.
#[repr(C)]
pub(super) struct Circuit {
    header: Header,
    root: NonNull<Root>,
    public: NonNull<RXCE_VC>,
    /// Written by the build, before anybody finds the circuit.
    pub(super) id: Cell<usize>,
    /// Written by the build, and taken when nobody has a reference any more.
    endpoint: UnsafeCell<Option<File>>,
    life: SpinLock<Life>,
    progress: Event,
    member: Links<Self>,
    kept: UnsafeCell<Kept>,
    /// What a transport may report of the connect.
    returned: UnsafeCell<TDI_CONNECTION_INFORMATION>,
}

// SAFETY: The header comes first, and only circuits have this kind.
unsafe impl Block for Circuit {
    const KIND: Kind = Kind::Circuit;

    fn header(&self) -> &Header {
        &self.header
    }
}

impl Linked for Circuit {
    fn links(&self) -> &Links<Self> {
        &self.member
    }
}

/// Streams of a circuit: the transports of the bench have expedited data, too.
const STREAMS: usize = 2;

/// What is allocated ahead so that nothing fails for memory where it must not.
pub(super) struct Kept {
    /// The disconnect of a tear-down.
    disconnect: Record,
    /// The packet of the one that would follow in vain.
    _escalation: Packet,
    /// The packets of the spare receives.
    _receives: [Packet; STREAMS],
}

impl Kept {
    /// Allocates for stacks of this size.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    pub(super) fn new(stack_size: i8) -> Result<Self> {
        Ok(Self {
            disconnect: Record::new(stack_size, Home::Circuit)?,
            _escalation: Packet::new(stack_size)?,
            _receives: [Packet::new(stack_size)?, Packet::new(stack_size)?],
        })
    }
}

impl Circuit {
    /// A circuit that nobody can find, initialised.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    pub(super) fn new(
        root: NonNull<Root>,
        public: NonNull<RXCE_VC>,
        kept: Kept,
    ) -> Result<NonPaged<Self>> {
        let circuit = Self {
            header: Header::new(Kind::Circuit, public.addr().get()),
            root,
            public,
            id: Cell::new(0),
            endpoint: UnsafeCell::new(None),
            life: SpinLock::new(Life::new()),
            progress: Event::uninitialised(),
            member: Links::new(),
            kept: UnsafeCell::new(kept),
            // SAFETY: Integers and pointers.
            returned: UnsafeCell::new(unsafe { mem::zeroed() }),
        };
        let circuit = NonPaged::try_new(circuit, TAG)?;
        // SAFETY: In its place for good, and nobody uses it yet.
        unsafe { circuit.header.initialise() };
        // SAFETY: As above.
        unsafe { circuit.progress.initialise(false) };
        Ok(circuit)
    }

    #[inline]
    pub(super) const fn root(&self) -> &Root {
        // SAFETY: The root goes when all circuits are gone.
        unsafe { self.root.as_ref() }
    }

    /// The client's structure.
    pub(super) const fn public(&self) -> NonNull<RXCE_VC> {
        self.public
    }

    #[inline]
    pub(super) fn shelf(&self) -> &Shelf {
        self.root().shelf(self.public)
    }

    /// The request of the tear-down's disconnect.
    pub(super) fn kept_disconnect(&self) -> NonNull<Record> {
        // SAFETY: Replaced only before the circuit is published.
        NonNull::from(unsafe { &(*self.kept.get()).disconnect })
    }

    /// What a transport may report of the connect.
    pub(super) const fn returned(&self) -> *mut TDI_CONNECTION_INFORMATION {
        self.returned.get()
    }

    /// Replaces what is allocated ahead.
    ///
    /// # Safety
    ///
    /// The caller builds the circuit, and has not published it.
    pub(super) unsafe fn replace_kept(&self, kept: Kept) {
        // SAFETY: Forwarded: nobody uses it.
        unsafe { *self.kept.get() = kept };
    }

    /// The build has opened the endpoint.
    ///
    /// # Safety
    ///
    /// The caller builds the circuit, and has not published it.
    pub(super) unsafe fn set_endpoint(&self, endpoint: File) {
        // SAFETY: Forwarded: nobody uses it.
        unsafe { *self.endpoint.get() = Some(endpoint) };
    }

    /// Closes the endpoint, if it is open.
    ///
    /// # Safety
    ///
    /// Nobody but the caller has a reference, or gets one.
    pub(super) unsafe fn close(&self) {
        // SAFETY: Forwarded: nobody uses it.
        drop(unsafe { (*self.endpoint.get()).take() });
    }

    /// The endpoint. The caller has a reference.
    ///
    /// # Errors
    ///
    /// `STATUS_INVALID_DEVICE_STATE` where the build has not opened it.
    #[inline]
    pub(super) fn endpoint(&self) -> Result<&File> {
        // SAFETY: It is taken away when nobody has a reference.
        let endpoint = unsafe { &*self.endpoint.get() };
        endpoint.as_ref().ok_or(STATUS_INVALID_DEVICE_STATE)
    }

    /// Does something in one hold of the lock that changes no state and no flag.
    #[inline]
    pub(super) fn hold<R>(&self, run: impl FnOnce(&mut Life) -> R) -> R {
        run(&mut self.life.lock())
    }

    /// Decides something in one hold of the lock. The structure shows the state, and whoever waits looks again.
    #[inline]
    pub(super) fn change<R>(&self, decide: impl FnOnce(&mut Life) -> R) -> R {
        self.hold(|life| {
            let decided = self.decide(life, decide);
            self.signal(life);
            decided
        })
    }

    /// Called under the lock: decides, and shows the state where it has changed.
    #[inline]
    fn decide<R>(&self, life: &mut Life, decide: impl FnOnce(&mut Life) -> R) -> R {
        let before = life.state();
        let decided = decide(life);
        if life.state() != before {
            self.show(life.state());
        }
        decided
    }

    /// Called under the lock.
    fn show(&self, now: State) {
        // SAFETY: The structure lives until the circuit is torn down.
        let state = unsafe { &raw mut (*self.public.as_ptr()).State };
        // SAFETY: Nobody but the holder of the lock writes it, and all access is interlocked.
        let state = unsafe { AtomicI32::from_ptr(state) };
        state.store(now as i32, Ordering::SeqCst);
    }

    /// Called under the lock.
    #[inline]
    fn signal(&self, life: &Life) {
        if life.waiting {
            self.progress.set();
        }
    }

    /// Waits until something can be decided. There is one waiter: the build, later the tear-down.
    pub(super) fn wait_for<R>(&self, mut decide: impl FnMut(&mut Life) -> Option<R>) -> R {
        loop {
            let decided = self.hold(|life| {
                let decided = self.decide(life, &mut decide);
                life.waiting = decided.is_none();
                decided
            });
            match decided {
                Some(decided) => return decided,
                None => self.progress.wait(),
            }
        }
    }

    /// A request is over.
    #[inline]
    pub(super) fn unlist(&self, record: &Record) {
        self.hold(|life| {
            life.unlist(record);
            self.signal(life);
        });
    }
}
