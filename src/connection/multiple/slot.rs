//! One attempt: a connection and a circuit that the client does not see.

use core::{
    cell::{Cell, UnsafeCell},
    ffi::c_void,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use rxce_engine::{Error, circuit as engine, race::Attempt};

use super::request::Request as Asked;
use crate::{
    abi::Client,
    connection::{
        address::{self, Address},
        circuit::{Circuit, Entrant, Opening},
        layer::Layer,
        peer::Connection,
        pins::Child,
        registry::{Block, Ref},
        request::Handle,
    },
    nt::{handle_thread::Job, irql::Pageable, pool::PoolBox},
};

/// Told of the end of a slot, with the slot's part of the race.
pub(super) type Ended = unsafe fn(NonNull<c_void>);

/// The place of one attempt in its race.
#[repr(C)]
pub(super) struct Slot {
    job: Job,
    index: usize,
    /// The race, and how it learns of the slot's end.
    race: Cell<Option<(NonNull<c_void>, Ended)>>,
    /// Under the race's lock.
    attempt: Cell<Attempt>,
    /// The routine's, until the attempt is closed; then the handle thread's.
    attempted: UnsafeCell<Option<Attempted>>,
    /// One for the connect, one for the close.
    parts: AtomicU32,
    /// The handle thread's.
    closed: Cell<bool>,
}

impl Slot {
    /// An empty slot.
    pub(super) const fn new(index: usize) -> Self {
        Self {
            job: Job::new(Self::close),
            index,
            race: Cell::new(None),
            attempt: Cell::new(Attempt::Absent),
            attempted: UnsafeCell::new(None),
            parts: AtomicU32::new(2),
            closed: Cell::new(false),
        }
    }

    /// Notes which race it is.
    pub(super) fn enter(&self, race: NonNull<c_void>, ended: Ended) {
        self.race.set(Some((race, ended)));
    }

    /// The address's index.
    pub(super) const fn index(&self) -> usize {
        self.index
    }

    /// The job that closes the attempt, and later takes it apart.
    pub(super) const fn job(&self) -> NonNull<Job> {
        NonNull::from_ref(self).cast()
    }

    /// Where the attempt stands; under the race's lock.
    pub(super) const fn attempt(&self) -> Attempt {
        self.attempt.get()
    }

    /// Notes where it stands; under the race's lock.
    pub(super) fn set(&self, attempt: Attempt) {
        self.attempt.set(attempt);
    }

    /// Gives a part back; `true` for the last one.
    pub(super) fn is_last(&self) -> bool {
        self.parts.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Puts an attempt in.
    pub(super) fn fill(&self, attempted: Attempted) {
        // SAFETY: The routine is alone with the slot.
        unsafe { *self.attempted.get() = Some(attempted) };
    }

    /// Whether there is an attempt; for the routine or the job, before it is closed.
    pub(super) fn is_filled(&self) -> bool {
        // SAFETY: The attempt is put in and taken out by the routine or the job, which asks.
        unsafe { (*self.attempted.get()).is_some() }
    }

    /// Takes the attempt out.
    pub(super) fn take(&self) -> Option<Attempted> {
        // SAFETY: The caller is the one party that has the attempt now.
        unsafe { (*self.attempted.get()).take() }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Attempted) -> R) -> Option<R> {
        // SAFETY: As for `take`; completions do not touch the attempt.
        unsafe { (*self.attempted.get()).as_mut() }.map(work)
    }

    /// Opens the endpoint.
    ///
    /// # Errors
    ///
    /// The status of the step that failed.
    pub(super) fn open(&self, at: &Pageable) -> Result<(), Error> {
        self.with(|attempted| attempted.open(at))
            .unwrap_or(Err(Error::InvalidParameter))
    }

    /// Sends the connect; `false` if it was not sent.
    pub(super) fn connect(&self) -> bool {
        self.with(Attempted::connect).unwrap_or(false)
    }

    /// Gives back a connect that is not sent.
    pub(super) fn discard_connect(&self) {
        self.with(Attempted::discard_connect);
    }

    /// Takes the attempt apart, if there is one.
    pub(super) fn dismantle(&self, at: &Pageable) {
        if let Some(attempted) = self.take() {
            attempted.dismantle(at);
        }
    }

    /// On the handle thread: closes the endpoint; once the connect has ended too, takes the attempt apart.
    ///
    /// # Safety
    ///
    /// `job` is the first member of a slot whose race was decided.
    unsafe fn close(job: NonNull<Job>) {
        // SAFETY: The slot lives as long as its own part of the race.
        let slot = unsafe { job.cast::<Self>().as_ref() };
        if !slot.closed.replace(true) {
            slot.with(|attempted| attempted.circuit.give_up());
            if !slot.is_last() {
                // The connect queues this job once more.
                return;
            }
        }
        // SAFETY: The handle thread runs at PASSIVE_LEVEL.
        let at = unsafe { Pageable::assume() };
        slot.dismantle(&at);
        if let Some((race, ended)) = slot.race.get() {
            // SAFETY: The slot has ended; its part of the race goes with this call, and the slot perhaps too.
            unsafe { ended(race) };
        }
    }
}

/// What an attempt owns.
pub(super) struct Attempted {
    circuit: Ref<Circuit>,
    connection: PoolBox<Connection>,
    connect: Connect,
}

/// The connect request of an attempt.
enum Connect {
    /// Allocated, with what the opening needs.
    Ready(Opening),
    /// With its parts and its target.
    Armed(Handle),
    /// Given to the transport, or discarded.
    Gone,
}

impl Attempted {
    /// Allocates everything for an attempt from one address, and pins the parents.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for an address that is of no use, [`Error::InsufficientResources`].
    pub(super) fn new(
        request: &Asked<'_>,
        local: *mut crate::abi::Address,
        entrant: Entrant,
    ) -> Result<Self, Error> {
        let local = address::find(Client::new(local)?)?;
        if !local.transport().has_connections() {
            return Err(Error::InvalidParameter);
        }
        local.pin(Child::Connection)?;
        let block = Connection::new(
            request.connection,
            local.as_ptr(),
            request.remote,
            request.handler,
            request.context,
        );
        let connection = block.inspect_err(|_| local.unpin(Child::Connection))?;
        let undo = |connection: PoolBox<Connection>, local: &Address| {
            drop(connection);
            local.unpin(Child::Connection);
        };
        // SAFETY: The connection is in its place for good, and nobody knows it.
        unsafe { connection.header().rundown().init() };
        if let Err(error) = connection.pin() {
            undo(connection, &local);
            return Err(error);
        }
        let (circuit, opening) = match Circuit::new(request.vc, &connection, Some(entrant)) {
            Ok(blocks) => blocks,
            Err(error) => {
                connection.unpin();
                undo(connection, &local);
                return Err(error);
            }
        };
        // SAFETY: The circuit is in its place for good, and nobody knows it.
        unsafe { circuit.header().rundown().init() };
        if !circuit.header().rundown().acquire() {
            drop(opening);
            drop(circuit);
            connection.unpin();
            undo(connection, &local);
            return Err(Error::InvalidParameter);
        }
        // SAFETY: The reference was taken above.
        let circuit = unsafe { Ref::from_raw(circuit.into_raw()) };
        Ok(Self {
            circuit,
            connection,
            connect: Connect::Ready(opening),
        })
    }

    /// Opens and associates the endpoint.
    ///
    /// # Errors
    ///
    /// The status of the step that failed.
    pub(super) fn open(&mut self, at: &Pageable) -> Result<(), Error> {
        let connect = core::mem::replace(&mut self.connect, Connect::Gone);
        let Connect::Ready(opening) = connect else {
            return Err(Error::InvalidParameter);
        };
        self.connect = Connect::Armed(Circuit::open(&self.circuit, at, opening)?);
        Ok(())
    }

    /// Lets the transport's events find the circuit, and sends the connect; `false` if it was not sent.
    pub(super) fn connect(&mut self) -> bool {
        let Connect::Armed(connect) = core::mem::replace(&mut self.connect, Connect::Gone) else {
            return false;
        };
        self.circuit.expose(&self.circuit);
        engine::connect_in_background(&*self.circuit, connect)
    }

    /// Gives back a connect that was not sent.
    pub(super) fn discard_connect(&mut self) {
        if let Connect::Armed(connect) = core::mem::replace(&mut self.connect, Connect::Gone) {
            // SAFETY: The request was never listed.
            unsafe { connect.disarm() };
        }
    }

    /// Takes an attempt apart whose endpoint is closed or was never opened, and whose connect has ended.
    pub(super) fn dismantle(mut self, at: &Pageable) {
        self.discard_connect();
        let Self {
            circuit,
            connection,
            connect,
        } = self;
        drop(connect);
        circuit.disconnect(at);
        let circuit: NonNull<Circuit> = circuit.run_down(at);
        // SAFETY: The block is ours alone after the run-down.
        let block = unsafe { circuit.as_ref() };
        block.release(at);
        let address = NonNull::from(connection.address());
        // SAFETY: The circuit was linked to this address, or is in no list.
        unsafe { connection.unpin_circuit(block.member()) };
        // SAFETY: Nobody finds the circuit, and nobody has a reference.
        drop(unsafe { PoolBox::from_raw(circuit) });
        drop(connection);
        // SAFETY: The connection's count at the address, which pins it, is given up here.
        unsafe { address.as_ref().unpin(Child::Connection) };
    }

    /// Gives the blocks of the winner away.
    pub(super) fn into_winner(self) -> (Ref<Circuit>, PoolBox<Connection>) {
        (self.circuit, self.connection)
    }
}
