//! The client's side of the callbacks: logs each call, and answers receive indications as the vector prescribes.

mod callbacks;
pub(crate) mod chained;

use core::{ffi::c_void, ptr};

use conform_ioctl::Seen;
use rxce_client::RXCE_VC;
use wdk_sys::{NTSTATUS, PMDL};

pub(crate) use callbacks::{address_handlers, connection_handlers};

use crate::nt::{event::Event, watch::Watch};

/// The one recorder: vectors run one at a time.
pub(crate) static CLIENT: Watch<Client> = Watch::new(Client::new());

/// Context that connections are built with.
pub(crate) const CONNECTION_CONTEXT: *mut c_void = ptr::without_provenance_mut(0xC0_77EC);
/// Context that addresses are built with.
pub(crate) const ADDRESS_CONTEXT: *mut c_void = ptr::without_provenance_mut(0xADD2);

/// A callback by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Disconnect,
    ConnectionError,
    Receive,
    ReceiveExpedited,
    SendPossible,
    DataReady,
    SendComplete,
    SendSubmitted,
    AddressError,
    Datagram,
    DatagramReady,
    DatagramPossible,
    DatagramSent,
}

impl Call {
    /// Whether it is one of an address's callbacks.
    const fn is_of_address(self) -> bool {
        matches!(
            self,
            Self::AddressError
                | Self::Datagram
                | Self::DatagramReady
                | Self::DatagramPossible
                | Self::DatagramSent
        )
    }
}

/// One call as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called {
    pub(crate) call: Call,
    pub(crate) vc: *mut RXCE_VC,
    /// Completion context of sends; the MDL of DataReady.
    pub(crate) object: *mut c_void,
    pub(crate) status: NTSTATUS,
    /// Disconnect flags; bytes indicated; bytes copied.
    pub(crate) value: u32,
}

/// What to answer to a receive indication.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// Take everything.
    Take,
    /// Take this many bytes at most.
    TakeSome(u32),
    /// Refuse.
    Refuse,
    /// Refuse, and say that this many were taken.
    RefuseClaiming(u32),
    /// Take what is indicated, and this many further bytes into the chain. Once: then [`Answer::Take`].
    More(PMDL, u32),
    /// Take nothing of what is indicated, and this many bytes, from there on, into the chain. Once, as [`Answer::More`].
    Into(PMDL, u32),
    /// Take this many, and say so, whatever was indicated.
    Claim(u32),
    /// Run this inside the callback, then take everything.
    Do(fn()),
}

/// A place where the receive callback stops until it may go on. PASSIVE_LEVEL only.
#[derive(Clone, Copy)]
struct Gate {
    entered: *const Event,
    go_on: *const Event,
}

const CALLS: usize = 128;
const STREAM: usize = 512;

/// Everything behind the recorder's lock.
pub(crate) struct Client {
    calls: [Option<Called>; CALLS],
    made: usize,
    /// By lane: normal data, expedited data, datagrams.
    answers: [Answer; LANES],
    gate: Option<Gate>,
    /// Bytes taken from indications, in order, by lane.
    streams: [[u8; STREAM]; LANES],
    streamed: [usize; LANES],
    wrong_context: bool,
    /// Everything since the vector began, whatever was forgotten in between.
    seen: Seen,
}

const LANES: usize = 3;

/// Where data comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Normal,
    Expedited,
    Datagram,
}

// SAFETY: The raw pointers are only compared, or point to events that outlive their use (see `gate`).
unsafe impl Send for Client {}

impl Client {
    const fn new() -> Self {
        Self {
            calls: [None; CALLS],
            made: 0,
            answers: [Answer::Take; LANES],
            gate: None,
            streams: [[0; STREAM]; LANES],
            streamed: [0; LANES],
            wrong_context: false,
            seen: Seen::nothing(),
        }
    }

    /// A vector begins.
    pub(crate) const fn begin(&mut self) {
        self.seen = Seen::nothing();
    }

