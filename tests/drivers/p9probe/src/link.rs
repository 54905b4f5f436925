//! The circuit, and what its callbacks share with the thread that waits for a reply.
//!
//! A [`Link`] lies in nonpaged memory and is the context of all callbacks. At most one reply is expected at a time:
//! the waiting thread puts buffers into the link, the callbacks fill them, the thread takes them out again. While the
//! engine holds a buffer for an in-place receive ([`Phase::InPlace`]) nobody takes it out: the thread then tears the
//! circuit down, after which the engine holds nothing.

use core::{cell::UnsafeCell, mem, slice};

use client_nt::{event::Event, mdl::Mdl, pool::Bytes, spin_lock::SpinLock};
use p9::{Assembler, Error, Next, Step};
use rxce_client::{RXCE_ADDRESS, RXCE_CONNECTION, RXCE_TRANSPORT, RXCE_VC};
use wdk_sys::{NTSTATUS, PMDL, STATUS_CONNECTION_DISCONNECTED, STATUS_INVALID_NETWORK_RESPONSE};

use crate::{
    counters::COUNTERS,
    status::{Result, check},
};

/// Data of at least this length are not copied from indications: the transport writes them to their destination.
const LEAST_IN_PLACE: usize = 1024;
/// A request that makes no progress for so long fails.
const TIMEOUT_SECONDS: u32 = 30;

/// A circuit with its parents, and its state as its callbacks see it.
pub(crate) struct Link {
    /// The engine's structures. Only the engine looks into them.
    pub(crate) transport: UnsafeCell<RXCE_TRANSPORT>,
    pub(crate) address: UnsafeCell<RXCE_ADDRESS>,
    pub(crate) connection: UnsafeCell<RXCE_CONNECTION>,
    pub(crate) vc: UnsafeCell<RXCE_VC>,
    state: SpinLock<State>,
    progress: Event,
}

// SAFETY: The structures are used through the engine, which synchronises itself; the rest is `Sync`.
unsafe impl Sync for Link {}

struct State {
    /// Why the circuit is of no use any more.
    failure: Option<NTSTATUS>,
    /// An asynchronous send is under way.
    sending: bool,
    phase: Phase,
}

enum Phase {
    /// No reply is due.
    Idle,
    /// Bytes of a reply may come.
    Waiting(Expected),
    /// The engine writes the rest of the file data to the destination.
    InPlace(Expected),
    /// The reply is there.
    Complete(Expected),
}

/// A reply that is waited for.
pub(crate) struct Expected {
    pub(crate) assembler: Assembler,
    pub(crate) reply: Bytes,
    pub(crate) destination: Option<Destination>,
}

/// Where the data of an `Rread` go: memory of the request's IRP, with the MDLs that an in-place receive needs.
pub(crate) struct Destination {
    start: *mut u8,
    len: usize,
    whole: Mdl,
    rest: Mdl,
}

// SAFETY: The memory belongs to whoever holds the `Destination`; no thread is special to it.
unsafe impl Send for Destination {}

impl Destination {
    /// Takes the MDLs now, because memory may be short when the data come.
    ///
    /// # Safety
    ///
    /// `start` points to `len` bytes of nonpaged pool (`len > 0`), which nobody else uses while the `Destination` lives.
    pub(crate) unsafe fn new(start: *mut u8, len: usize) -> Result<Self> {
        // SAFETY: Forwarded from this function's `# Safety` section.
        let whole = unsafe { Mdl::over(start, len) }?;
        let rest = whole.for_a_part()?;
        Ok(Self {
            start,
            len,
            whole,
            rest,
        })
    }

    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: The contract of `new`; called only while the engine holds no MDL (not in `Phase::InPlace`).
        unsafe { slice::from_raw_parts_mut(self.start, self.len) }
    }
}

/// What a receive callback answers.
pub(crate) enum Received {
    /// So many bytes were taken.
    Taken(usize),
    /// So many bytes were taken, and the following ones belong into this MDL.
    InPlace { taken: usize, mdl: PMDL, len: usize },
    /// Nothing may be taken now.
    Refused,
}

