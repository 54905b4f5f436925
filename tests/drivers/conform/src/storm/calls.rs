//! The client's callbacks: each is judged by the life of its circuit, and answers at random.

use alloc::format;
use core::{ffi::c_void, hint, slice, sync::atomic::Ordering};

use conform_ioctl::{StormCount, StormFlags};
use rxce_client::{
    RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION_EVENT_HANDLER, RXCE_VC, RXCE_VC_SIGNATURE,
};
use wdk_sys::{NTSTATUS, PMDL};

use super::{
    actor,
    chance::Chance,
    datagrams,
    report::{count, is_of_transport, must, violated},
    slot::{ROOM_BYTES, Slot},
    world::{self, SHARED, World, pattern},
};
use crate::nt::{event::Event, irql, status};

/// The tables that connections and addresses are built with.
pub(super) fn connection_handlers() -> RXCE_CONNECTION_EVENT_HANDLER {
    RXCE_CONNECTION_EVENT_HANDLER {
        RxCeDisconnectEventHandler: Some(on_disconnect),
        RxCeErrorEventHandler: Some(on_error),
        RxCeReceiveEventHandler: Some(on_receive),
        RxCeReceiveDatagramEventHandler: None,
        RxCeReceiveExpeditedEventHandler: Some(on_expedited),
        RxCeSendPossibleEventHandler: Some(on_send_possible),
        RxCeDataReadyEventHandler: Some(on_data_ready),
        RxCeSendCompleteEventHandler: Some(on_send_complete),
        RxCeSendSubmittedEventHandler: Some(on_send_submitted),
    }
}

/// As above.
pub(super) fn address_handlers() -> RXCE_ADDRESS_EVENT_HANDLER {
    RXCE_ADDRESS_EVENT_HANDLER {
        RxCeErrorEventHandler: Some(on_address_error),
        RxCeReceiveDatagramEventHandler: Some(datagrams::on_datagram),
        RxCeDataReadyEventHandler: Some(datagrams::on_data_ready),
        RxCeSendPossibleEventHandler: Some(datagrams::on_send_possible),
        RxCeSendCompleteEventHandler: Some(datagrams::on_sent),
    }
}

/// A callback that is running: where it belongs, and chance for it.
struct Heard {
    world: &'static World,
    index: usize,
    slot: &'static Slot,
    chance: Chance,
}

impl Heard {
    fn new(call: &str, context: *mut c_void, vc: *mut RXCE_VC) -> Option<Self> {
        let world = world::current()?;
        let Some((index, slot)) = world.slot_of(vc) else {
            violated(|| format!("{call} came for a structure that is no circuit: {vc:p}"));
            return None;
        };
        Some(Self::at(world, index, slot, call, context))
    }

    fn at(
        world: &'static World,
        index: usize,
        slot: &'static Slot,
        call: &str,
        context: *mut c_void,
    ) -> Self {
        slot.life.update(|life| life.heard(call, context.addr()));
        let signature = slot.vc_signature();
        must(signature == RXCE_VC_SIGNATURE, || {
            format!("{call} came for a structure whose signature is {signature:#x}")
        });
        let number = world.callbacks.fetch_add(1, Ordering::Relaxed);
        let chance = Chance::new(world.request.seed, 0x1_0000_0000 | u64::from(number));
        Self {
            world,
            index,
            slot,
            chance,
        }
    }

    /// Calls the engine now and then, where that is allowed (rxce.md §4.3, R8).
    fn nest(&mut self) {
        if irql::current() > irql::APC || !self.chance.percent(25) {
            return;
        }
        let life = &self.slot.life;
        let deeper = life.update(|life| core::mem::replace(&mut life.nested, true));
        if deeper {
            return;
        }
        if self.chance.percent(40) {
            actor::initiate(self.slot);
        } else {
            actor::send(self.world, self.index, self.slot, &mut self.chance);
        }
        life.update(|life| life.nested = false);
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.slot
            .life
            .update(|life| life.inside = life.inside.saturating_sub(1));
    }
}

/// Takes some time, so that others get in between.
pub(super) fn dawdle(chance: &mut Chance) {
    match chance.below(100) {
        0..10 if irql::current() <= irql::APC => {
            Event::new().wait(chance.below(400).into());
        }
        0..30 => spin(chance.below(2000)),
        30..33 => spin(chance.below(100_000)),
        _ => {}
    }
}

fn spin(turns: u32) {
    for _ in 0..turns {
        hint::spin_loop();
    }
}