    /// What the client was told since.
    pub(crate) const fn seen(&self) -> Seen {
        self.seen
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.forget_calls();
        self.answers = [Answer::Take; LANES];
        self.gate = None;
        self.wrong_context = false;
    }

    /// Forgets the calls, and keeps the answers.
    pub(crate) fn forget_calls(&mut self) {
        self.calls.fill(None);
        self.made = 0;
        self.streamed = [0; LANES];
    }

    /// What to answer to indications of normal data.
    pub(crate) fn answer(&mut self, answer: Answer) {
        self.answer_on(Lane::Normal, answer);
    }

    /// What to answer to indications on one lane.
    pub(crate) fn answer_on(&mut self, lane: Lane, answer: Answer) {
        if let Some(slot) = self.answers.get_mut(lane as usize) {
            *slot = answer;
        }
    }

    /// Stops the next receive callback between `entered` and `go_on`; both outlive it.
    pub(crate) fn gate(&mut self, entered: &Event, go_on: &Event) {
        self.gate = Some(Gate { entered, go_on });
    }

    /// How many calls of one kind came.
    pub(crate) fn count(&self, call: Call) -> usize {
        self.calls
            .iter()
            .flatten()
            .filter(|made| made.call == call)
            .count()
    }

    /// How many calls of one kind came with one object.
    pub(crate) fn count_of(&self, call: Call, object: *mut c_void) -> usize {
        self.calls
            .iter()
            .flatten()
            .filter(|made| made.call == call && made.object == object)
            .count()
    }

    /// How many calls came.
    pub(crate) const fn made(&self) -> usize {
        self.made
    }

    /// The last call of one kind.
    pub(crate) fn last(&self, call: Call) -> Option<Called> {
        self.calls
            .iter()
            .flatten()
            .rfind(|made| made.call == call)
            .copied()
    }

    /// The last call of one kind for an object: one for another may have come after it.
    pub(crate) fn last_of(&self, call: Call, object: *mut c_void) -> Option<Called> {
        self.calls
            .iter()
            .flatten()
            .rfind(|made| made.call == call && made.object == object)
            .copied()
    }

    /// Position of the first call of one kind among all calls.
    pub(crate) fn position(&self, call: Call) -> Option<usize> {
        self.calls
            .iter()
            .flatten()
            .position(|made| made.call == call)
    }

    /// Bytes taken from indications of normal data, in order.
    pub(crate) fn stream(&self) -> &[u8] {
        self.stream_on(Lane::Normal)
    }

    /// Bytes taken from indications on one lane, in order.
    pub(crate) fn stream_on(&self, lane: Lane) -> &[u8] {
        let length = self
            .streamed
            .get(lane as usize)
            .copied()
            .unwrap_or_default();
        self.streams
            .get(lane as usize)
            .and_then(|stream| stream.get(..length))
            .unwrap_or_default()
    }

    /// Whether a callback came with a context that it was not built with.
    pub(crate) const fn context_was_wrong(&self) -> bool {
        self.wrong_context
    }

    fn record(&mut self, context: *mut c_void, expected: *mut c_void, called: Called) {
        self.wrong_context |= context != expected;
        self.seen
            .callback(called.call as u8, called.status, called.value);
        if let Some(slot) = self.calls.get_mut(self.made) {
            *slot = Some(called);
        }
        self.made = self.made.saturating_add(1);
    }

    fn keep(&mut self, lane: Lane, bytes: &[u8]) {
        let (Some(stream), Some(streamed)) = (
            self.streams.get_mut(lane as usize),
            self.streamed.get_mut(lane as usize),
        ) else {
            return;
        };
        for &byte in bytes {
            self.seen.byte(byte);
            if let Some(slot) = stream.get_mut(*streamed) {
                *slot = byte;
                *streamed = streamed.saturating_add(1);
            }
        }
    }
}
