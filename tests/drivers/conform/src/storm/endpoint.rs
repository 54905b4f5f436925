//! The transport's files: what each is, and what an endpoint has been through.

use alloc::{sync::Arc, vec::Vec};
use core::{ffi::c_void, ptr};

use wdk_sys::PIRP;

use super::{chance::Chance, slot::LANES};
use crate::{
    nt::{irp, watch::Watch},
    transport::{FileKind, Kind},
};

/// Event types that exist (tdi.md §5).
pub(super) const EVENTS: usize = 11;

/// One file object.
pub(super) struct Endpoint {
    pub(super) kind: FileKind,
    /// ConnectionContext of an endpoint.
    pub(super) token: usize,
    pub(super) orderly: bool,
    pub(super) state: Watch<State>,
}

// SAFETY: What is not plain data is reached under the lock of `state`.
unsafe impl Send for Endpoint {}
// SAFETY: As above.
unsafe impl Sync for Endpoint {}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Connecting,
    Up,
    /// Aborted, reset, or closed.
    Down,
}

/// A handler and its context, as registered.
#[derive(Clone, Copy)]
pub(super) struct Handler {
    pub(super) routine: *mut c_void,
    pub(super) context: *mut c_void,
}

/// What else may end a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) abort: bool,
    pub(super) cancel: bool,
}

/// A request that the transport holds.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) irp: PIRP,
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) ends: Ends,
    pub(super) length: u32,
    pub(super) lane: usize,
    pub(super) timeout: *const i64,
    pub(super) timeout_value: i64,
}

// SAFETY: A request may be completed by any thread; whoever took it out of the table is the one.
unsafe impl Send for Held {}

/// One stream as the transport sees it.
#[derive(Clone, Copy, Default)]
pub(super) struct Lane {
    /// Receives from their arrival until their completion returned.
    pub(super) receives: u32,
    /// The client refused: no indication until it posts a receive.
    pub(super) refused: bool,
    /// Bytes that the client has taken.
    pub(super) offset: u32,
}

/// What changes.
pub(super) struct State {
    pub(super) handle_open: bool,
    pub(super) closed: bool,
    /// Of an address.
    pub(super) handlers: [Handler; EVENTS],
    /// Of an endpoint: the address.
    pub(super) address: Option<Arc<Endpoint>>,
    pub(super) phase: Phase,
    pub(super) held: Vec<Held>,
    pub(super) lanes: [Lane; LANES],
    /// The thread that indicates or completes a receive; 0 for none.
    pub(super) busy: usize,
    /// The peer sends no more.
    pub(super) peer_done: bool,
    pub(super) released: bool,
    pub(super) connects: u32,
    pub(super) releases: u32,
    pub(super) aborts: u32,
    pub(super) events_left: u32,
    pub(super) chance: Chance,
    next_id: u64,
}

// SAFETY: The raw pointers are handlers of the client's and requests that the transport owns; reached under the lock.
unsafe impl Send for State {}

impl Endpoint {
    pub(super) fn new(kind: FileKind, token: usize, orderly: bool, mut chance: Chance) -> Self {
        Self {
            kind,
            token,
            orderly,
            state: Watch::new(State {
                handle_open: true,
                closed: false,
                handlers: [Handler {
                    routine: ptr::null_mut(),
                    context: ptr::null_mut(),
                }; EVENTS],
                address: None,
                phase: Phase::Idle,
                held: Vec::new(),
                lanes: [Lane::default(); LANES],
                busy: 0,
                peer_done: false,
                released: false,
                connects: 0,
                releases: 0,
                aborts: 0,
                events_left: chance.below(14),
                chance,
                next_id: 1,
            }),
        }
    }
}

impl State {
    /// A number for the next request.
    pub(super) const fn new_id(&mut self) -> u64 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    /// Takes a request out that somebody wants to complete. One whose cancel routine has been called already is left to
    /// that routine (IoSetCancelRoutine).
    pub(super) fn claim(&mut self, mut which: impl FnMut(&Held) -> bool) -> Option<Held> {
        let index = self.held.iter().position(|held| {
            which(held)
                // SAFETY: The request is in the table, so the transport owns it.
                && (!held.ends.cancel || unsafe { irp::set_cancel_routine(held.irp, None) })
        })?;
        Some(self.held.swap_remove(index))
    }

    /// As [`State::claim`], for all of them.
    pub(super) fn claim_all(&mut self, mut which: impl FnMut(&Held) -> bool) -> Vec<Held> {
        let mut claimed = Vec::new();
        while let Some(held) = self.claim(&mut which) {
            claimed.push(held);
        }
        claimed
    }

    /// What the cancel routine takes out.
    pub(super) fn claim_cancelled(&mut self, irp: PIRP) -> Option<Held> {
        let index = self.held.iter().position(|held| held.irp == irp)?;
        Some(self.held.swap_remove(index))
    }
}
