//! The life-cycle routines of a virtual circuit, over the operations that its owner provides.
//!
//! The driver implements [`Circuit`] with spin locks, events, rundown protection and IRPs; tests implement it with
//! threads of a model checker. The order of steps below is the specification's (5.10, 5.12, 5.13); each `hold` is one
//! decision.

use crate::Error;
use crate::ledger::{Handover, InFlight, Kind, Ledger};
use crate::life::{Built, CancelBuild, Local, Mode, Notice, State};

/// One second in units of 100 ns.
const SECOND_100NS: u64 = 10_000_000;

/// How long a tear-down waits for an orderly end before it aborts.
pub const ORDERLY_WAIT_100NS: u64 = 10 * SECOND_100NS;

/// How long a tear-down waits for an abort before it cancels and closes.
pub const ABORT_WAIT_100NS: u64 = 30 * SECOND_100NS;

/// The time-out that a `TDI_DISCONNECT_RELEASE` request carries: shorter than [`ORDERLY_WAIT_100NS`], so that a
/// transport which honours it and the tear-down's own deadline do not race.
pub const RELEASE_TIMEOUT_100NS: u64 = 8 * SECOND_100NS;

/// How a wait for progress ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Something changed.
    Signalled,
    /// The time was over.
    TimedOut,
}

/// What a request asks of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// `TDI_CONNECT` to the connection's remote address.
    Connect,
    /// `TDI_DISCONNECT`.
    Disconnect(Mode),
}

/// Which of the circuit's own requests a tear-down sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// The first disconnect.
    First,
    /// The escalating abort.
    Escalation,
}

/// A circuit as the life-cycle routines see it.
pub trait Circuit {
    /// A handle to a request; copying it does not change the request's count.
    type Request: Copy;
    /// The list of requests in flight.
    type List: InFlight<Request = Self::Request>;
    /// Proof that the caller may wait.
    type Level;

    /// Runs `decide` under the circuit's lock.
    fn hold<R>(&self, decide: impl FnOnce(&mut Ledger<Self::List>) -> R) -> R;

    /// Whether the client's structure shows this state, as the engine wrote it; asked inside a hold.
    fn shows(&self, state: State) -> bool;

    /// Wakes the waiter; called inside a hold.
    fn signal(&self);

    /// Waits until [`Self::signal`] or for at most `limit_100ns`, or without limit.
    fn wait(&self, level: &Self::Level, limit_100ns: Option<u64>) -> Waited;

    /// The time since start, in units of 100 ns.
    fn now_100ns(&self) -> u64;

    /// A new disconnect request, unlisted, which takes the reference to the circuit of the initiate's caller. `None` without
    /// memory; the reference stays the caller's then.
    fn new_disconnect(&self) -> Option<Self::Request>;

    /// Undoes [`Self::prepared`] or the making of a connect request: never listed.
    fn discard(&self, request: Self::Request);

    /// One of the pre-allocated requests with a reference to the circuit of its own; `None` if the device stack has
    /// grown past it, and the close has to do its work.
    fn prepared(&self, which: Prepared) -> Option<Self::Request>;

    /// Sends a listed request down. The request may be over before this returns.
    fn call_driver(&self, request: Self::Request, submission: Submission);

    /// Whether the ledger knows that the transport has been called for a request. Without a hold, a "no" may be late.
    fn is_known_called(&self, request: Self::Request) -> bool;

    /// Gives back the submitter's part of a request.
    fn drop_part(&self, request: Self::Request);

    /// The final status of a request that is not listed any more.
    fn status(&self, request: Self::Request) -> i32;

    /// Cancels every listed request, each once.
    fn cancel_all(&self);

    /// Closes the endpoint's handle, once.
    fn close_endpoint(&self, level: &Self::Level);
}