impl Link {
    /// A link without a circuit. [`Self::initialise`] must follow once it lies at its place.
    pub(crate) const fn new() -> Self {
        // SAFETY: Plain C structures; the engine fills them, and all zero means "not built".
        let transport = unsafe { mem::zeroed() };
        // SAFETY: As above.
        let address = unsafe { mem::zeroed() };
        // SAFETY: As above.
        let connection = unsafe { mem::zeroed() };
        // SAFETY: As above.
        let vc = unsafe { mem::zeroed() };
        Self {
            transport: UnsafeCell::new(transport),
            address: UnsafeCell::new(address),
            connection: UnsafeCell::new(connection),
            vc: UnsafeCell::new(vc),
            state: SpinLock::new(State {
                failure: None,
                sending: false,
                phase: Phase::Idle,
            }),
            progress: Event::uninitialised(),
        }
    }

    /// Makes the event usable.
    ///
    /// # Safety
    ///
    /// The link lies in nonpaged memory, is not moved any more, and nobody uses it yet.
    pub(crate) unsafe fn initialise(&self) {
        // SAFETY: Forwarded from this function's `# Safety` section.
        unsafe { self.progress.initialise(false) };
    }

    // ---- The side of the thread that waits (IRQL <= APC_LEVEL) ----

    /// Begins to wait for a reply. [`Self::take`] gives the buffers back, whatever is returned.
    ///
    /// # Errors
    ///
    /// The circuit is of no use any more.
    pub(crate) fn expect(&self, expected: Expected) -> Result {
        let mut state = self.state.lock();
        state.phase = Phase::Waiting(expected);
        state.failure.map_or(Ok(()), Err)
    }

    /// Notes that an asynchronous send is about to be made.
    pub(crate) fn begin_send(&self) {
        self.state.lock().sending = true;
    }

    /// Waits until the reply is there and the send is over, or the circuit fails.
    ///
    /// # Errors
    ///
    /// Why the circuit failed; `STATUS_IO_TIMEOUT` if nothing happened for 30 seconds.
    pub(crate) fn wait(&self) -> Result {
        loop {
            {
                let state = self.state.lock();
                if !state.sending && matches!(state.phase, Phase::Complete(_)) {
                    return Ok(());
                }
                if let Some(failure) = state.failure {
                    return Err(failure);
                }
            }
            if !self.progress.wait_seconds(TIMEOUT_SECONDS) {
                self.fail(wdk_sys::STATUS_IO_TIMEOUT);
            }
        }
    }

    /// Takes the buffers back, unless the engine still uses one of them or the send is not over.
    pub(crate) fn take(&self) -> Option<Expected> {
        let mut state = self.state.lock();
        if state.sending {
            return None;
        }
        match mem::replace(&mut state.phase, Phase::Idle) {
            Phase::Idle => None,
            Phase::Waiting(expected) | Phase::Complete(expected) => Some(expected),
            in_place @ Phase::InPlace(_) => {
                state.phase = in_place;
                None
            }
        }
    }

    /// Takes the buffers back after the circuit was torn down: the engine holds nothing and calls nobody any more.
    pub(crate) fn take_after_tear_down(&self) -> Option<Expected> {
        let mut state = self.state.lock();
        state.sending = false;
        match mem::replace(&mut state.phase, Phase::Idle) {
            Phase::Idle => None,
            Phase::Waiting(expected) | Phase::InPlace(expected) | Phase::Complete(expected) => {
                Some(expected)
            }
        }
    }

    /// Why the circuit is of no use any more.
    pub(crate) fn failure(&self) -> Option<NTSTATUS> {
        self.state.lock().failure
    }

    // ---- The side of the callbacks (IRQL <= DISPATCH_LEVEL) ----

    /// Makes the circuit useless; the first reason counts.
    pub(crate) fn fail(&self, status: NTSTATUS) {
        self.state.lock().failure.get_or_insert(status);
        self.progress.set();
    }

    /// Notes the end of the asynchronous send.
    pub(crate) fn end_send(&self, result: NTSTATUS) {
        {
            let mut state = self.state.lock();
            state.sending = false;
            if let Err(failure) = check(result) {
                state.failure.get_or_insert(failure);
            }
        }
        self.progress.set();
    }

    /// Uses indicated bytes.
    pub(crate) fn receive(&self, input: &[u8]) -> Received {
        let (answer, wake) = self.state.lock().receive(input);
        if wake {
            self.progress.set();
        }
        answer
    }