fn notice(call: &str, context: *mut c_void, vc: *mut RXCE_VC) {
    if let Some(mut heard) = Heard::new(call, context, vc) {
        dawdle(&mut heard.chance);
        let notices = heard.slot.life.update(|life| {
            life.notices = life.notices.saturating_add(1);
            life.notices
        });
        must(notices == 1, || {
            format!("{call} is notice number {notices} of the end of one circuit")
        });
        heard.nest();
    }
}

unsafe extern "C" fn on_disconnect(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _data_length: i32,
    _data: *mut c_void,
    _information_length: i32,
    _information: *mut c_void,
    _flags: u32,
) -> NTSTATUS {
    count(StormCount::Disconnected);
    notice("Disconnect", context, vc);
    status::SUCCESS
}

unsafe extern "C" fn on_error(context: *mut c_void, vc: *mut RXCE_VC, _code: NTSTATUS) -> NTSTATUS {
    count(StormCount::Failed);
    notice("Error", context, vc);
    status::SUCCESS
}

unsafe extern "C" fn on_send_possible(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _available: u32,
) -> NTSTATUS {
    count(StormCount::SendPossible);
    if let Some(mut heard) = Heard::new("SendPossible", context, vc) {
        dawdle(&mut heard.chance);
        heard.nest();
    }
    status::SUCCESS
}

unsafe extern "C" fn on_address_error(context: *mut c_void, _code: NTSTATUS) -> NTSTATUS {
    let number = context.addr().wrapping_sub(world::ADDRESS_CONTEXT);
    must(number < SHARED, || {
        format!("an address's Error came with context {context:p}")
    });
    status::SUCCESS
}

unsafe extern "C" fn on_receive(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _flags: u32,
    indicated: u32,
    available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    let event = Indicated {
        lane: 0,
        indicated,
        available,
        data,
    };
    // SAFETY: The engine's parameters.
    unsafe { received(context, vc, &event, taken, chain, wanted) }
}

unsafe extern "C" fn on_expedited(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _flags: u32,
    indicated: u32,
    available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    let event = Indicated {
        lane: 1,
        indicated,
        available,
        data,
    };
    // SAFETY: The engine's parameters.
    unsafe { received(context, vc, &event, taken, chain, wanted) }
}

struct Indicated {
    lane: usize,
    indicated: u32,
    available: u32,
    data: *mut c_void,
}

/// # Safety
///
/// The event has as many bytes as it says; the others are the engine's output parameters.
unsafe fn received(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    event: &Indicated,
    taken: *mut u32,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    count(StormCount::Received);
    let Some(mut heard) = Heard::new("Receive", context, vc) else {
        return status::DATA_NOT_ACCEPTED;
    };
    let Heard { world, slot, .. } = heard;
    let &Indicated {
        lane,
        indicated,
        available,
        data,
    } = event;
    must(indicated <= available, || {
        format!("Receive: {indicated} of {available} bytes")
    });
    let (offset, idle) = slot.life.update(|life| {
        let Some(stream) = life.lanes.get_mut(lane) else {
            return (0, false);
        };
        let idle = stream.accepted.is_none();
        must(!stream.inside, || {
            "two Receive callbacks of one stream at once".into()
        });
        must(idle, || {
            "Receive was called before DataReady of the receive before it".into()
        });
        stream.inside = true;
        (stream.offset, idle)
    });
    // SAFETY: At least `indicated` bytes are valid during the call (rxce.h).
    let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), indicated as usize) };
    check(world, slot, lane, offset, bytes);
    dawdle(&mut heard.chance);
    heard.nest();
    let chance = &mut heard.chance;

    let take = match chance.below(100) {
        0..50 => indicated,
        50..90 => chance.below(indicated.saturating_add(1)),
        _ => 0,
    };
    let accept = (idle && chance.percent(30)).then(|| chance.below(ROOM_BYTES).saturating_add(1));
    let refuse = accept.is_none() && chance.percent(8);
    let take = if refuse { 0 } else { take };
    slot.life.update(|life| {
        if let Some(stream) = life.lanes.get_mut(lane) {
            stream.inside = false;
            stream.offset = stream.offset.wrapping_add(take);
            if idle {
                stream.accepted = accept;
            }
        }
    });
    // SAFETY: The engine's output parameter.
    unsafe { *taken = take };
    let Some(more) = accept else {
        if refuse {
            count(StormCount::Declined);
            return status::DATA_NOT_ACCEPTED;
        }
        return status::SUCCESS;
    };
    count(StormCount::Accepted);
    // SAFETY: The engine's output parameter.
    unsafe { *chain = slot.chain(lane) };
    // SAFETY: As above.
    unsafe { *wanted = more };
    status::MORE_PROCESSING_REQUIRED
}