/// Runs one decision under the lock and wakes the waiter, if there is one.
pub fn change<C: Circuit, R>(circuit: &C, decide: impl FnOnce(&mut Ledger<C::List>) -> R) -> R {
    circuit.hold(|ledger| {
        let result = decide(ledger);
        if ledger.is_waited_for() && !mutant!(LostWakeUp) {
            circuit.signal();
        }
        result
    })
}

/// Sends a request that was listed as [`Handover::Submitted`] and notes the return.
fn send_down<C: Circuit>(circuit: &C, request: C::Request, submission: Submission) {
    circuit.call_driver(request, submission);
    note_return(circuit, request);
}

/// Notes that `IoCallDriver` returned for a request that is issued once. One that is over was handed over: its end has said so.
pub fn note_return<C: Circuit>(circuit: &C, request: C::Request) {
    if !circuit.is_known_called(request) {
        change(circuit, |ledger| ledger.called(&request));
    }
}

/// Waits until `condition` holds, or until the deadline; says which.
fn wait_until<C: Circuit>(
    circuit: &C,
    level: &C::Level,
    limit_100ns: Option<u64>,
    mut condition: impl FnMut(&mut Ledger<C::List>) -> bool,
) -> bool {
    let mut look = |again: bool| {
        circuit.hold(|ledger| {
            let holds = condition(ledger);
            ledger.set_waiting(!holds && again);
            holds
        })
    };
    if look(true) {
        return true;
    }
    let start = circuit.now_100ns();
    loop {
        let left = limit_100ns
            .map(|limit| limit.saturating_sub(circuit.now_100ns().saturating_sub(start)));
        if left == Some(0) || circuit.wait(level, left) == Waited::TimedOut {
            return look(false);
        }
        if look(true) {
            return true;
        }
    }
}

/// The request of an initiate, which has the reference of the initiate's caller: what is left of the request is his to drop, and
/// the circuit may be gone after that.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made<R> {
    /// None was made; the reference is the caller's.
    Nothing,
    /// It was sent, and the submitter's part is the caller's.
    Sent(R),
    /// It was never listed.
    Unused(R),
}

/// `RxCeInitiateVCDisconnect`: all or nothing, and asynchronous. The result is [`Error::InvalidParameter`] for a circuit that is
/// being torn down or damaged, and [`Error::InsufficientResources`] if a request was needed and could not be allocated; nothing
/// has changed then.
pub fn initiate_disconnect<C: Circuit>(circuit: &C) -> (Result<(), Error>, Made<C::Request>) {
    const REFUSED: Result<(), Error> = Err(Error::InvalidParameter);
    let look = || circuit.hold(|ledger| ledger.life.local_disconnect());
    let first = circuit.hold(|ledger| match ledger.life.local_disconnect() {
        _ if !circuit.shows(ledger.life.state()) => Local::Refuse,
        decision => decision,
    });
    match first {
        Local::Submit(_) => {}
        Local::Nothing => return (Ok(()), Made::Nothing),
        Local::Refuse => return (REFUSED, Made::Nothing),
    }
    let early = mutant!(StateBeforeMemory)
        .then(|| change(circuit, |ledger| ledger.life.begin_local_disconnect()));
    let unlocked = mutant!(UnlockedDecision).then(look);
    let Some(request) = circuit.new_disconnect() else {
        // Another thread may have settled the matter meanwhile: then memory was not needed.
        let result = match look() {
            Local::Submit(_) => Err(Error::InsufficientResources),
            Local::Nothing => Ok(()),
            Local::Refuse => REFUSED,
        };
        return (result, Made::Nothing);
    };
    let decision = change(circuit, |ledger| {
        let now = ledger.life.begin_local_disconnect();
        let decision = early.or(unlocked).unwrap_or(now);
        if let Local::Submit(_) = decision {
            ledger.insert(&request, Kind::Other, Handover::Submitted);
        }
        decision
    });
    match decision {
        Local::Submit(mode) => {
            send_down(circuit, request, Submission::Disconnect(mode));
            (Ok(()), Made::Sent(request))
        }
        Local::Nothing => (Ok(()), Made::Unused(request)),
        Local::Refuse => (REFUSED, Made::Unused(request)),
    }
}