    /// Notes the end of an in-place receive of `count` bytes.
    pub(crate) fn data_ready(&self, count: usize, status: NTSTATUS) {
        self.state.lock().data_ready(count, status);
        self.progress.set();
    }
}

impl State {
    fn receive(&mut self, input: &[u8]) -> (Received, bool) {
        if self.failure.is_some() {
            // Nobody wants it; refused data would stay queued and block an orderly close.
            return (Received::Taken(input.len()), false);
        }
        match mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Waiting(mut expected) => match expected.use_bytes(input) {
                Ok((taken, Next::Nothing)) => {
                    self.phase = Phase::Complete(expected);
                    if taken < input.len() {
                        self.protocol_error(Error::Unsolicited);
                    }
                    (Received::Taken(input.len()), true)
                }
                Ok((taken, Next::Data { offset, missing })) if missing >= LEAST_IN_PLACE => {
                    match expected.in_place(offset, missing) {
                        Some(mdl) => {
                            self.phase = Phase::InPlace(expected);
                            (
                                Received::InPlace {
                                    taken,
                                    mdl,
                                    len: missing,
                                },
                                false,
                            )
                        }
                        None => {
                            // Cannot happen: the buffer was measured for what was asked for.
                            self.phase = Phase::Waiting(expected);
                            self.protocol_error(Error::BufferTooSmall);
                            (Received::Taken(input.len()), true)
                        }
                    }
                }
                Ok((taken, _)) => {
                    self.phase = Phase::Waiting(expected);
                    (Received::Taken(taken), false)
                }
                Err(error) => {
                    self.phase = Phase::Waiting(expected);
                    self.protocol_error(error);
                    (Received::Taken(input.len()), true)
                }
            },
            in_place @ Phase::InPlace(_) => {
                // The engine promises not to ask; the bytes belong to the receive that is under way.
                self.phase = in_place;
                (Received::Refused, false)
            }
            other => {
                self.phase = other;
                self.protocol_error(Error::Unsolicited);
                (Received::Taken(input.len()), true)
            }
        }
    }

    fn data_ready(&mut self, count: usize, status: NTSTATUS) {
        match mem::replace(&mut self.phase, Phase::Idle) {
            Phase::InPlace(mut expected) => {
                COUNTERS.in_place_bytes.add(count);
                match (check(status), expected.assembler.written(count)) {
                    (Ok(()), Ok(Next::Nothing)) => self.phase = Phase::Complete(expected),
                    (result, _) => {
                        self.phase = Phase::Waiting(expected);
                        let failure = result.err().unwrap_or(STATUS_CONNECTION_DISCONNECTED);
                        self.failure.get_or_insert(failure);
                    }
                }
            }
            other => self.phase = other,
        }
    }

    fn protocol_error(&mut self, _error: Error) {
        COUNTERS.protocol_errors.one();
        self.failure.get_or_insert(STATUS_INVALID_NETWORK_RESPONSE);
    }
}

impl Expected {
    /// Copies what belongs to the reply. Stops in front of data that are worth an in-place receive.
    fn use_bytes(&mut self, input: &[u8]) -> Result<(usize, Next), Error> {
        let mut step = self.assembler.feed_up_to_data(input, &mut self.reply)?;
        if let Next::Data { missing, .. } = step.next
            && (missing < LEAST_IN_PLACE || self.destination.is_none())
        {
            let rest = input.get(step.taken..).unwrap_or_default();
            let data = self.copy_data(rest)?;
            step = Step {
                taken: step.taken.saturating_add(data.taken),
                next: data.next,
            };
        }
        COUNTERS.copied_bytes.add(step.taken);
        Ok((step.taken, step.next))
    }

    fn copy_data(&mut self, input: &[u8]) -> Result<Step, Error> {
        let destination = self
            .destination
            .as_mut()
            .map(Destination::as_mut)
            .unwrap_or_default();
        self.assembler.feed(input, &mut self.reply, destination)
    }

    fn in_place(&mut self, offset: usize, missing: usize) -> Option<PMDL> {
        let destination = self.destination.as_mut()?;
        destination
            .rest
            .describe(&destination.whole, offset, missing)
            .ok()
    }
}
