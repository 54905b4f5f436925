//! The tracking block: slots, the decision, and who still has to end.

use core::{
    cell::{Cell, UnsafeCell},
    ffi::c_void,
    ops::Deref,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicU32, Ordering},
};

use rxce_engine::{
    Error,
    life::CancelBuild,
    mutant,
    race::{Attempt, Choice, Decision, Verdict},
};
use wdk_sys::{
    NTSTATUS, PVOID, STATUS_CONNECTION_ABORTED, STATUS_INVALID_HANDLE, STATUS_PENDING,
    WORK_QUEUE_ITEM,
};

use super::{
    place::{Placeholder, Places},
    request::Request,
    slot::{Attempted, Slot},
};
use crate::{
    abi,
    connection::{
        circuit::{Circuit, Entrant, Rivals},
        registry::{Ref, pointers},
    },
    nt::{
        event::Event,
        handle_thread::HANDLE_THREAD,
        irql::Pageable,
        pending::Pending,
        pool::{self, PoolBox, Pooled, Tag},
        spin_lock::SpinLock,
    },
    tdi::Keeper,
};

/// One part of the tracking block: the routine's or the job's, a slot's, or a connect's.
pub(super) struct Race(NonNull<Tracking>);

/// What all parties share.
pub(super) struct Tracking {
    parts: AtomicU32,
    choice: Choice,
    connected: unsafe fn(&Entrant, NTSTATUS),
    state: SpinLock<State>,
    slots: Slots,
    routine: abi::CompletionRoutine,
    completion: NonNull<abi::CompletionContext>,
    places: Places,
    /// Signalled when no slot is left to end.
    ended: Event,
    status: Cell<NTSTATUS>,
    /// The winner while rivals have to end: written before the first of them is closed, taken after the last.
    winner: UnsafeCell<Option<Ref<Circuit>>>,
    _keeper: Keeper,
    /// Goes last: the redirector may be unloaded right after.
    _pending: Pending,
}

/// Under the race's lock.
struct State {
    /// The routine has returned `STATUS_PENDING`, or is about to.
    left: bool,
    decision: Decision,
    /// Slots that are not ended; the winner does not count.
    to_end: usize,
}

impl Pooled for Tracking {
    const TAG: Tag = Tag::new(*b"RxMt");
}

// SAFETY: Members without a lock of their own are touched by one party at a time, as each method says.
unsafe impl Sync for Tracking {}
// SAFETY: As above.
unsafe impl Send for Tracking {}

/// Slots.
const SLOT_TAG: Tag = Tag::new(*b"RxMs");

/// The slots of a race, in one allocation.
struct Slots {
    start: NonNull<Slot>,
    count: usize,
}

impl Slots {
    fn new(count: usize) -> Result<Self, Error> {
        let bytes = size_of::<Slot>()
            .checked_mul(count)
            .ok_or(Error::InvalidParameter)?;
        let start: NonNull<Slot> = pool::allocate(bytes, SLOT_TAG)
            .ok_or(Error::InsufficientResources)?
            .cast();
        for index in 0..count {
            // SAFETY: The allocation has room for `count` slots.
            let slot = unsafe { start.add(index) };
            // SAFETY: As above; the slot is not initialised yet.
            unsafe { slot.write(Slot::new(index)) };
        }
        Ok(Self { start, count })
    }
}

impl Deref for Slots {
    type Target = [Slot];

    fn deref(&self) -> &[Slot] {
        // SAFETY: All slots are initialised, and live as long as the allocation.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: The slots are initialised, and nobody has a part of the race any more.
        unsafe { ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.count).drop_in_place() };
        // SAFETY: The block came from `allocate` with this tag.
        unsafe { pool::free(self.start.cast(), SLOT_TAG) };
    }
}

/// Who follows up a decision.
pub(super) enum Followed {
    /// The routine itself.
    Here(Verdict),
    /// A job, when the decision comes.
    Later,
}