/// Connects a published circuit with a connect request whose parts belong to the caller as well as to the transport.
///
/// # Errors
///
/// The connect's failing status, [`Error::Aborted`] if a disconnect came between, or [`Error::Cancelled`] if the build
/// was cancelled, whatever else happened. The circuit is then in tear-down, drained, and its endpoint is closed or about to be.
pub fn connect<C: Circuit>(
    circuit: &C,
    level: &C::Level,
    request: C::Request,
) -> Result<Option<Notice>, Error> {
    let admitted = change(circuit, |ledger| {
        let admitted = ledger.life.begin_connect();
        if admitted {
            ledger.insert(&request, Kind::Connect, Handover::Submitted);
        }
        admitted
    });
    if !admitted {
        circuit.discard(request);
        unwind(circuit, level);
        return Err(failure(circuit, 0));
    }
    send_down(circuit, request, Submission::Connect);
    let mut outcome = Built::Unwind;
    wait_until(circuit, level, None, |ledger| {
        let done = !ledger.is_connecting();
        if !done && !ledger.life.is_build_over() {
            return false;
        }
        outcome = ledger.life.end_build(done && circuit.status(request) >= 0);
        true
    });
    match outcome {
        Built::Alive(notice) => {
            circuit.drop_part(request);
            Ok(notice)
        }
        Built::Unwind => {
            unwind(circuit, level);
            let status = circuit.status(request);
            circuit.drop_part(request);
            Err(failure(circuit, status))
        }
    }
}

/// Why a build has failed whose connect ended with `status`.
fn failure<C: Circuit>(circuit: &C, status: i32) -> Error {
    match circuit.hold(|ledger| ledger.life.is_cancelled()) {
        true => Error::Cancelled,
        false if status < 0 => Error::Transport(status),
        false => Error::Aborted,
    }
}

/// Cancels the build of a circuit: needs no memory, and does not wait for it. The build's own thread ends the connect.
pub fn cancel_build<C: Circuit>(circuit: &C) -> CancelBuild {
    change(circuit, |ledger| ledger.life.cancel_build())
}

/// Connects a published circuit whose connect nobody waits for; `false` if it was disconnected before that.
pub fn connect_in_background<C: Circuit>(circuit: &C, request: C::Request) -> bool {
    let admitted = change(circuit, |ledger| {
        let admitted = ledger.life.begin_connect();
        if admitted {
            ledger.insert(&request, Kind::Connect, Handover::Submitted);
        }
        admitted
    });
    if admitted {
        send_down(circuit, request, Submission::Connect);
        circuit.drop_part(request);
    } else {
        circuit.discard(request);
    }
    admitted
}

/// Drains a circuit whose build failed. One that was cancelled does not wait for its transport to obey an abort first.
fn unwind<C: Circuit>(circuit: &C, level: &C::Level) {
    if circuit.hold(|ledger| ledger.life.is_cancelled() && !ledger.is_empty()) {
        // A request that its submitter has not handed over yet cannot be cancelled.
        wait_until(circuit, level, None, |ledger| ledger.nobody_submits());
        if !mutant!(CancelledKeepsConnect) {
            circuit.cancel_all();
        }
    }
    if let Some(abort) = drain(circuit, level) {
        circuit.drop_part(abort);
    }
}

