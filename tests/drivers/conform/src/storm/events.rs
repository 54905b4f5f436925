//! What happens to endpoints by itself: data, disconnects, and calls that come too late.

use alloc::{format, sync::Arc};
use core::{ffi::c_void, mem, ptr};

use conform_ioctl::{StormCount, StormFlags};
use wdk_sys::{NTSTATUS, PIRP, ntddk};

use super::{
    address_events,
    calls::dawdle,
    chance::Chance,
    endpoint::{Endpoint, Handler, Held, Phase, State},
    queue::{self, What},
    report::{count, must},
    requests::{self, Way, is_polite, thread},
    world::{self, pattern},
};
use crate::{
    nt::{irp as irps, irql, status},
    transport::Kind,
};

/// Event types (tdi.md §5).
const DISCONNECT: usize = 1;
const RECEIVE: [usize; 2] = [3, 5];
/// TDI_RECEIVE_NORMAL and _EXPEDITED.
const RECEIVE_FLAGS: [u32; 2] = [0x20, 0x40];
/// TDI_DISCONNECT_ABORT and _RELEASE.
const ABORT: u32 = 2;
const RELEASE: u32 = 4;

type DisconnectHandler = unsafe extern "system" fn(
    *mut c_void,
    *mut c_void,
    i32,
    *mut c_void,
    i32,
    *mut c_void,
    u32,
) -> NTSTATUS;
type ReceiveHandler = unsafe extern "system" fn(
    *mut c_void,
    *mut c_void,
    u32,
    u32,
    u32,
    *mut u32,
    *mut c_void,
    *mut PIRP,
) -> NTSTATUS;

/// The handler for an event of an endpoint.
pub(super) fn handler(endpoint: &Endpoint, event: usize) -> Option<Handler> {
    let address = endpoint.state.read(|state| state.address.clone())?;
    let handler = address
        .state
        .read(|state| state.handlers.get(event).copied())?;
    (!handler.routine.is_null()).then_some(handler)
}

/// Something happens, and something else later.
pub(super) fn happen(endpoint: &Arc<Endpoint>, chance: &mut Chance) {
    let go_on = endpoint.state.update(|state| {
        state.events_left = state.events_left.saturating_sub(1);
        state.events_left > 0 && state.handle_open
    });
    if go_on {
        queue::later(endpoint, chance.below(4000).into(), What::Event);
    }
    let errors = world::current().is_some_and(|world| world.request.flags.has(StormFlags::ERRORS));
    let level = if chance.percent(75) {
        irql::DISPATCH
    } else {
        irql::PASSIVE
    };
    irql::at(level, || match chance.below(100) {
        0..55 => data(endpoint, 0, chance),
        55..70 => data(endpoint, 1, chance),
        70..80 => disconnected(endpoint, RELEASE, chance),
        80..87 => disconnected(endpoint, ABORT, chance),
        87..90 if !is_polite() => {
            disconnected(endpoint, chance.pick(&[0, ABORT | RELEASE]), chance)
        }
        90..92 if errors => address_events::error(endpoint),
        92..95 => address_events::send_possible(endpoint, chance),
        95..98 => address_events::datagram(endpoint, chance),
        _ => dawdle(chance),
    });
}

/// Indicates data on a stream.
fn data(endpoint: &Arc<Endpoint>, lane: usize, chance: &mut Chance) {
    let polite = is_polite();
    let begun = endpoint.state.update(|state| {
        let stream = state.lanes.get(lane)?;
        let free = state.busy == 0 && stream.receives == 0 && !stream.refused;
        let possible = state.phase == Phase::Up && state.handle_open && free && !state.peer_done;
        if polite && !possible {
            return None;
        }
        let offset = stream.offset;
        if polite {
            state.busy = thread();
        }
        Some((offset, outstanding(state, lane)))
    });
    let Some((offset, before)) = begun else {
        return;
    };
    let length = chance.below(160).saturating_add(1);
    let mut bytes = [0_u8; 160];
    for (at, byte) in (0..length).zip(&mut bytes) {
        *byte = pattern(endpoint.token, lane, offset.wrapping_add(at));
    }
    let more = chance.pick(&[0, 0, 1, 100]);
    let bytes = bytes.get_mut(..length as usize).unwrap_or_default();
    if let Some(answer) = indicate(endpoint, lane, bytes, length.saturating_add(more)) {
        judge(&answer, length);
        endpoint.state.update(|state| {
            // Held all the while: the receive guards its stream, in a tear-down too.
            let guarded = before.is_some() && before == outstanding(state, lane);
            must(
                !guarded || answer.result == status::DATA_NOT_ACCEPTED,
                || "an indication was taken while a receive of its stream is outstanding".into(),
            );
            if let Some(stream) = state.lanes.get_mut(lane) {
                stream.offset = stream.offset.wrapping_add(answer.taken);
                stream.refused = polite && answer.result == status::DATA_NOT_ACCEPTED;
            }
        });
        dawdle(chance);
        if !answer.irp.is_null() {
            // SAFETY: Handed back by the handler.
            unsafe { accept(answer.irp) };
        }
    }
    if polite {
        endpoint.state.update(|state| state.busy = 0);
    }
}

