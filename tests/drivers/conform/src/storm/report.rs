//! What the storm counts, and the first invariant that did not hold.

use alloc::string::String;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use conform_ioctl::{StormCount, StormResult, Text};
use wdk_sys::NTSTATUS;

use crate::nt::{status, watch::Watch};

const COUNTS: usize = StormCount::NAMES.len();

static COUNTED: [AtomicU64; COUNTS] = [const { AtomicU64::new(0) }; COUNTS];
static VIOLATED: AtomicBool = AtomicBool::new(false);
static FIRST: Watch<Option<String>> = Watch::new(None);

/// Forgets everything.
pub(super) fn reset() {
    for count in &COUNTED {
        count.store(0, Ordering::Relaxed);
    }
    VIOLATED.store(false, Ordering::Relaxed);
    drop(FIRST.update(Option::take));
}

/// Counts one event.
pub(super) fn count(what: StormCount) {
    if let Some(count) = COUNTED.get(what as usize) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// An invariant does not hold. The first text is kept; the storm ends.
pub(super) fn violated(text: impl FnOnce() -> String) {
    if !VIOLATED.swap(true, Ordering::SeqCst) {
        let text = text();
        FIRST.update(|first| *first = Some(text));
    }
}

/// `condition` must hold.
pub(super) fn must(condition: bool, text: impl FnOnce() -> String) {
    if !condition {
        violated(text);
    }
}

/// Whether something was violated.
pub(super) fn is_violated() -> bool {
    VIOLATED.load(Ordering::Relaxed)
}

/// The record for whoever asked.
pub(super) fn result(rounds: u32) -> StormResult {
    let mut counts = [0; COUNTS];
    for (to, from) in counts.iter_mut().zip(&COUNTED) {
        *to = from.load(Ordering::Relaxed);
    }
    let text = FIRST.read(Option::clone).unwrap_or_default();
    StormResult {
        rounds,
        violated: is_violated(),
        counts,
        text: Text::new(&text),
    }
}

/// Failures that the transport makes up; the engine must hand them on unchanged (rxce.md §3.4).
pub(super) const FAILURES: [NTSTATUS; 6] = [
    status::LINK_FAILED,
    status::IO_TIMEOUT,
    status::HOST_UNREACHABLE,
    status::CONNECTION_REFUSED,
    status::BAD_NETWORK_PATH,
    status::DEVICE_NOT_READY,
];

/// How the transport ends requests when a connection, a request or a handle goes.
pub(super) const ENDINGS: [NTSTATUS; 4] = [
    status::CONNECTION_ABORTED,
    status::CONNECTION_RESET,
    status::CANCELLED,
    status::INVALID_CONNECTION,
];

/// Whether the transport may have given this status to a request.
pub(super) fn is_of_transport(code: NTSTATUS) -> bool {
    FAILURES.contains(&code) || ENDINGS.contains(&code)
}