/// `RxCeTearDownVC` from the claim to the empty list. The caller has a reference to the circuit of its own, and does
/// what comes after: run-down, close, unlinking.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if the circuit cannot be claimed; nothing has changed then. A failing status of the
/// last disconnect that was sent is returned inside `Ok`: the tear-down goes on regardless.
pub fn tear_down<C: Circuit>(
    circuit: &C,
    level: &C::Level,
    wait_for_clean_up: impl FnOnce(),
) -> Result<Result<(), Error>, Error> {
    // Nothing is listed any more from here on but this routine's own disconnects, so what is empty stays so.
    let (owes_disconnect, mut is_empty) = change(circuit, |ledger| {
        if !circuit.shows(ledger.life.state()) {
            return Err(Error::InvalidParameter);
        }
        ledger.life.begin_tear_down()?;
        Ok((ledger.life.owes_disconnect(), ledger.is_empty()))
    })?;
    wait_for_clean_up();
    let first = owes_disconnect
        .then(|| {
            list_prepared(circuit, Prepared::First, |ledger| {
                ledger.life.tear_down_disconnect()
            })
        })
        .flatten();
    if let Some((request, mode)) = first {
        send_down(circuit, request, Submission::Disconnect(mode));
    }
    if first.is_some() || !is_empty {
        let factor = if mutant!(OrderlyWaitTooLong) { 10 } else { 1 };
        let limit = ORDERLY_WAIT_100NS.saturating_mul(factor);
        wait_until(circuit, level, Some(limit), |ledger| {
            is_empty = ledger.is_empty();
            ledger.life.abort_submitted() || ledger.only_receives() || mutant!(NoOrderlyWait)
        });
    }
    let escalation = if is_empty {
        None
    } else {
        drain(circuit, level)
    };
    let last = escalation.or(first.map(|(request, _)| request));
    let remote = || circuit.hold(|ledger| ledger.life.remote_disconnect_seen());
    let result = match last.map(|request| circuit.status(request)) {
        Some(_) if mutant!(StatusSwallowed) => Ok(()),
        Some(status) if status < 0 && (!remote() || mutant!(StatusOfGonePeer)) => {
            Err(Error::Transport(status))
        }
        _ => Ok(()),
    };
    for request in [first.map(|(request, _)| request), escalation]
        .into_iter()
        .flatten()
    {
        circuit.drop_part(request);
    }
    Ok(result)
}

/// Stages 2 and 3: ABORT, then cancel and close, until nothing is listed. Returns the abort, whose submitter's part
/// is still the caller's.
fn drain<C: Circuit>(circuit: &C, level: &C::Level) -> Option<C::Request> {
    let escalation = list_prepared(circuit, Prepared::Escalation, |ledger| {
        if mutant!(NoDrain) {
            return None;
        }
        if mutant!(NoAbort) {
            return None;
        }
        (!ledger.is_empty() && ledger.life.escalate()).then_some(Mode::Abort)
    });
    if let Some((request, mode)) = escalation {
        send_down(circuit, request, Submission::Disconnect(mode));
    }
    let abort = escalation.map(|(request, _)| request);
    let drained = mutant!(NoDrain)
        || wait_until(circuit, level, Some(ABORT_WAIT_100NS), |ledger| {
            ledger.is_empty()
        });
    if drained {
        return abort;
    }
    // A request that its submitter has not handed over yet cannot be cancelled.
    wait_until(circuit, level, None, |ledger| ledger.nobody_submits());
    if !mutant!(NoCancel) {
        circuit.cancel_all();
    }
    if !mutant!(NoEarlyClose) {
        circuit.close_endpoint(level);
    }
    wait_until(circuit, level, None, |ledger| ledger.is_empty());
    abort
}

/// Decides and lists one of the pre-allocated requests in one hold.
fn list_prepared<C: Circuit>(
    circuit: &C,
    which: Prepared,
    decide: impl FnOnce(&mut Ledger<C::List>) -> Option<Mode>,
) -> Option<(C::Request, Mode)> {
    let prepared = circuit.prepared(which);
    let mode = change(circuit, |ledger| {
        let mode = decide(ledger)?;
        let request = prepared.as_ref()?;
        ledger.insert(request, Kind::Other, Handover::Submitted);
        Some(mode)
    });
    match (prepared, mode) {
        (Some(request), Some(mode)) => Some((request, mode)),
        (Some(request), None) => {
            circuit.discard(request);
            None
        }
        (None, _) => None,
    }
}
