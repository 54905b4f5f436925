//! `RxCeBuildConnectionOverMultipleTransports`: several connects compete for one connection and one circuit of the
//! client's (specification 5.8).
//!
//! Each address that is of use gets a slot with a connection and a circuit of its own, which the client does not see. The
//! slots connect at once; `rxce_engine::race` decides in each completion routine, and the job that follows, at
//! `PASSIVE_LEVEL`, shows the winner to the client and closes the others. It runs in the routine itself if the decision
//! came before its return, else in a system worker.

mod place;
mod race;
mod request;
mod slot;

use rxce_engine::{
    Error, circuit as engine,
    life::{CancelBuild, State},
    mutant,
    race::Verdict,
    receive::Channel,
};
use wdk_sys::{
    NTSTATUS, PVOID, STATUS_CANCELLED, STATUS_INSUFFICIENT_RESOURCES, STATUS_PENDING,
    STATUS_SUCCESS, STATUS_UNSUCCESSFUL,
};

pub(crate) use self::request::{MOST_ADDRESSES, Request};

use self::race::{Followed, Race};
use super::{
    circuit::{Circuit, Entrant},
    layer, receive,
    registry::ids,
};
use crate::{
    abi::{self, Client},
    nt::{irql::Pageable, work_item},
};

/// The routine. `Ok` is a success or `STATUS_PENDING`.
///
/// # Errors
///
/// The documented ones; if all connects failed, the status of the first address that was tried.
pub(crate) fn build(at: &Pageable, request: &Request<'_>) -> Result<NTSTATUS, Error> {
    if layer::overlap(request.connection, request.vc) {
        return Err(Error::InvalidParameter);
    }
    let race = Race::new(at, request, connected)
        .and_then(|race| {
            race.open(at)?;
            Ok(race)
        })
        .inspect_err(|error| {
            if *error != Error::InvalidParameter {
                race::report(request.completion, status_of(*error), None);
            }
        })?;
    race.start();
    match race.leave() {
        Followed::Later => {
            // The job has the race now, and this routine does not touch it any more.
            race.leave_to_job();
            Ok(STATUS_PENDING)
        }
        Followed::Here(verdict) => {
            let token = conclude(at, &race, verdict);
            let status = race.status();
            if mutant!(CompletionAlsoInline) {
                let (routine, completion) = race.completion();
                // SAFETY: The client's routine with its context; that it is called is what is wrong.
                let _ = unsafe { routine(completion.as_ptr()) };
            }
            drop(race);
            if let Some(token) = token {
                catch_up(token);
            }
            if wdk::nt_success(status) {
                Ok(status)
            } else {
                Err(Error::Transport(status))
            }
        }
    }
}

/// Cancels the race for the circuit at `public`, if there is one that has not shown its winner.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(super) fn cancel(public: Client<abi::Vc>) -> Option<CancelBuild> {
    let race = Race::find(public.address())?;
    let (answer, follow_up) = race.cancel();
    if follow_up {
        // SAFETY: The item is the client's for this purpose, and is queued once: by whoever decides.
        unsafe { work_item::queue(race.work_item(), finish, race.context()) };
    }
    Some(answer)
}

/// The status of a failure before the race.
const fn status_of(error: Error) -> NTSTATUS {
    match error {
        Error::Transport(status) => status,
        Error::Cancelled => STATUS_CANCELLED,
        _ => STATUS_INSUFFICIENT_RESOURCES,
    }
}

/// The end of one slot's connect.
///
/// # Safety
///
/// Called once for each slot that connects, by its completion routine or in its place; the race lives until then.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
unsafe fn connected(entrant: &Entrant, status: NTSTATUS) {
    // SAFETY: Forwarded.
    let race = unsafe { Race::of_connect(entrant) };
    if race.end_of_connect(entrant.index, status) {
        // SAFETY: The item is the client's for this purpose, and is queued once: by whoever decides.
        unsafe { work_item::queue(race.work_item(), finish, race.context()) };
    }
    race.release_slot(entrant.index);
}

/// The job in a system worker.
unsafe extern "C" fn finish(context: PVOID) {
    // SAFETY: A work item runs at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: The routine left its part of the race to this job.
    let Some(race) = (unsafe { Race::from_context(context) }) else {
        return;
    };
    let verdict = race.verdict();
    let token = conclude(&at, &race, verdict);
    let (routine, completion) = race.completion();
    // SAFETY: The client's routine with its context, in a system worker; no lock and no circuit is held.
    let _ = unsafe { routine(completion.as_ptr()) };
    if let Some(token) = token {
        catch_up(token);
    }
    // Only now may the redirector be told that nothing of it is in use any more.
    drop(race);
}

/// Shows the winner to the client, or nothing; tells the transport's name for the winner.
fn conclude(at: &Pageable, race: &Race, verdict: Verdict) -> Option<usize> {
    match verdict {
        Verdict::Winner(index) => {
            let token = race.announce(index);
            race.report(STATUS_SUCCESS, Some(index));
            token
        }
        Verdict::Open | Verdict::Lost(_) => {
            race.close_rivals();
            // Nobody is left to be closed in the background: the addresses are the client's again at once.
            race.wait_for_the_end(at);
            race.clear_structures();
            let status = match verdict {
                _ if race.is_cancelled() => STATUS_CANCELLED,
                Verdict::Lost(Some(status)) => status,
                _ => STATUS_UNSUCCESSFUL,
            };
            race.report(status, None);
            None
        }
    }
}

/// Delivers what was held back, unless the client has torn the circuit down meanwhile.
fn catch_up(token: usize) {
    let Some(circuit) = ids::find::<Circuit>(token) else {
        return;
    };
    let owed = engine::change(&*circuit, |ledger| {
        if ledger.life.state() == State::TearDown || mutant!(OwedAfterCompletionLost) {
            None
        } else {
            ledger.life.take_owed()
        }
    });
    if let Some(notice) = owed {
        circuit.notify(notice);
    }
    for channel in [Channel::Normal, Channel::Expedited] {
        receive::catch_up(&circuit, channel);
    }
}
