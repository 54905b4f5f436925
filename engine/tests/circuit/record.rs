//! What the outside has seen of a circuit.

use std::collections::HashMap;

use rxce_engine::{
    Error,
    circuit::Submission,
    life::{CancelBuild, Closing, Life, Mode, State},
};

use shuttle::thread::{self, ThreadId};

use crate::{
    moments::Moments,
    request::{Handle, Home},
};

/// Why a circuit ceased to be active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Local,
    Remote,
    TearDown,
}

/// An event of the network, as it was handed to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    Disconnect(u32),
    AddressError,
}

impl Remote {
    /// Whether it leaves nothing to acknowledge.
    pub(crate) fn is_abort(self, closing: Closing) -> bool {
        self != Self::Disconnect(4) || closing == Closing::AbortOnly
    }
}

/// One send.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Send {
    pub(crate) gate: Option<usize>,
    pub(crate) completed: usize,
    pub(crate) submitted: usize,
    /// The routine returned an error.
    pub(crate) refused: bool,
}

/// Everything that a test asks for afterwards.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) cause: Option<Cause>,
    pub(crate) initiates: Vec<Result<(), Error>>,
    pub(crate) tear_downs: Vec<Result<Result<(), Error>, Error>>,
    pub(crate) build: Option<Result<(), Error>>,
    pub(crate) cancels: Vec<CancelBuild>,
    /// Events that found the circuit, in the order of their holds.
    pub(crate) remotes: Vec<Remote>,
    pub(crate) notices: usize,
    pub(crate) sends: Vec<Send>,
    /// For each accepted receive, how often the client was told.
    pub(crate) receives: Vec<usize>,
    pub(crate) refused_indications: usize,
    /// It competes with others, or did.
    pub(crate) competes: bool,
    /// Fetches of what was refused before the client knew of the circuit.
    pub(crate) caught_up: usize,
    /// The client heard of what had happened before, and no tear-down came between.
    pub(crate) debt_is_settled: bool,
    pub(crate) disconnect_allocations: usize,
    pub(crate) cancellations: usize,
    /// Disconnects of `RxCeInitiateVCDisconnect`.
    pub(crate) initiated: Vec<Mode>,
    /// Disconnects of a tear-down or a failed build.
    pub(crate) drained_with: Vec<(Handle, Mode)>,
    /// The device stack has grown past the requests that were allocated ahead.
    pub(crate) grown: bool,
    /// The first disconnect, of whomever.
    pub(crate) disconnect_decided: bool,
    /// The transport gave a connect up that nobody had aborted.
    pub(crate) connect_timed_out: bool,
    /// The transport kept a connect until the client ended the build.
    pub(crate) client_lost_patience: bool,
    /// When each act began and ended.
    pub(crate) moments: Moments,
    /// Every callback calls `RxCeInitiateVCDisconnect`.
    pub(crate) callbacks_disconnect: bool,
    /// One of them has ended the circuit.
    pub(crate) disconnected_by_callback: bool,
    /// A disconnect's completion routine was not back when the circuit was taken apart.
    pub(crate) late_completion: bool,
    /// A wait timed out when nothing was listed any more.
    pub(crate) drained_in_time: bool,
    /// Whether a disconnect was still due when a thread had no memory for it.
    due_without_memory: HashMap<ThreadId, bool>,
    remote_at_last_hold: HashMap<ThreadId, bool>,
}

impl Record {
    /// Notes what a hold has changed.
    pub(crate) fn held(&mut self, before: Life, after: Life, local: bool, remote: bool) {
        if before.state() == State::Active && after.state() != State::Active {
            self.cause = Some(match (local, remote) {
                (true, _) => Cause::Local,
                (false, true) => Cause::Remote,
                (false, false) => Cause::TearDown,
            });
        }
        self.disconnect_decided |= local;
        self.moments.held();
        let me = thread::current().id();
        let seen = after.remote_disconnect_seen();
        self.remote_at_last_hold.insert(me, seen);
    }

    /// Notes that a request of the life-cycle goes to the transport.
    pub(crate) fn sent_down(&mut self, request: Handle, home: Home, submission: Submission) {
        if let Submission::Disconnect(mode) = submission {
            match home {
                Home::Pool => self.initiated.push(mode),
                Home::Circuit => self.drained_with.push((request, mode)),
            }
        }
    }

    /// Notes that there is no memory for a disconnect.
    pub(crate) fn without_memory(&mut self, due: bool) {
        self.due_without_memory.insert(thread::current().id(), due);
    }

    /// Whether this thread needed the memory that it did not get.
    pub(crate) fn needed_memory(&self) -> bool {
        let me = thread::current().id();
        self.due_without_memory.get(&me).copied().unwrap_or(false)
    }

    /// Whether an event said so far that there is nothing to acknowledge.
    pub(crate) fn is_aborted(&self, closing: Closing) -> bool {
        self.remotes.iter().any(|event| event.is_abort(closing))
    }

    /// Whether this thread found in its last hold that the peer or the address had ended the circuit.
    pub(crate) fn found_remote(&self) -> bool {
        let me = thread::current().id();
        self.remote_at_last_hold.get(&me).copied().unwrap_or(false)
    }
}