impl Race {
    /// Allocates and reserves everything that the race will need.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for bad arguments and structures that are built; without memory
    /// [`Error::InsufficientResources`], with both structures zeroed; `STATUS_INVALID_HANDLE` if no address is of use.
    pub(super) fn new(
        at: &Pageable,
        request: &Request<'_>,
        connected: unsafe fn(&Entrant, NTSTATUS),
    ) -> Result<Self, Error> {
        Places::require_free(request)?;
        let race = Self::allocate(request, connected).or_else(|error| {
            Places::clear_unbuilt(request)?;
            Err(error)
        })?;
        race.places.reserve(race.0.cast())?;
        let mut usable = false;
        for (slot, &local) in race.slots.iter().zip(request.addresses) {
            let entrant = race.entrant(slot.index());
            match Attempted::new(request, local, entrant) {
                Ok(attempted) => {
                    slot.fill(attempted);
                    usable = true;
                }
                Err(Error::InsufficientResources) => {
                    return Err(race.abandon(at, Error::InsufficientResources));
                }
                Err(_) => {}
            }
        }
        if usable {
            return Ok(race);
        }
        Err(race.abandon(at, Error::Transport(STATUS_INVALID_HANDLE)))
    }

    fn allocate(
        request: &Request<'_>,
        connected: unsafe fn(&Entrant, NTSTATUS),
    ) -> Result<Self, Error> {
        let tracking = PoolBox::new(Tracking {
            parts: AtomicU32::new(1),
            choice: request.choice,
            connected,
            state: SpinLock::new(State {
                left: false,
                decision: Decision::open(),
                to_end: 0,
            }),
            slots: Slots::new(request.addresses.len())?,
            routine: request.routine,
            completion: request.completion,
            places: Places::new(request)?,
            ended: Event::uninit(),
            status: Cell::new(STATUS_PENDING),
            winner: UnsafeCell::new(None),
            _keeper: Keeper::of_library(),
            _pending: Pending::new(request.device),
        })?;
        // SAFETY: The block is in its place for good, and nobody else has it.
        unsafe { tracking.ended.init_manual_reset() };
        let block = tracking.into_raw();
        // SAFETY: The block lives until the last part goes.
        for slot in unsafe { block.as_ref() }.slots.iter() {
            slot.enter(block.cast(), Self::end_slot);
        }
        Ok(Self(block))
    }

