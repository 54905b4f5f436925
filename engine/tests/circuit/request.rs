//! Requests: who has a part of them, and how far they are.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use rxce_engine::ledger::{InFlight, Kind};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Connect,
    Disconnect,
    /// A send, with the number of its record.
    Send(usize),
    /// A receive that an event handler returned, with the number of its record.
    Receive(usize),
}

impl Purpose {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Connect => Kind::Connect,
            Self::Receive(_) => Kind::Receive,
            Self::Disconnect | Self::Send(_) => Kind::Other,
        }
    }

    /// Whether somebody submits it, rather than returning it from a handler.
    const fn is_submitted(self) -> bool {
        !matches!(self, Self::Receive(_))
    }

    const fn parts(self) -> u32 {
        if self.is_submitted() { 2 } else { 1 }
    }
}

/// Whose a request is when its last part was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Pool,
    /// Kept by the circuit for its tear-down.
    Circuit,
}

/// Where the packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Here,
    Transport,
    Over,
}

/// What changes while a request is in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) place: Place,
    pub(crate) listed: bool,
    /// Listed, and nobody knows yet that the transport was called: its submitter is not back, and it is not over.
    pub(crate) submitting: bool,
    pub(crate) cancelled: bool,
    pub(crate) status: i32,
}

/// One request. It is never freed here, so that a touch after the last part is seen.
pub(crate) struct Request {
    pub(crate) purpose: Purpose,
    pub(crate) home: Home,
    parts: AtomicU32,
    flight: Mutex<Flight>,
}

/// What the engine copies around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Handle(pub(crate) usize);

/// The requests in flight.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) listed: Vec<Handle>,
    /// Those for which the transport is known to have been called.
    called: BTreeSet<Handle>,
}

impl InFlight for List {
    type Request = Handle;

    fn insert(&mut self, request: &Handle) {
        assert!(!self.listed.contains(request), "a request is listed twice");
        self.listed.push(*request);
    }

    fn remove(&mut self, request: &Handle) {
        let at = self.listed.iter().position(|listed| listed == request);
        self.listed
            .swap_remove(at.expect("only what is listed is unlisted"));
    }

    fn note_called(&mut self, request: &Handle) -> bool {
        self.called.insert(*request)
    }
}

impl Request {
    pub(crate) fn new(purpose: Purpose, home: Home) -> Self {
        Self {
            purpose,
            home,
            parts: AtomicU32::new(0),
            flight: Mutex::new(Flight {
                place: Place::Here,
                listed: false,
                submitting: false,
                cancelled: false,
                status: 0,
            }),
        }
    }

    /// Gives an idle request its parts.
    pub(crate) fn arm(&self) {
        assert!(self.is_idle(), "a request is armed while in use");
        let mut flight = self.lock();
        assert_eq!(flight.place, Place::Here, "a request is used twice");
        flight.cancelled = false;
        self.parts.store(self.purpose.parts(), Ordering::Relaxed);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.parts.load(Ordering::Relaxed) == 0
    }

    fn lock(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().expect("no thread has panicked")
    }

    /// What is known of the flight; somebody must have a part for that.
    pub(crate) fn flight(&self) -> MutexGuard<'_, Flight> {
        assert!(
            !self.is_idle(),
            "{:?} is touched after its last part was dropped",
            self.purpose
        );
        self.lock()
    }

    /// The status that it ended with, for the test, which needs no part.
    pub(crate) fn last_status(&self) -> Option<i32> {
        let flight = self.lock();
        (flight.place == Place::Over).then_some(flight.status)
    }

    pub(crate) fn add_part(&self) {
        assert!(!self.is_idle(), "a part is taken of a request that is gone");
        self.parts.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a part back; `true` for the last one.
    pub(crate) fn drop_part(&self) -> bool {
        let before = self.parts.fetch_sub(1, Ordering::Relaxed);
        assert!(
            before > 0,
            "a part of {:?} is dropped that nobody has",
            self.purpose
        );
        before == 1
    }

    /// Undoes [`Self::arm`].
    pub(crate) fn disarm(&self) {
        let flight = self.flight();
        assert!(
            !flight.listed && flight.place == Place::Here,
            "a request is discarded after it was listed"
        );
        assert_eq!(
            self.parts.swap(0, Ordering::Relaxed),
            self.purpose.parts(),
            "a request is discarded of which a part was dropped"
        );
    }

    /// Follows the list: what a hold has listed.
    pub(crate) fn was_listed(&self) {
        let mut flight = self.flight();
        assert!(!flight.listed && flight.place == Place::Here);
        flight.listed = true;
        flight.submitting = self.purpose.is_submitted();
    }

    /// Follows the list: what a hold has unlisted.
    pub(crate) fn was_unlisted(&self) {
        let mut flight = self.flight();
        assert!(
            flight.listed && flight.place == Place::Over,
            "a request is unlisted before it is over"
        );
        flight.listed = false;
        flight.submitting = false;
    }
}