/// The bytes of a stream come in order, none twice. An unruly transport promises no order.
fn check(world: &World, slot: &Slot, lane: usize, offset: u32, bytes: &[u8]) {
    if world.request.flags.has(StormFlags::UNRULY) {
        return;
    }
    let vc = slot.vc.ptr();
    // SAFETY: A circuit's storage, which lives as long as the storm; the member stays while the circuit is built.
    let token = unsafe { (*vc).ConnectionId }.addr();
    for (at, &byte) in (offset..).zip(bytes) {
        if byte != pattern(token, lane, at) {
            violated(|| format!("byte {at} of stream {lane} is not what the transport sent there"));
            return;
        }
    }
}

unsafe extern "C" fn on_data_ready(
    context: *mut c_void,
    chain: PMDL,
    copied: u32,
    code: NTSTATUS,
) -> NTSTATUS {
    count(StormCount::Ready);
    let Some(world) = world::current() else {
        return status::SUCCESS;
    };
    let Some((lane, index, slot)) = world.room_of(chain) else {
        violated(|| format!("DataReady came for a chain that nobody gave: {chain:p}"));
        return status::SUCCESS;
    };
    let mut heard = Heard::at(world, index, slot, "DataReady", context);
    dawdle(&mut heard.chance);
    let stream = slot
        .life
        .read(|life| life.lanes.get(lane).copied().unwrap_or_default());
    let wanted = stream.accepted.unwrap_or_default();
    must(stream.accepted.is_some(), || {
        "DataReady came without a receive that waits for it".into()
    });
    must(copied <= wanted, || {
        format!("DataReady: {copied} bytes, {wanted} were wanted")
    });
    must(code >= 0 || is_expected(world, code), || {
        format!("DataReady with a status that nobody gave: {code:#010x}")
    });
    let mut bytes = [0; ROOM_BYTES as usize];
    let bytes = bytes.get_mut(..copied as usize).unwrap_or_default();
    slot.received(lane, bytes);
    check(world, slot, lane, stream.offset, bytes);
    slot.life.update(|life| {
        if let Some(stream) = life.lanes.get_mut(lane) {
            stream.accepted = None;
            stream.offset = stream.offset.wrapping_add(copied);
        }
    });
    status::SUCCESS
}

/// Whether a request may have ended with this failure: the transport's, or the engine's own (rxce.md §6).
fn is_expected(world: &World, code: NTSTATUS) -> bool {
    is_of_transport(code)
        || code == status::CONNECTION_DISCONNECTED
        || (world.faults.is_some() && code == status::INSUFFICIENT_RESOURCES)
}

unsafe extern "C" fn on_send_complete(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    completion: *mut c_void,
    code: NTSTATUS,
) -> NTSTATUS {
    count(StormCount::SendCompleted);
    let Some(mut heard) = Heard::new("SendComplete", context, vc) else {
        return status::SUCCESS;
    };
    let Heard {
        world, index, slot, ..
    } = heard;
    let Some(ticket) = world.ticket_of(completion.addr()) else {
        violated(|| format!("SendComplete came for no send: {completion:p}"));
        return status::SUCCESS;
    };
    dawdle(&mut heard.chance);
    let before = ticket.completed.fetch_add(1, Ordering::SeqCst);
    must(before == 0, || {
        "SendComplete came twice for one send".into()
    });
    must(!ticket.refused.load(Ordering::SeqCst), || {
        "SendComplete came for a send that was refused".into()
    });
    must(ticket.slot.load(Ordering::Relaxed) == index, || {
        "SendComplete came for another circuit's send".into()
    });
    must(code >= 0 || is_of_transport(code), || {
        format!("SendComplete with a status that the transport did not give: {code:#010x}")
    });
    slot.life.update(|life| {
        must(life.sends > 0, || {
            "SendComplete came, and no send is under way".into()
        });
        life.sends = life.sends.saturating_sub(1);
    });
    heard.nest();
    status::SUCCESS
}

unsafe extern "C" fn on_send_submitted(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    completion: *mut c_void,
    code: NTSTATUS,
) -> NTSTATUS {
    let Some(mut heard) = Heard::new("SendSubmitted", context, vc) else {
        return status::SUCCESS;
    };
    dawdle(&mut heard.chance);
    let Some(ticket) = heard.world.ticket_of(completion.addr()) else {
        violated(|| format!("SendSubmitted came for no send: {completion:p}"));
        return status::SUCCESS;
    };
    let before = ticket.submitted.fetch_add(1, Ordering::SeqCst);
    must(before == 0 && code == status::SUCCESS, || {
        format!(
            "SendSubmitted came {} times, with {code:#010x}",
            before.saturating_add(1)
        )
    });
    status::SUCCESS
}
