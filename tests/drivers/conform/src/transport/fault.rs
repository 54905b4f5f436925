//! One request of many that fails, whatever its script says: at once, or later.

use wdk_sys::NTSTATUS;

use super::{
    complete,
    kinds::Kind,
    query,
    state::{Pending, State, TRANSPORT},
};
use crate::nt::status;

/// Which request fails, and how.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    /// Its number among the requests that can fail in this way, from 1; 0: none.
    nth: u32,
    way: Way,
    status: NTSTATUS,
    /// Requests so far that could fail in this way.
    seen: u32,
    /// What it was, once it came.
    hit: Option<Kind>,
    /// It was a handler that an address can do without.
    optional: bool,
}

/// TDI_EVENT_RECEIVE_EXPEDITED and _SEND_POSSIBLE.
const OPTIONAL: [i32; 2] = [5, 6];

/// When a failing request fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In the dispatch routine.
    AtOnce,
    /// It is kept, and due. An open cannot be.
    Later,
}

impl Fault {
    /// No request fails.
    pub(crate) const NONE: Self = Self::new(0, Way::AtOnce, status::SUCCESS);

    /// The `nth` request fails.
    pub(crate) const fn new(nth: u32, way: Way, status: NTSTATUS) -> Self {
        Self {
            nth,
            way,
            status,
            seen: 0,
            hit: None,
            optional: false,
        }
    }

    /// Counts a request, or an open; tells how it has to fail, if it has to.
    pub(super) fn count(&mut self, kind: Kind, code: i32) -> Option<(Way, NTSTATUS)> {
        if self.way == Way::Later && matches!(kind, Kind::Open(_)) {
            return None;
        }
        self.seen = self.seen.saturating_add(1);
        if self.seen != self.nth {
            return None;
        }
        self.hit = Some(kind);
        self.optional = kind == Kind::SetHandler && OPTIONAL.contains(&code);
        Some((self.way, self.status))
    }

    /// Whether the request came that had to fail.
    pub(crate) const fn was_hit(&self) -> bool {
        self.hit.is_some()
    }

    /// Whether some answer or callback must tell of the failure: not of a handler that is not missed, and not of a disconnect
    /// request, of which only a tear-down tells, if it was its own.
    pub(crate) const fn must_show(&self) -> bool {
        match self.hit {
            None | Some(Kind::Release | Kind::Abort) => false,
            Some(_) => !self.optional,
        }
    }
}

impl State {
    /// Whether a held request is due.
    pub(crate) fn anything_due(&self) -> bool {
        self.all_held().any(|held| held.due.is_some())
    }

    /// Whether a receive is held that is not going to fail.
    pub(crate) fn awaits_data(&self) -> bool {
        self.all_held()
            .any(|held| held.kind == Kind::Receive && held.due.is_none())
    }
}

/// Ends a held request that is due; tells whether there was one.
pub(crate) fn end_due() -> bool {
    let claimed = TRANSPORT.update(|state| {
        let pending = state.claim(|held| held.due.is_some())?;
        Some((pending, state.record(pending.record)?))
    });
    let Some((pending, record)) = claimed else {
        return false;
    };
    let due = pending.due.unwrap_or(status::CANCELLED);
    if due >= 0 && pending.kind == Kind::Query {
        // SAFETY: Claimed, so ours.
        let (result, information) = unsafe { query::answer(pending.irp, &record) };
        complete::finish(&pending, result, information);
    } else {
        complete::finish(&pending, due, moved(&pending, due, record.length));
    }
    true
}

/// Bytes that a request which ends with `result` has moved.
pub(super) fn moved(pending: &Pending, result: NTSTATUS, length: u32) -> u64 {
    let sent = matches!(pending.kind, Kind::Send | Kind::SendDatagram);
    if sent && result >= 0 {
        length.into()
    } else {
        0
    }
}
