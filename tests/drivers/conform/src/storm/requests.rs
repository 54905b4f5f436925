//! Requests to the transport: how they arrive, what is to become of them, and how they end.

use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;

use conform_ioctl::{StormCount, StormFlags};
use wdk_sys::{IO_STACK_LOCATION, NTSTATUS, PDEVICE_OBJECT, PIRP, ntddk};

use super::{
    arrival,
    calls::dawdle,
    chance::Chance,
    endpoint::{Endpoint, Ends, Held, Phase, State},
    provider::{self, CALM},
    queue::{self, What},
    report::{ENDINGS, FAILURES, count, must, violated},
    world::{self, pattern},
};
use crate::{
    nt::{irp as irps, irql, mdl, status, time::SECOND},
    transport::Kind,
};

/// How long the transport keeps what it keeps for ever: longer than any tear-down waits (rxce.md §5.13).
const FOR_EVER: i64 = 120 * SECOND;

/// How a request came to the transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Through IoCallDriver.
    Sent,
    /// Handed back by a receive handler.
    HandedBack,
}

/// What becomes of a request.
enum Fate {
    Now(NTSTATUS),
    /// The delay, how it ends then, and what ends it before.
    Later(i64, NTSTATUS, Ends),
}

/// The current thread, as a number that is not zero.
pub(super) fn thread() -> usize {
    // SAFETY: Callable at any level.
    unsafe { ntddk::PsGetCurrentThread() }.addr()
}

/// Whether indications and completions of receives exclude each other.
pub(super) fn is_polite() -> bool {
    world::current().is_some_and(|world| !world.request.flags.has(StormFlags::UNRULY))
}

/// Takes a request.
///
/// # Safety
///
/// The transport owns `irp`, whose current location is `stack`.
pub(super) unsafe fn arrive(
    device: PDEVICE_OBJECT,
    irp: PIRP,
    stack: *mut IO_STACK_LOCATION,
    way: Way,
) -> NTSTATUS {
    // SAFETY: Ours.
    let object = unsafe { (*stack).FileObject };
    // SAFETY: A request of the client's names a file object that it keeps referenced.
    let endpoint = unsafe { provider::endpoint_of(object) };
    let Some(endpoint) = endpoint else {
        violated(|| "a request came for a file object that is not open".into());
        // SAFETY: Ours.
        unsafe { irps::complete(irp, status::INVALID_CONNECTION, 0) };
        return status::INVALID_CONNECTION;
    };
    // SAFETY: Ours.
    let mut held = unsafe { arrival::look(irp, stack) };
    // SAFETY: Ours.
    unsafe { arrival::check(device, stack, &endpoint, &held, way) };
    // SAFETY: Ours.
    if let Some((result, information)) = unsafe { arrival::effect(&endpoint, stack, &held) } {
        // SAFETY: Ours, completed once.
        unsafe { irps::complete(irp, result, information) };
        return result;
    }
    let (mut chance, ended) = endpoint.state.update(|state| {
        let chance = Chance::new(state.chance.next(), 2);
        (chance, note(state, &held))
    });
    dawdle(&mut chance);
    for other in ended {
        count(StormCount::EndedByAbort);
        end_soon(&endpoint, other, &mut chance);
    }
    let fate = endpoint
        .state
        .update(|state| decide(state, &held, &mut chance));
    match fate {
        Fate::Now(result) => now(&endpoint, &held, result, &mut chance),
        Fate::Later(delay, result, ends) => {
            held.ends = ends;
            // SAFETY: Ours.
            unsafe { irps::mark_pending(irp) };
            let entered = endpoint.state.update(|state| enter(state, &mut held));
            match entered {
                Ok(id) => queue::later(&endpoint, delay, What::End(id, result)),
                Err(result) => finish(&endpoint, &held, result, 0, &mut chance),
            }
            status::PENDING
        }
    }
}

