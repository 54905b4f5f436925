//! What a circuit keeps under its lock: its life, the requests in flight, and whether someone waits for progress.

use crate::life::Life;
use crate::receive::Streams;

/// What a listed request is to the conditions that a tear-down waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A receive: a transport may keep it although it completed an orderly release.
    Receive,
    /// The connect that `RxCeBuildVC` waits for.
    Connect,
    /// A send, query or disconnect.
    Other,
}

/// Whether somebody returns from `IoCallDriver` for a listed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// Submitted with `IoCallDriver`; counted until that returned, or, if it is issued once, until its end.
    Submitted,
    /// Handed back by an event handler: there is no submitter to count.
    Returned,
}

/// The list of requests in flight, as the owner of the requests keeps it.
pub trait InFlight {
    /// A request that can be listed.
    type Request;

    /// Links a request.
    fn insert(&mut self, request: &Self::Request);

    /// Unlinks a listed request.
    fn remove(&mut self, request: &Self::Request);

    /// Notes that the transport has been called for a request that is issued once; `false` if that was noted before.
    fn note_called(&mut self, request: &Self::Request) -> bool;
}

/// State, flags, counts and list of one circuit.
#[derive(Debug)]
pub struct Ledger<L> {
    /// State and flags.
    pub life: Life,
    /// Guards of the two byte streams.
    pub streams: Streams,
    /// The requests in flight.
    pub list: L,
    /// One per stream at most.
    receives: u16,
    others: u32,
    connecting: bool,
    submitting: u32,
    waiting: bool,
}

impl<L: InFlight> Ledger<L> {
    /// The ledger of a circuit at its publication.
    pub const fn new(life: Life, list: L) -> Self {
        Self {
            life,
            streams: Streams::new(),
            list,
            receives: 0,
            others: 0,
            connecting: false,
            submitting: 0,
            waiting: false,
        }
    }

    /// Lists a request before it is handed over.
    pub fn insert(&mut self, request: &L::Request, kind: Kind, handover: Handover) {
        self.list.insert(request);
        // Each takes memory: there are never so many that a count wraps.
        match kind {
            Kind::Receive => self.receives = self.receives.wrapping_add(1),
            Kind::Connect | Kind::Other => self.others = self.others.wrapping_add(1),
        }
        self.connecting |= kind == Kind::Connect;
        match (handover, kind) {
            (Handover::Submitted, _) => self.submitting = self.submitting.wrapping_add(1),
            (Handover::Returned, Kind::Receive) => {}
            (Handover::Returned, Kind::Connect | Kind::Other) => {
                self.list.note_called(request);
            }
        }
    }

    /// Unlists a request that was completed. If it is issued once, the transport has been called for it.
    pub fn remove(&mut self, request: &L::Request, kind: Kind) {
        self.list.remove(request);
        match kind {
            Kind::Receive => self.receives = self.receives.saturating_sub(1),
            Kind::Connect | Kind::Other => {
                self.others = self.others.saturating_sub(1);
                self.called(request);
            }
        }
        self.connecting &= kind != Kind::Connect;
    }

    /// Notes that the transport has been called for a submitted request that is issued once: whoever finds out first, its
    /// completion or its submitter.
    pub fn called(&mut self, request: &L::Request) {
        if self.list.note_called(request) {
            self.count_out();
        }
    }

    /// Notes that `IoCallDriver` returned for one submitted receive, which may be listed again already.
    pub const fn receive_returned(&mut self) {
        self.count_out();
    }

    const fn count_out(&mut self) {
        self.submitting = self.submitting.saturating_sub(1);
    }

    /// The connect is listed.
    pub const fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// No request is listed.
    pub const fn is_empty(&self) -> bool {
        self.receives == 0 && self.others == 0
    }

    /// Nothing but receives is listed.
    pub fn only_receives(&self) -> bool {
        self.others == 0 && (self.receives == 0 || !mutant!(ReceivesDelayAbort))
    }

    /// No listed request is still to be handed over by its submitter.
    pub const fn nobody_submits(&self) -> bool {
        self.submitting == 0
    }

    pub(crate) const fn set_waiting(&mut self, waiting: bool) {
        self.waiting = waiting;
    }

    /// Whether the circuit's waiter wants to hear of a change made in this hold.
    pub const fn is_waited_for(&self) -> bool {
        self.waiting
    }
}
