//! The client's side of the callbacks: logs each call, and answers receive indications as the vector prescribes.

use core::{ffi::c_void, ptr, slice};

use rxce_client::{RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION_EVENT_HANDLER, RXCE_VC};
use wdk_sys::{NTSTATUS, PMDL};

use crate::nt::{event::Event, status, time, watch::Watch};

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
    /// Take what is indicated, and this many further bytes into the chain. Once: then [`Answer::Take`].
    More(PMDL, u32),
    /// Take this many, and say so, whatever was indicated.
    Claim(u32),
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
        }
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
            if let Some(slot) = stream.get_mut(*streamed) {
                *slot = byte;
                *streamed = streamed.saturating_add(1);
            }
        }
    }
}

/// A connection's table with every callback.
pub(crate) fn connection_handlers() -> RXCE_CONNECTION_EVENT_HANDLER {
    RXCE_CONNECTION_EVENT_HANDLER {
        RxCeDisconnectEventHandler: Some(on_disconnect),
        RxCeErrorEventHandler: Some(on_connection_error),
        RxCeReceiveEventHandler: Some(on_receive),
        RxCeReceiveDatagramEventHandler: None,
        RxCeReceiveExpeditedEventHandler: Some(on_receive_expedited),
        RxCeSendPossibleEventHandler: Some(on_send_possible),
        RxCeDataReadyEventHandler: Some(on_data_ready),
        RxCeSendCompleteEventHandler: Some(on_send_complete),
        RxCeSendSubmittedEventHandler: Some(on_send_submitted),
    }
}

/// An address's table with every callback.
pub(crate) fn address_handlers() -> RXCE_ADDRESS_EVENT_HANDLER {
    RXCE_ADDRESS_EVENT_HANDLER {
        RxCeErrorEventHandler: Some(on_address_error),
        RxCeReceiveDatagramEventHandler: Some(on_datagram),
        RxCeDataReadyEventHandler: Some(on_datagram_ready),
        RxCeSendPossibleEventHandler: Some(on_datagram_possible),
        RxCeSendCompleteEventHandler: Some(on_datagram_sent),
    }
}

fn note(
    context: *mut c_void,
    call: Call,
    vc: *mut RXCE_VC,
    object: *mut c_void,
    status: NTSTATUS,
    value: u32,
) {
    let expected = if call.is_of_address() {
        ADDRESS_CONTEXT
    } else {
        CONNECTION_CONTEXT
    };
    CLIENT.update(|client| {
        client.record(
            context,
            expected,
            Called {
                call,
                vc,
                object,
                status,
                value,
            },
        )
    });
}

unsafe extern "C" fn on_disconnect(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _data_length: i32,
    _data: *mut c_void,
    _information_length: i32,
    _information: *mut c_void,
    flags: u32,
) -> NTSTATUS {
    note(
        context,
        Call::Disconnect,
        vc,
        ptr::null_mut(),
        status::SUCCESS,
        flags,
    );
    status::SUCCESS
}

unsafe extern "C" fn on_connection_error(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    code: NTSTATUS,
) -> NTSTATUS {
    note(context, Call::ConnectionError, vc, ptr::null_mut(), code, 0);
    status::SUCCESS
}

unsafe extern "C" fn on_address_error(context: *mut c_void, code: NTSTATUS) -> NTSTATUS {
    note(
        context,
        Call::AddressError,
        ptr::null_mut(),
        ptr::null_mut(),
        code,
        0,
    );
    status::SUCCESS
}

unsafe extern "C" fn on_receive(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _flags: u32,
    indicated: u32,
    _available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    note(context, Call::Receive, vc, ptr::null_mut(), 0, indicated);
    // SAFETY: The engine's parameters.
    unsafe { received(Lane::Normal, indicated, taken, data, chain, wanted) }
}

unsafe extern "C" fn on_receive_expedited(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _flags: u32,
    indicated: u32,
    _available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    let call = Call::ReceiveExpedited;
    note(context, call, vc, ptr::null_mut(), 0, indicated);
    // SAFETY: The engine's parameters.
    unsafe { received(Lane::Expedited, indicated, taken, data, chain, wanted) }
}