/// What a request does to the endpoint as it comes; the requests that it ends.
fn note(state: &mut State, held: &Held) -> Vec<Held> {
    let at_most_once = |counter: &mut u32, what: &str| {
        *counter = counter.saturating_add(1);
        let number = *counter;
        must(number == 1, || {
            format!("{what} number {number} of one endpoint")
        });
    };
    match held.kind {
        Kind::Connect => {
            at_most_once(&mut state.connects, "TDI_CONNECT");
            if state.phase == Phase::Idle {
                state.phase = Phase::Connecting;
            }
        }
        Kind::Release => {
            count(StormCount::Releases);
            at_most_once(&mut state.releases, "RELEASE");
            must(state.aborts == 0, || "a RELEASE after an ABORT".into());
            state.released = true;
        }
        Kind::Abort => {
            count(StormCount::Aborts);
            at_most_once(&mut state.aborts, "ABORT");
            // One that overtakes the connect finds nothing to abort.
            if state.phase != Phase::Idle {
                state.phase = Phase::Down;
                return state.claim_all(|other| other.ends.abort);
            }
        }
        Kind::Receive => {
            if let Some(lane) = state.lanes.get_mut(held.lane) {
                lane.receives = lane.receives.saturating_add(1);
                lane.refused = false;
            }
        }
        _ => {}
    }
    Vec::new()
}

fn decide(state: &State, held: &Held, chance: &mut Chance) -> Fate {
    if CALM.load(Ordering::Relaxed) && held.kind != Kind::Receive {
        return Fate::Now(status::SUCCESS);
    }
    let alive = state.handle_open
        && match held.kind {
            Kind::Connect => state.phase == Phase::Connecting,
            Kind::Abort | Kind::SendDatagram | Kind::ReceiveDatagram => true,
            _ => state.phase == Phase::Up,
        };
    if !alive {
        return Fate::Now(chance.pick(&ENDINGS));
    }
    let stuck = world::current().is_some_and(|world| world.request.flags.has(StormFlags::STUCK));
    let ends = Ends {
        abort: chance.percent(60),
        cancel: chance.percent(60),
    };
    let failure = chance.pick(&FAILURES);
    let soon = i64::from(chance.below(6000));
    let long = i64::from(chance.below(3)).saturating_mul(SECOND);
    match (held.kind, chance.below(100)) {
        // A disconnect is not cancelled by another, nor does it wait for one for long.
        (Kind::Abort, 0..60) => Fate::Now(status::SUCCESS),
        (Kind::Abort, 60..65) => Fate::Now(failure),
        (Kind::Abort, 65..95) => Fate::Later(soon, status::SUCCESS, Ends::default()),
        (Kind::Connect, 0..35) => Fate::Now(status::SUCCESS),
        (Kind::Connect, 35..43) => Fate::Now(failure),
        (Kind::Connect, 43..82) => Fate::Later(soon, status::SUCCESS, ends),
        (Kind::Connect, 82..88) => Fate::Later(soon, failure, ends),
        (Kind::Connect, 88..93) => Fate::Later(long, status::SUCCESS, ends),
        (Kind::Receive, 0..25) if may_deliver(state) => Fate::Now(status::SUCCESS),
        (Kind::Receive, 25..30) => Fate::Now(failure),
        (_, 0..40) if held.kind != Kind::Receive => Fate::Now(status::SUCCESS),
        (_, 40..45) => Fate::Now(failure),
        (_, 0..80) => Fate::Later(soon, status::SUCCESS, ends),
        (_, 80..84) => Fate::Later(soon, failure, ends),
        (_, 84..87) => Fate::Later(long, status::SUCCESS, ends),
        (_, _) if stuck => Fate::Later(FOR_EVER, failure, ends),
        _ => Fate::Later(soon, failure, ends),
    }
}

/// Whether this thread may complete a receive with data now.
fn may_deliver(state: &State) -> bool {
    !is_polite() || state.busy == 0 || state.busy == thread()
}