/// A receive of a stream that the transport holds.
fn outstanding(state: &State, lane: usize) -> Option<u64> {
    let receive = |held: &&Held| held.kind == Kind::Receive && held.lane == lane;
    state.held.iter().find(receive).map(|held| held.id)
}

struct Answer {
    result: NTSTATUS,
    taken: u32,
    irp: PIRP,
}

fn indicate(endpoint: &Endpoint, lane: usize, bytes: &mut [u8], available: u32) -> Option<Answer> {
    let call = handler(endpoint, *RECEIVE.get(lane)?)?;
    // SAFETY: Registered for this event, so of this type.
    let routine = unsafe { mem::transmute::<*mut c_void, ReceiveHandler>(call.routine) };
    let mut taken = 0;
    let mut irp: PIRP = ptr::null_mut();
    // SAFETY: Arguments as tdi.md §5 describes them; the data is valid for the call.
    let result = unsafe {
        routine(
            call.context,
            ptr::without_provenance_mut(endpoint.token),
            *RECEIVE_FLAGS.get(lane)?,
            u32::try_from(bytes.len()).unwrap_or_default(),
            available,
            &raw mut taken,
            bytes.as_mut_ptr().cast(),
            &raw mut irp,
        )
    };
    Some(Answer { result, taken, irp })
}

fn judge(answer: &Answer, indicated: u32) {
    let &Answer { result, taken, irp } = answer;
    let more = result == status::MORE_PROCESSING_REQUIRED;
    let known = more || result == status::SUCCESS || result == status::DATA_NOT_ACCEPTED;
    must(
        known
            && more != irp.is_null()
            && taken <= indicated
            && (result != status::DATA_NOT_ACCEPTED || taken == 0),
        || {
            format!(
                "a receive handler answered {result:#010x}, {taken} of {indicated}, IRP {irp:p}"
            )
        },
    );
}

/// Takes the request that came with an answer.
///
/// # Safety
///
/// The handler gave the request to the transport.
pub(super) unsafe fn accept(irp: PIRP) {
    // SAFETY: Advanced to the transport's location.
    let stack = unsafe { irps::current(irp) };
    // SAFETY: Filled in as for IoCallDriver.
    let object = unsafe { (*stack).FileObject };
    // SAFETY: The client keeps the file object while the request is under way.
    let device = unsafe { ntddk::IoGetRelatedDeviceObject(object) };
    // SAFETY: As above.
    unsafe { requests::arrive(device, irp, stack, Way::HandedBack) };
}

/// The peer is done, or gone: what was outstanding ends, then the event, the last one.
fn disconnected(endpoint: &Arc<Endpoint>, flags: u32, chance: &mut Chance) {
    let polite = is_polite();
    let begun = endpoint.state.update(|state| {
        let possible = state.phase == Phase::Up && state.handle_open && state.busy == 0;
        if polite && (!possible || state.peer_done) {
            return None;
        }
        state.peer_done = true;
        if polite {
            state.busy = thread();
        }
        let abort = flags & ABORT != 0;
        if abort {
            state.phase = Phase::Down;
        }
        Some(state.claim_all(|held| {
            let receive = held.kind == Kind::Receive;
            receive || (abort && held.ends.abort)
        }))
    });
    let Some(ended) = begun else {
        return;
    };
    for held in ended {
        count(StormCount::EndedByAbort);
        requests::finish(endpoint, &held, status::CONNECTION_RESET, 0, chance);
    }
    count(if flags == RELEASE {
        StormCount::RemoteReleases
    } else {
        StormCount::RemoteAborts
    });
    call_disconnect(endpoint, flags);
    if polite {
        endpoint.state.update(|state| state.busy = 0);
    }
}

fn call_disconnect(endpoint: &Endpoint, flags: u32) {
    let Some(call) = handler(endpoint, DISCONNECT) else {
        return;
    };
    // SAFETY: Registered for this event, so of this type.
    let routine = unsafe { mem::transmute::<*mut c_void, DisconnectHandler>(call.routine) };
    // SAFETY: Arguments as tdi.md §5 describes them.
    let result = unsafe {
        routine(
            call.context,
            ptr::without_provenance_mut(endpoint.token),
            0,
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            flags,
        )
    };
    must(result == status::SUCCESS, || {
        format!("a disconnect handler answered {result:#010x}")
    });
}

/// The endpoint is closed: its token names nothing (rxce.md §3.6).
pub(super) fn late(endpoint: &Arc<Endpoint>, chance: &mut Chance) {
    count(StormCount::Late);
    let level = if chance.percent(50) {
        irql::DISPATCH
    } else {
        irql::PASSIVE
    };
    irql::at(level, || {
        for lane in 0..RECEIVE.len() {
            let mut bytes = [0xEE; 8];
            if let Some(answer) = indicate(endpoint, lane, &mut bytes, 8) {
                must(
                    answer.result == status::DATA_NOT_ACCEPTED
                        && answer.taken == 0
                        && answer.irp.is_null(),
                    || format!("a late receive was answered with {:#010x}", answer.result),
                );
            }
        }
        call_disconnect(endpoint, RELEASE);
    });
    drop(endpoint.state.update(|state| state.address.take()));
}
