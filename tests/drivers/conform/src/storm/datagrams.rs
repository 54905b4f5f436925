//! Datagrams: the client's side, its callbacks included.

use alloc::format;
use core::{
    ffi::c_void,
    ptr, slice,
    sync::atomic::{AtomicBool, Ordering},
};

use conform_ioctl::StormCount;
use rxce_client::RXCE_VC;
use wdk_sys::{NTSTATUS, PMDL};

use super::{
    actor::allowed,
    calls::dawdle,
    chance::Chance,
    report::{count, is_of_transport, must, violated},
    world::{self, ADDRESS_CONTEXT, SHARED, World},
};
use crate::{
    engine, fixture,
    nt::{mdl::Buffer, status, time::SECOND, watch::Watch},
    outcome::{Outcome, Trouble},
};

/// A ticket of a datagram belongs to no circuit's storage.
pub(super) const NO_SLOT: usize = usize::MAX;
/// What every byte of an indicated datagram is.
pub(super) const BYTE: u8 = 0xDA;
/// Bytes that a client takes of a datagram at most.
const ROOM: usize = 200;

/// Datagrams that were sent and whose SendComplete has not run yet.
static UNDER_WAY: Watch<u32> = Watch::new(0);

/// Waits for the SendComplete of every datagram: no tear-down of a circuit does, and a driver above the transport may
/// report the end later than the transport did. Whether all came.
pub(super) fn settle() -> bool {
    UNDER_WAY.wait_until(600 * SECOND, |&under_way| under_way == 0)
}

/// Where an address's client wants the rest of a datagram.
pub(super) struct Room {
    buffer: Buffer,
    /// Given to the engine, until DataReady.
    given: AtomicBool,
}

impl Room {
    pub(super) fn new() -> Outcome<Self> {
        Ok(Self {
            buffer: Buffer::new(&[0; ROOM]).ok_or_else(Trouble::no_memory)?,
            given: AtomicBool::new(false),
        })
    }

    /// Nothing happens any more: the memory must be back.
    pub(super) fn judge(&self) {
        must(!self.given.load(Ordering::SeqCst), || {
            "DataReady of a datagram is still owed".into()
        });
    }
}

/// RxCeSendDatagram.
pub(super) fn send(world: &World, chance: &mut Chance) {
    let address = world.any_address(chance);
    let payloads = u32::try_from(world.payloads.len()).unwrap_or(1);
    let payload = world.payloads.get(chance.below(payloads) as usize);
    let (Some(address), Some(payload)) = (address, payload) else {
        return;
    };
    let Some((ticket, context)) = world.ticket(NO_SLOT) else {
        return;
    };
    let mut information = fixture::information(&world.peer);
    UNDER_WAY.update(|under_way| *under_way = under_way.wrapping_add(1));
    let answer = engine::send_datagram(
        address.ptr(),
        &raw mut information,
        chance.pick(&[0, engine::SEND_SYNCHRONOUS]),
        payload.mdl(),
        payload.length,
        ptr::without_provenance_mut(context),
    );
    if answer == status::SUCCESS {
        count(StormCount::DatagramsSent);
        ticket.accepted.store(true, Ordering::SeqCst);
        return;
    }
    UNDER_WAY.update(|under_way| *under_way = under_way.wrapping_sub(1));
    ticket.refused.store(true, Ordering::SeqCst);
    let completed = ticket.completed.load(Ordering::SeqCst);
    must(completed == 0 && allowed(world, answer), || {
        format!("RxCeSendDatagram returned {answer:#010x}, {completed} callbacks")
    });
}

/// A callback of an address: its number, and chance for it.
fn heard(call: &str, context: *mut c_void) -> Option<(&'static World, usize, Chance)> {
    let world = world::current()?;
    let number = context.addr().wrapping_sub(ADDRESS_CONTEXT);
    if number >= SHARED {
        violated(|| format!("an address's {call} came with context {context:p}"));
        return None;
    }
    let turn = world.callbacks.fetch_add(1, Ordering::Relaxed);
    let chance = Chance::new(world.request.seed, 0x2_0000_0000 | u64::from(turn));
    Some((world, number, chance))
}