unsafe extern "C" fn on_datagram(
    context: *mut c_void,
    source_length: i32,
    source: *mut c_void,
    _options_length: i32,
    _options: *mut c_void,
    _flags: u32,
    indicated: u32,
    _available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    // The length of the sender's address goes where a status would.
    let call = Call::Datagram;
    note(
        context,
        call,
        ptr::null_mut(),
        source,
        source_length,
        indicated,
    );
    // SAFETY: The engine's parameters.
    unsafe { received(Lane::Datagram, indicated, taken, data, chain, wanted) }
}

/// Answers an indication as the vector prescribes.
///
/// # Safety
///
/// `data` has `indicated` bytes, the others are the engine's output parameters.
unsafe fn received(
    lane: Lane,
    indicated: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    let (answer, gate) = CLIENT.update(|client| {
        let slot = client.answers.get_mut(lane as usize);
        let answer = slot.as_ref().map_or(Answer::Take, |answer| **answer);
        if let (Answer::More(..), Some(slot)) = (answer, slot) {
            *slot = Answer::Take;
        }
        (answer, client.gate.take())
    });
    if let Some(gate) = gate {
        // SAFETY: The vector keeps both events until this callback has returned.
        unsafe { &*gate.entered }.set();
        // SAFETY: As above.
        unsafe { &*gate.go_on }.wait(time::PATIENCE);
    }
    let (take, say) = match answer {
        Answer::Take | Answer::More(..) => (indicated, indicated),
        Answer::TakeSome(count) => (count.min(indicated), count.min(indicated)),
        Answer::Claim(count) => (indicated, count),
        Answer::Refuse => (0, 0),
    };
    // SAFETY: At least `indicated` bytes are valid during the call (rxce.h).
    let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), take as usize) };
    CLIENT.update(|client| client.keep(lane, bytes));
    // SAFETY: The engine's output parameter.
    unsafe { *taken = say };
    match answer {
        Answer::Refuse => status::DATA_NOT_ACCEPTED,
        Answer::More(mdl, size) => {
            // SAFETY: The engine's output parameter.
            unsafe { *chain = mdl };
            // SAFETY: As above.
            unsafe { *wanted = size };
            status::MORE_PROCESSING_REQUIRED
        }
        Answer::Take | Answer::TakeSome(_) | Answer::Claim(_) => status::SUCCESS,
    }
}

unsafe extern "C" fn on_send_possible(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    bytes: u32,
) -> NTSTATUS {
    note(
        context,
        Call::SendPossible,
        vc,
        ptr::null_mut(),
        status::SUCCESS,
        bytes,
    );
    status::SUCCESS
}

unsafe extern "C" fn on_data_ready(
    context: *mut c_void,
    chain: PMDL,
    copied: u32,
    code: NTSTATUS,
) -> NTSTATUS {
    note(
        context,
        Call::DataReady,
        ptr::null_mut(),
        chain.cast(),
        code,
        copied,
    );
    status::SUCCESS
}

unsafe extern "C" fn on_send_complete(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    completion: *mut c_void,
    code: NTSTATUS,
) -> NTSTATUS {
    note(context, Call::SendComplete, vc, completion, code, 0);
    status::SUCCESS
}

unsafe extern "C" fn on_send_submitted(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    completion: *mut c_void,
    code: NTSTATUS,
) -> NTSTATUS {
    note(context, Call::SendSubmitted, vc, completion, code, 0);
    status::SUCCESS
}

unsafe extern "C" fn on_datagram_ready(
    context: *mut c_void,
    chain: PMDL,
    copied: u32,
    code: NTSTATUS,
) -> NTSTATUS {
    let call = Call::DatagramReady;
    note(context, call, ptr::null_mut(), chain.cast(), code, copied);
    status::SUCCESS
}

unsafe extern "C" fn on_datagram_possible(
    context: *mut c_void,
    _vc: *mut RXCE_VC,
    bytes: u32,
) -> NTSTATUS {
    let call = Call::DatagramPossible;
    note(context, call, ptr::null_mut(), ptr::null_mut(), 0, bytes);
    status::SUCCESS
}

unsafe extern "C" fn on_datagram_sent(
    context: *mut c_void,
    completion: *mut c_void,
    code: NTSTATUS,
) -> NTSTATUS {
    let call = Call::DatagramSent;
    note(context, call, ptr::null_mut(), completion, code, 0);
    status::SUCCESS
}