/// Ends a request where it arrived.
fn now(endpoint: &Arc<Endpoint>, held: &Held, result: NTSTATUS, chance: &mut Chance) -> NTSTATUS {
    count(StormCount::EndedInline);
    let pend = chance.percent(50);
    if pend {
        // SAFETY: Ours. Both ways of ending a request inline are legal (tdi.md §3.1).
        unsafe { irps::mark_pending(held.irp) };
    }
    let before = endpoint.state.update(|state| {
        let before = state.busy;
        if held.kind == Kind::Receive && result >= 0 {
            state.busy = thread();
        }
        before
    });
    conclude(endpoint, held, result, chance);
    if held.kind == Kind::Receive && result >= 0 {
        endpoint.state.update(|state| state.busy = before);
    }
    if pend { status::PENDING } else { result }
}

/// Enters a request in the table, unless it is cancelled, or the handle closed, already.
fn enter(state: &mut State, held: &mut Held) -> Result<u64, NTSTATUS> {
    held.id = state.new_id();
    if !state.handle_open {
        return Err(status::CONNECTION_ABORTED);
    }
    // An ABORT may have come since the decision.
    if state.phase == Phase::Down && held.kind != Kind::Abort && held.ends.abort {
        return Err(status::CONNECTION_ABORTED);
    }
    if held.ends.cancel {
        // SAFETY: Ours until it is in the table; the routine waits for this lock.
        unsafe { irps::set_cancel_routine(held.irp, Some(on_cancel)) };
        // SAFETY: Ours.
        let cancel = unsafe { &raw const (*held.irp).Cancel };
        // SAFETY: Ours; IoCancelIrp may set it now.
        let cancelled = unsafe { cancel.read_volatile() } != 0;
        // If the routine is gone already, it has been called, and will find the request.
        // SAFETY: Ours.
        if cancelled && unsafe { irps::set_cancel_routine(held.irp, None) } {
            return Err(status::CANCELLED);
        }
    }
    state.held.push(*held);
    Ok(held.id)
}

/// # Safety
///
/// Called by the I/O manager with the cancel spin lock held.
unsafe extern "C" fn on_cancel(_device: PDEVICE_OBJECT, irp: PIRP) {
    // SAFETY: Nobody completes the request but this routine, once it is called.
    let level = unsafe { (*irp).CancelIrql };
    // SAFETY: Held by the caller, at this level.
    unsafe { ntddk::IoReleaseCancelSpinLock(level) };
    // SAFETY: As above: the request's location is the transport's still.
    let stack = unsafe { irps::current(irp) };
    // SAFETY: As above.
    let object = unsafe { (*stack).FileObject };
    // SAFETY: The client keeps the file object while the request is under way.
    let Some(endpoint) = (unsafe { provider::endpoint_of(object) }) else {
        violated(|| "a request of a closed file was cancelled".into());
        return;
    };
    let claimed = endpoint.state.update(|state| {
        let chance = Chance::new(state.chance.next(), 3);
        state.claim_cancelled(irp).map(|held| (held, chance))
    });
    match claimed {
        Some((held, mut chance)) => {
            count(StormCount::EndedByCancel);
            if held.kind == Kind::Send {
                count(StormCount::SendsCancelled);
            }
            finish(&endpoint, &held, status::CANCELLED, 0, &mut chance);
        }
        None => violated(|| "a request was cancelled that the transport does not hold".into()),
    }
}

/// The time of a held request has come.
pub(super) fn end(endpoint: &Arc<Endpoint>, id: u64, result: NTSTATUS, chance: &mut Chance) {
    enum Claim {
        Gone,
        Again,
        Held(Held),
    }
    let claim = endpoint.state.update(|state| {
        let data = state
            .held
            .iter()
            .any(|held| held.id == id && held.kind == Kind::Receive && result >= 0);
        if data && !may_deliver(state) {
            return Claim::Again;
        }
        let Some(held) = state.claim(|held| held.id == id) else {
            return Claim::Gone;
        };
        if data {
            state.busy = thread();
        }
        Claim::Held(held)
    });
    match claim {
        Claim::Gone => {}
        Claim::Again => queue::later(endpoint, 500, What::End(id, result)),
        Claim::Held(held) => {
            count(StormCount::EndedLater);
            conclude(endpoint, &held, result, chance);
            if held.kind == Kind::Receive && result >= 0 {
                endpoint.state.update(|state| state.busy = 0);
            }
        }
    }
}

