//! What a circuit's lock decides: its state and flags, and the requests under way (rxce.md §3.6, §4.1).

use client_nt::status::Result;
use rxce_client::{RXCE_VC_ACTIVE, RXCE_VC_DISCONNECTED, RXCE_VC_TEARDOWN};
use wdk_sys::STATUS_INVALID_PARAMETER;

use super::{list::List, record::Record};
use crate::floor::request::{ABORT, RELEASE};

/// Where a circuit is in its life, from its publication on.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum State {
    Active = RXCE_VC_ACTIVE,
    Disconnected = RXCE_VC_DISCONNECTED,
    TearDown = RXCE_VC_TEARDOWN,
}

/// What the peer has done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Nothing,
    /// An orderly end, which a disconnect of ours answers.
    Released,
    Aborted,
}

/// What [`Life::look`] finds for a disconnect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// There is nothing left to send.
    Over,
    /// A disconnect is to be sent.
    Owed,
}

/// What a tear-down finds that has claimed the circuit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nothing is under way, and no disconnect is owed.
    Idle,
    /// Something is under way.
    Busy,
    /// A disconnect is owed.
    Owing,
}

/// How a build ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Built {
    Alive,
    /// The build owns the circuit now, and unwinds.
    Failed,
}

/// The decisions.
pub(super) struct Life {
    state: State,
    building: bool,
    /// Our disconnect was sent: there is one.
    local_disconnect: bool,
    peer: Peer,
    /// Somebody waits for a change.
    pub(super) waiting: bool,
    /// What is under way.
    requests: List<Record>,
}

impl Life {
    /// Of a circuit that is being built.
    pub(super) const fn new() -> Self {
        Self {
            state: State::Active,
            building: true,
            local_disconnect: false,
            peer: Peer::Nothing,
            waiting: false,
            requests: List::new(),
        }
    }

    #[inline]
    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// Whether sends, and the connect, are welcome.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// Lists a request.
    ///
    /// # Safety
    ///
    /// It was armed for this circuit, and is not listed.
    #[inline]
    pub(super) unsafe fn list(&mut self, record: &Record) {
        // SAFETY: Forwarded; the completion routine unlists it while it has a part.
        unsafe { self.requests.insert(record) };
        record.note_listed(true);
    }

    /// A request is over.
    #[inline]
    pub(super) fn unlist(&mut self, record: &Record) {
        // SAFETY: In this list, or in none.
        unsafe { self.requests.remove(record) };
        record.note_listed(false);
    }

    /// Something, once nothing is under way.
    pub(super) const fn idle(&self) -> Option<()> {
        if self.requests.is_empty() {
            Some(())
        } else {
            None
        }
    }

    fn owes_disconnect(&self) -> bool {
        !self.local_disconnect && self.peer != Peer::Aborted
    }

    /// What a disconnect has to do, as it looks now (§5.12 step 4).
    ///
    /// # Errors
    ///
    /// `STATUS_INVALID_PARAMETER` for a circuit that is being torn down.
    pub(super) fn look(&self) -> Result<Look> {
        match self.state {
            State::Active => Ok(Look::Owed),
            State::Disconnected if self.owes_disconnect() => Ok(Look::Owed),
            State::Disconnected => Ok(Look::Over),
            State::TearDown => Err(STATUS_INVALID_PARAMETER),
        }
    }

    /// Decides a disconnect (§5.12 step 7): the flags of the one to be sent, or nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::look`].
    pub(super) fn disconnect(&mut self) -> Result<Option<usize>> {
        if self.look()? == Look::Over {
            return Ok(None);
        }
        self.state = State::Disconnected;
        self.local_disconnect = true;
        // A connect under way is cancelled.
        Ok(Some(if self.building { ABORT } else { RELEASE }))
    }

    /// The peer disconnects.
    pub(super) fn peer_disconnects(&mut self, orderly: bool) {
        if self.state == State::Active {
            self.state = State::Disconnected;
        }
        if !orderly {
            self.peer = Peer::Aborted;
        } else if self.peer == Peer::Nothing {
            self.peer = Peer::Released;
        }
    }

    /// Ends a build whose connect is over; `connected`: with success (§5.10 steps 8 and 9).
    pub(super) const fn end_build(&mut self, connected: bool) -> Built {
        if connected && !self.local_disconnect {
            self.building = false;
            Built::Alive
        } else {
            self.fail_build();
            Built::Failed
        }
    }

    /// The build has failed, and owns the circuit.
    pub(super) const fn fail_build(&mut self) {
        self.state = State::TearDown;
    }

    /// Whether a build gives up before its connect is over.
    pub(super) const fn is_build_cancelled(&self) -> bool {
        self.local_disconnect
    }

    /// Claims the circuit for a tear-down, and says what that has to do (§5.13 steps 3 and 6).
    ///
    /// # Errors
    ///
    /// `STATUS_INVALID_PARAMETER` for a circuit that is being built or torn down.
    pub(super) fn claim(&mut self) -> Result<Claim> {
        if self.building || self.state == State::TearDown {
            return Err(STATUS_INVALID_PARAMETER);
        }
        self.state = State::TearDown;
        Ok(if self.owes_disconnect() {
            Claim::Owing
        } else if self.requests.is_empty() {
            Claim::Idle
        } else {
            Claim::Busy
        })
    }

    /// Whether the tear-down still owes the disconnect; it is sent then.
    pub(super) fn take_owed_disconnect(&mut self) -> bool {
        let owed = self.owes_disconnect();
        self.local_disconnect |= owed;
        owed
    }

    /// Whether the peer has ended the circuit: then it is nobody's failure.
    pub(super) fn peer_has_disconnected(&self) -> bool {
        self.peer != Peer::Nothing
    }
}