    /// Finds the race for the circuit's structure at `key`, with a part of its own.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) fn find(key: usize) -> Option<Self> {
        let join = |place: &Placeholder| {
            let race: NonNull<Tracking> = place.race()?.cast();
            // SAFETY: Whoever has the places has a part of the race until they are given away or cleared.
            unsafe { race.as_ref() }
                .parts
                .fetch_add(1, Ordering::Relaxed);
            Some(Self(race))
        };
        pointers::look(key, join).flatten()
    }

    fn entrant(&self, index: usize) -> Entrant {
        Entrant {
            race: self.0.cast(),
            index,
            connected: self.connected,
        }
    }

    /// Gives up a slot's own part, after it was taken apart.
    ///
    /// # Safety
    ///
    /// `race` is the tracking block of a slot that has just ended.
    unsafe fn end_slot(race: NonNull<c_void>) {
        Self(race.cast()).slot_ended();
    }

    /// Undoes everything before a connect was sent; tells why, which is the cancellation if there was one.
    fn abandon(&self, at: &Pageable, error: Error) -> Error {
        let cancelled = self.state.with(|state| state.decision.give_up());
        for slot in self.slots.iter() {
            slot.dismantle(at);
        }
        self.places.clear();
        if cancelled { Error::Cancelled } else { error }
    }

    /// Opens each endpoint.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`], or `STATUS_INVALID_HANDLE` if none could be opened; everything is undone then.
    pub(super) fn open(&self, at: &Pageable) -> Result<(), Error> {
        for slot in self.slots.iter().filter(|slot| slot.is_filled()) {
            match slot.open(at) {
                Ok(()) => {}
                Err(Error::InsufficientResources) => {
                    return Err(self.abandon(at, Error::InsufficientResources));
                }
                Err(_) => slot.dismantle(at),
            }
        }
        let mut open = 0_usize;
        for slot in self.slots.iter().filter(|slot| slot.is_filled()) {
            open = open.saturating_add(1);
            // One part for the connect, one for the end of the slot.
            self.parts.fetch_add(2, Ordering::Relaxed);
            self.state.with(|_| slot.set(Attempt::Connecting));
        }
        self.state.with(|state| state.to_end = open);
        if open != 0 {
            return Ok(());
        }
        Err(self.abandon(at, Error::Transport(STATUS_INVALID_HANDLE)))
    }

    /// Sends the connects, until the race is decided.
    pub(super) fn start(&self) {
        for slot in self.slots.iter().filter(|slot| slot.is_filled()) {
            let entrant = self.entrant(slot.index());
            if self.state.with(|state| state.decision.verdict()) != Verdict::Open {
                slot.discard_connect();
                // SAFETY: This slot's connect was not sent, so it ends here.
                let connect = unsafe { Self::of_connect(&entrant) };
                connect.release_slot(slot.index());
            } else if !slot.connect() {
                // SAFETY: As above.
                unsafe { (self.connected)(&entrant, STATUS_CONNECTION_ABORTED) };
            }
        }
    }

    /// Decides who follows the decision up, when the routine has nothing more to do.
    pub(super) fn leave(&self) -> Followed {
        self.state.with(|state| match state.decision.verdict() {
            Verdict::Open => {
                state.left = true;
                Followed::Later
            }
            verdict => Followed::Here(verdict),
        })
    }

    /// The part of the race that a slot's connect has.
    ///
    /// # Safety
    ///
    /// The slot's connect ends here, once.
    pub(super) const unsafe fn of_connect(entrant: &Entrant) -> Self {
        Self(entrant.race.cast())
    }

    /// Gives the part up to the job.
    pub(super) const fn leave_to_job(self) {
        core::mem::forget(self);
    }

    /// Takes the routine's part over.
    ///
    /// # Safety
    ///
    /// `context` is what [`Self::context`] said, and the routine has left its part.
    pub(super) unsafe fn from_context(context: PVOID) -> Option<Self> {
        NonNull::new(context.cast()).map(Self)
    }

    /// Shows the winner to the client and closes its rivals; tells the transport's name for it.
    pub(super) fn announce(&self, index: usize) -> Option<usize> {
        let slot = self.slots.get(index)?;
        let (circuit, connection) = slot.take()?.into_winner();
        let rivals = if self.state.with(|state| state.to_end) == 0 {
            Rivals::Gone
        } else {
            Rivals::Closing
        };
        if rivals == Rivals::Closing {
            // SAFETY: No rival is being closed yet.
            unsafe { *self.winner.get() = circuit.again() };
        }
        self.close_rivals();
        connection.publish();
        circuit.show_winner(rivals);
        self.places.give(connection, &circuit);
        // Callbacks begin when the client's pointers are good for calls.
        circuit.announce();
        circuit.tell_built();
        let token = circuit.token();
        // The part of the winner's slot, which has ended.
        drop(Self(self.0));
        Some(token)
    }

    /// What the job is given.
    pub(super) fn context(&self) -> PVOID {
        self.0.as_ptr().cast()
    }

    /// Gives up the part of a slot's connect that has ended, or of a slot that was closed. Whoever comes last takes the
    /// slot apart, on the handle thread.
    pub(super) fn release_slot(self, index: usize) {
        if let Some(slot) = self.slots.get(index)
            && slot.is_last()
        {
            // SAFETY: The slot lives as long as its own part of the race; its job is not queued.
            unsafe { HANDLE_THREAD.queue(slot.job()) };
        }
    }
}

impl Deref for Race {
    type Target = Tracking;

    fn deref(&self) -> &Tracking {
        // SAFETY: A part keeps the block.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        if self.parts.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: This was the last part.
            drop(unsafe { PoolBox::from_raw(self.0) });
        }
    }
}