pub(super) unsafe extern "C" fn on_sent(
    context: *mut c_void,
    completion: *mut c_void,
    code: NTSTATUS,
) -> NTSTATUS {
    count(StormCount::DatagramsCompleted);
    let Some((world, _, mut chance)) = heard("SendComplete", context) else {
        return status::SUCCESS;
    };
    let ticket = world.ticket_of(completion.addr());
    let Some(ticket) = ticket.filter(|ticket| ticket.slot.load(Ordering::Relaxed) == NO_SLOT)
    else {
        violated(|| format!("SendComplete came for no datagram: {completion:p}"));
        return status::SUCCESS;
    };
    dawdle(&mut chance);
    let before = ticket.completed.fetch_add(1, Ordering::SeqCst);
    let refused = ticket.refused.load(Ordering::SeqCst);
    must(before == 0 && !refused, || {
        "SendComplete came twice for a datagram, or for one that was refused".into()
    });
    must(code >= 0 || is_of_transport(code), || {
        format!("SendComplete with a status that the transport did not give: {code:#010x}")
    });
    UNDER_WAY.update(|under_way| *under_way = under_way.wrapping_sub(1));
    status::SUCCESS
}

pub(super) unsafe extern "C" fn on_datagram(
    context: *mut c_void,
    source_length: i32,
    _source: *mut c_void,
    _options_length: i32,
    _options: *mut c_void,
    _flags: u32,
    indicated: u32,
    available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    count(StormCount::Datagrams);
    let Some((world, number, mut chance)) = heard("ReceiveDatagram", context) else {
        return status::DATA_NOT_ACCEPTED;
    };
    // SAFETY: At least `indicated` bytes are valid during the call (rxce.h).
    let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), indicated as usize) };
    let good = indicated <= available && source_length == 22;
    must(good && bytes.iter().all(|&byte| byte == BYTE), || {
        format!("ReceiveDatagram: {indicated} of {available} bytes, a source of {source_length}")
    });
    dawdle(&mut chance);
    let take = chance.below(indicated.saturating_add(1));
    // SAFETY: The engine's output parameter.
    unsafe { *taken = take };
    let Some(room) = world.rooms.get(number) else {
        return status::SUCCESS;
    };
    match chance.below(100) {
        0..60 => status::SUCCESS,
        60..70 => status::DATA_NOT_ACCEPTED,
        _ if room.given.swap(true, Ordering::SeqCst) => status::SUCCESS,
        _ => {
            let more = chance.below(room.buffer.length()).saturating_add(1);
            // SAFETY: The engine's output parameter.
            unsafe { *chain = room.buffer.mdl() };
            // SAFETY: As above.
            unsafe { *wanted = more };
            status::MORE_PROCESSING_REQUIRED
        }
    }
}

pub(super) unsafe extern "C" fn on_data_ready(
    context: *mut c_void,
    chain: PMDL,
    copied: u32,
    code: NTSTATUS,
) -> NTSTATUS {
    let Some((world, number, mut chance)) = heard("DataReady", context) else {
        return status::SUCCESS;
    };
    dawdle(&mut chance);
    let Some(room) = world.rooms.get(number) else {
        return status::SUCCESS;
    };
    let faults = world.faults.is_some() && code == status::INSUFFICIENT_RESOURCES;
    must(
        chain == room.buffer.mdl()
            && copied <= room.buffer.length()
            && (code >= 0 || is_of_transport(code) || faults),
        || format!("an address's DataReady: {chain:p}, {copied} bytes, {code:#010x}"),
    );
    let given = room.given.swap(false, Ordering::SeqCst);
    must(given, || "DataReady came for no datagram".into());
    status::SUCCESS
}

pub(super) unsafe extern "C" fn on_send_possible(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _available: u32,
) -> NTSTATUS {
    count(StormCount::SendPossible);
    if heard("SendPossible", context).is_some() {
        must(vc.is_null(), || {
            format!("an address's SendPossible names the circuit {vc:p}")
        });
    }
    status::SUCCESS
}