/// Ends a request that was taken out, with what belongs to its success.
fn conclude(endpoint: &Arc<Endpoint>, held: &Held, result: NTSTATUS, chance: &mut Chance) {
    let mut information = 0;
    match held.kind {
        Kind::Connect => {
            let events = endpoint.state.update(|state| {
                if state.phase == Phase::Connecting {
                    state.phase = if result >= 0 { Phase::Up } else { Phase::Down };
                }
                state.phase == Phase::Up && !CALM.load(Ordering::Relaxed)
            });
            if events {
                queue::later(endpoint, chance.below(3000).into(), What::Event);
            }
        }
        Kind::Send | Kind::SendDatagram if result >= 0 => information = held.length,
        Kind::ReceiveDatagram if result >= 0 => {
            information = chance.below(held.length.saturating_add(1));
        }
        Kind::Receive if result >= 0 => information = deliver(endpoint, held, chance),
        Kind::Query if result >= 0 => {
            // SAFETY: The transport owns the request.
            let chain = unsafe { (*held.irp).MdlAddress };
            // SAFETY: Its chain was checked.
            let copied = unsafe { mdl::fill(chain, &[0; 56]) };
            information = u32::try_from(copied).unwrap_or_default();
        }
        _ => {}
    }
    finish(endpoint, held, result, information, chance);
}

/// Puts the next bytes of the stream into a receive; how many.
fn deliver(endpoint: &Endpoint, held: &Held, chance: &mut Chance) -> u32 {
    let (offset, length) = endpoint.state.update(|state| {
        let wish = match chance.below(100) {
            _ if state.peer_done => 0,
            0..5 => 0,
            5..60 => held.length,
            _ => chance.below(held.length).saturating_add(1).min(held.length),
        };
        let length = wish.min(4096);
        let Some(lane) = state.lanes.get_mut(held.lane) else {
            return (0, 0);
        };
        let offset = lane.offset;
        lane.offset = offset.wrapping_add(length);
        (offset, length)
    });
    let bytes: Vec<u8> = (0..length)
        .map(|at| pattern(endpoint.token, held.lane, offset.wrapping_add(at)))
        .collect();
    // SAFETY: The transport owns the request.
    let chain = unsafe { (*held.irp).MdlAddress };
    // SAFETY: Its chain was checked.
    unsafe { mdl::fill(chain, &bytes) };
    length
}

/// Ends a request with an error, now or soon.
pub(super) fn end_soon(endpoint: &Arc<Endpoint>, held: Held, chance: &mut Chance) {
    let result = chance.pick(&ENDINGS);
    if chance.percent(40) {
        let delay = chance.below(1000);
        queue::later(endpoint, delay.into(), What::Complete(held, result));
    } else {
        finish(endpoint, &held, result, 0, chance);
    }
}

/// Completes a request that was taken out.
pub(super) fn finish(
    endpoint: &Arc<Endpoint>,
    held: &Held,
    result: NTSTATUS,
    information: u32,
    chance: &mut Chance,
) {
    if !held.timeout.is_null() {
        // SAFETY: A time-out must stay valid until the request completes (tdi.md §4); that is what is checked.
        let now = unsafe { held.timeout.read_unaligned() };
        must(now == held.timeout_value, || {
            "a time-out changed while its request was under way".into()
        });
    }
    let level = if chance.percent(70) {
        irql::DISPATCH
    } else {
        irql::PASSIVE
    };
    irql::at(level, || {
        // SAFETY: Taken out, so ours; not touched after.
        unsafe { irps::complete(held.irp, result, information.into()) };
    });
    if held.kind == Kind::Receive {
        endpoint.state.update(|state| {
            if let Some(lane) = state.lanes.get_mut(held.lane) {
                lane.receives = lane.receives.saturating_sub(1);
            }
        });
    }
}