impl Tracking {
    /// Records the end of a connect and decides; `true` if the caller has to queue the job.
    pub(super) fn end_of_connect(&self, index: usize, status: NTSTATUS) -> bool {
        self.state.with(|state| {
            if let Some(slot) = self.slots.get(index) {
                let connected = wdk::nt_success(status);
                slot.set(if connected {
                    Attempt::Connected
                } else {
                    Attempt::Failed(status)
                });
            }
            let attempts = self.slots.iter().map(Slot::attempt);
            if !state.decision.decide(self.choice, attempts) {
                return false;
            }
            if let Verdict::Winner(_) = state.decision.verdict() {
                state.to_end = state.to_end.saturating_sub(1);
            }
            state.left
        })
    }

    /// Decides that nobody wins; `true` if the caller has to queue the job.
    pub(super) fn cancel(&self) -> (CancelBuild, bool) {
        self.state.with(|state| {
            let (answer, decided) = state.decision.cancel();
            (answer, decided && state.left)
        })
    }

    /// Whether the client has cancelled the race.
    pub(super) fn is_cancelled(&self) -> bool {
        self.state.with(|state| state.decision.is_cancelled())
    }

    /// The decision.
    pub(super) fn verdict(&self) -> Verdict {
        self.state.with(|state| state.decision.verdict())
    }

    /// The work item that the client lends.
    pub(super) fn work_item(&self) -> *mut WORK_QUEUE_ITEM {
        let completion = self.completion.as_ptr();
        // SAFETY: The client keeps the context until the completion routine was called.
        unsafe { (&raw mut (*completion).WorkQueueItem).cast() }
    }

    /// The client's routine and its context.
    pub(super) const fn completion(
        &self,
    ) -> (abi::CompletionRoutine, NonNull<abi::CompletionContext>) {
        (self.routine, self.completion)
    }

    /// The reported status.
    pub(super) const fn status(&self) -> NTSTATUS {
        self.status.get()
    }

    /// Closes every attempt that is left, each on the handle thread: the close ends its connect.
    pub(super) fn close_rivals(&self) {
        if mutant!(LoserNotClosed) {
            return;
        }
        for slot in self.slots.iter().filter(|slot| slot.is_filled()) {
            // SAFETY: The slot lives as long as its own part of the race; its job is queued here for the first time.
            unsafe { HANDLE_THREAD.queue(slot.job()) };
        }
    }

    /// A slot was taken apart; its part of the race goes after this.
    pub(super) fn slot_ended(&self) {
        let last = self.state.with(|state| {
            state.to_end = state.to_end.saturating_sub(1);
            state.to_end == 0
        });
        if last {
            // SAFETY: The decision's follower has written it before the first close, and nobody else comes after us.
            let winner = unsafe { (*self.winner.get()).take() };
            if let Some(winner) = winner {
                winner.rivals_are_gone();
            }
            self.ended.set();
        }
    }

    /// Waits until no slot is left to end.
    pub(super) fn wait_for_the_end(&self, at: &Pageable) {
        if self.state.with(|state| state.to_end) != 0 {
            self.ended.wait(at);
        }
    }

    /// Zeroes the client's structures and lets others build them.
    pub(super) fn clear_structures(&self) {
        self.places.clear();
    }

    /// Reports the result to the client's context.
    pub(super) fn report(&self, status: NTSTATUS, winner: Option<usize>) {
        self.status.set(status);
        report(self.completion, status, winner);
    }
}

/// Reports a result to a client's context.
pub(super) fn report(
    completion: NonNull<abi::CompletionContext>,
    status: NTSTATUS,
    winner: Option<usize>,
) {
    let completion = completion.as_ptr();
    // SAFETY: The client keeps the context until the routine has returned or the completion routine was called.
    unsafe { (*completion).Status = status };
    if let Some(index) = winner {
        let index = index.saturating_add(usize::from(mutant!(WrongIndex)));
        // SAFETY: As above.
        unsafe { (*completion).AddressIndex = u32::try_from(index).unwrap_or(u32::MAX) };
    }
}
