//! Ending requests: exactly once each, by whoever takes them out of the table.

use wdk_sys::{NTSTATUS, PDEVICE_OBJECT, PIRP, ntddk};

use super::{
    check,
    kinds::{Kind, Personality},
    query,
    state::{Pending, State, TRANSPORT},
};
use crate::nt::{irp, irql, mdl, status};

/// Completes the oldest held request of `kind`; tells whether there was one.
pub(crate) fn complete(kind: Kind, result: NTSTATUS) -> bool {
    complete_which(result, |_, held| held.kind == kind)
}

/// As [`complete`], for the files of one personality.
pub(crate) fn complete_on(personality: Personality, kind: Kind, result: NTSTATUS) -> bool {
    complete_which(result, |state, held| {
        held.kind == kind && state.personality(held.file) == Some(personality)
    })
}

fn complete_which(result: NTSTATUS, which: impl Fn(&State, &Pending) -> bool) -> bool {
    let claimed = TRANSPORT.update(|state| {
        loop {
            let oldest = state.oldest(|state, held| which(state, held))?;
            if let Some(pending) = state.claim(|held| held.record == oldest) {
                return Some(pending);
            }
        }
    });
    let Some(pending) = claimed else {
        return false;
    };
    let sent = matches!(pending.kind, Kind::Send | Kind::SendDatagram);
    let information = if result >= 0 && sent {
        length_of(&pending)
    } else {
        0
    };
    finish(&pending, result, information.into());
    true
}

fn length_of(pending: &Pending) -> u32 {
    TRANSPORT.read(|state| {
        state
            .record(pending.record)
            .map_or(0, |record| record.length)
    })
}

/// Completes the oldest held receive with success and as much of `data` as it takes; tells how much that was.
pub(crate) fn complete_with_data(data: &[u8]) -> Option<usize> {
    fill(Kind::Receive, data, status::SUCCESS)
}

/// Completes the oldest held receive of a datagram with as much of `data` as it takes.
pub(crate) fn complete_datagram(data: &[u8], result: NTSTATUS) -> Option<usize> {
    fill(Kind::ReceiveDatagram, data, result)
}

fn fill(kind: Kind, data: &[u8], result: NTSTATUS) -> Option<usize> {
    let which = |held: &Pending| held.kind == kind && held.due.is_none();
    let pending = TRANSPORT.update(|state| state.claim(which))?;
    let wanted = length_of(&pending);
    let data = data.get(..wanted as usize).unwrap_or(data);
    // SAFETY: The request is ours until it is completed, so its chain is valid; it was checked to be resident.
    let chain = unsafe { (*pending.irp).MdlAddress };
    // SAFETY: As above.
    let copied = unsafe { mdl::fill(chain, data) };
    finish(&pending, result, copied as u64);
    Some(copied)
}

/// Answers the oldest held query; tells whether there was one.
pub(crate) fn complete_query() -> bool {
    let claimed = TRANSPORT.update(|state| {
        let pending = state.claim(|held| held.kind == Kind::Query)?;
        Some((pending, state.record(pending.record)?))
    });
    let Some((pending, record)) = claimed else {
        return false;
    };
    // SAFETY: Claimed, so ours.
    let (result, information) = unsafe { query::answer(pending.irp, &record) };
    finish(&pending, result, information);
    true
}

/// Completes every held request that `which` accepts; tells how many.
pub(crate) fn end_all(result: NTSTATUS, mut which: impl FnMut(&Pending) -> bool) -> usize {
    let mut ended = 0_usize;
    while let Some(pending) = TRANSPORT.update(|state| state.claim(&mut which)) {
        finish(&pending, result, 0);
        ended = ended.saturating_add(1);
    }
    ended
}

/// Completes a claimed request, which has no cancel routine any more, at the level the script asks for.
pub(super) fn finish(pending: &Pending, result: NTSTATUS, information: u64) {
    let level = TRANSPORT.update(|state| {
        note(state, pending, result);
        state.complete_at
    });
    irql::at(level, || {
        // SAFETY: Claimed, so ours and not completed; not touched after.
        unsafe { irp::complete(pending.irp, result, information) };
    });
}

/// Writes the result to the log and checks what must still hold.
pub(super) fn note(state: &mut State, pending: &Pending, result: NTSTATUS) {
    if let Some(record) = state.record(pending.record) {
        check::on_completion(state, &record);
    }
    state.completed(pending.record, result);
}

/// Cancel routine of requests that a cancel may end.
///
/// # Safety
///
/// Called by the I/O manager with the cancel spin lock held.
pub(super) unsafe extern "C" fn on_cancel(_device: PDEVICE_OBJECT, irp: PIRP) {
    // SAFETY: Nobody completes the request but this routine, once it is called.
    let level = unsafe { (*irp).CancelIrql };
    // SAFETY: Held by the caller, at this level.
    unsafe { ntddk::IoReleaseCancelSpinLock(level) };
    match TRANSPORT.update(|state| state.claim_cancelled(irp)) {
        Some(pending) => finish(&pending, status::CANCELLED, 0),
        None => TRANSPORT.update(|state| {
            state.violated(
                "a request was cancelled that the transport does not hold",
                0,
            );
        }),
    }
}
