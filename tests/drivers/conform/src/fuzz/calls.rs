//! The client's callbacks, which answer as a step says, and look at everything they are given.

use alloc::format;
use core::{ffi::c_void, slice};

use conform_ioctl::{FuzzCount, Step};
use rxce_client::{RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION_EVENT_HANDLER, RXCE_VC};
use wdk_sys::{NTSTATUS, PMDL};

use super::{
    arguments,
    ledger::{self, count, must, violated},
    world::{self, ADDRESS_CONTEXT, CONNECTION_CONTEXT, NEST},
};
use crate::{
    engine, fixture,
    nt::{status, watch::Watch},
};

/// What a receive callback does.
#[derive(Clone, Copy)]
struct Answer {
    status: NTSTATUS,
    taken: u32,
    chain: u32,
}

const TAKE: Answer = Answer {
    status: status::SUCCESS,
    taken: 0,
    chain: 0,
};

/// By lane: normal, expedited, datagrams.
static ANSWERS: Watch<[Answer; 3]> = Watch::new([TAKE; 3]);

/// The client takes everything.
pub(super) fn reset() {
    ANSWERS.update(|answers| *answers = [TAKE; 3]);
    NEST.store(0, core::sync::atomic::Ordering::SeqCst);
}

/// Changes how a lane is answered.
pub(super) fn prescribe(step: &Step) {
    let answer = Answer {
        status: match step.a & 7 {
            0..=2 => status::SUCCESS,
            3 => status::DATA_NOT_ACCEPTED,
            4 | 5 => status::MORE_PROCESSING_REQUIRED,
            6 => step.a.cast_signed(),
            _ => status::PENDING,
        },
        taken: step.b,
        chain: step.c,
    };
    NEST.store(step.also, core::sync::atomic::Ordering::SeqCst);
    ANSWERS.update(|answers| {
        if let Some(slot) = answers.get_mut(usize::from(step.with % 3)) {
            *slot = answer;
        }
    });
}

/// A connection's table; `missing` has a bit for each callback that is not there.
pub(super) fn connection_handlers(missing: u32) -> RXCE_CONNECTION_EVENT_HANDLER {
    let has = |bit: u32| missing & (1 << bit) == 0;
    RXCE_CONNECTION_EVENT_HANDLER {
        RxCeDisconnectEventHandler: if has(0) { Some(on_disconnect) } else { None },
        RxCeErrorEventHandler: if has(1) { Some(on_error) } else { None },
        RxCeReceiveEventHandler: if has(2) { Some(on_receive) } else { None },
        RxCeReceiveDatagramEventHandler: if has(3) { None } else { Some(never) },
        RxCeReceiveExpeditedEventHandler: if has(4) { Some(on_expedited) } else { None },
        RxCeSendPossibleEventHandler: if has(5) { Some(on_possible) } else { None },
        // What is owed is owed in these two: they are always there.
        RxCeDataReadyEventHandler: Some(on_ready),
        RxCeSendCompleteEventHandler: Some(on_complete),
        RxCeSendSubmittedEventHandler: if has(6) { Some(on_submitted) } else { None },
    }
}

/// An address's table.
pub(super) fn address_handlers(missing: u32) -> RXCE_ADDRESS_EVENT_HANDLER {
    let has = |bit: u32| missing & (1 << bit) == 0;
    RXCE_ADDRESS_EVENT_HANDLER {
        RxCeErrorEventHandler: if has(0) { Some(on_address_error) } else { None },
        RxCeReceiveDatagramEventHandler: if has(1) { Some(on_datagram) } else { None },
        RxCeDataReadyEventHandler: Some(on_datagram_ready),
        RxCeSendPossibleEventHandler: if has(2) {
            Some(on_address_possible)
        } else {
            None
        },
        RxCeSendCompleteEventHandler: Some(on_datagram_sent),
    }
}

fn of_connection(what: &str, context: *mut c_void) {
    count(FuzzCount::Callbacks);
    let known =
        (CONNECTION_CONTEXT..CONNECTION_CONTEXT.saturating_add(16)).contains(&context.addr());
    must(known, || format!("{what} with context {context:p}"));
}

fn of_address(what: &str, context: *mut c_void) {
    count(FuzzCount::Callbacks);
    let known = (ADDRESS_CONTEXT..ADDRESS_CONTEXT.saturating_add(16)).contains(&context.addr());
    must(known, || format!("{what} with context {context:p}"));
}

fn of_circuit(what: &str, context: *mut c_void, vc: *mut RXCE_VC) {
    of_connection(what, context);
    must(world::is_alive(vc), || {
        format!("{what} for a circuit that is not built: {vc:p}")
    });
    let nest = NEST.load(core::sync::atomic::Ordering::SeqCst);
    if nest & 1 != 0 {
        engine::initiate_by_chance(vc);
    }
    if nest & 2 != 0 {
        let mut out = [0; 40];
        fixture::query(vc, 1, &mut out);
    }
}

/// Reads all of a buffer that a callback was given.
fn touch(start: *const c_void, length: usize) -> u8 {
    if start.is_null() || length == 0 {
        return 0;
    }
    // SAFETY: The engine says that so much is valid during the call; that is what is tried here.
    let bytes = unsafe { slice::from_raw_parts(start.cast::<u8>(), length) };
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

unsafe extern "C" fn on_disconnect(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    data_length: i32,
    data: *mut c_void,
    information_length: i32,
    information: *mut c_void,
    _flags: u32,
) -> NTSTATUS {
    of_circuit("Disconnect", context, vc);
    touch(data, usize::try_from(data_length).unwrap_or_default());
    touch(
        information,
        usize::try_from(information_length).unwrap_or_default(),
    );
    status::SUCCESS
}

unsafe extern "C" fn on_error(context: *mut c_void, vc: *mut RXCE_VC, _code: NTSTATUS) -> NTSTATUS {
    of_circuit("Error", context, vc);
    status::SUCCESS
}

unsafe extern "C" fn on_address_error(context: *mut c_void, _code: NTSTATUS) -> NTSTATUS {
    of_address("an address's Error", context);
    status::SUCCESS
}

unsafe extern "C" fn never(
    _context: *mut c_void,
    _source_length: i32,
    _source: *mut c_void,
    _options_length: i32,
    _options: *mut c_void,
    _flags: u32,
    _indicated: u32,
    _available: u32,
    _taken: *mut u32,
    _data: *mut c_void,
    _chain: *mut PMDL,
    _wanted: *mut u32,
) -> NTSTATUS {
    violated(|| "a connection's ReceiveDatagram was called".into());
    status::SUCCESS
}

unsafe extern "C" fn on_receive(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _flags: u32,
    indicated: u32,
    _available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    of_circuit("Receive", context, vc);
    // SAFETY: The engine's parameters.
    unsafe { received(0, indicated, taken, data, chain, wanted) }
}

unsafe extern "C" fn on_expedited(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _flags: u32,
    indicated: u32,
    _available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    of_circuit("ReceiveExpedited", context, vc);
    // SAFETY: The engine's parameters.
    unsafe { received(1, indicated, taken, data, chain, wanted) }
}

unsafe extern "C" fn on_datagram(
    context: *mut c_void,
    source_length: i32,
    source: *mut c_void,
    options_length: i32,
    options: *mut c_void,
    _flags: u32,
    indicated: u32,
    _available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    of_address("ReceiveDatagram", context);
    touch(source, usize::try_from(source_length).unwrap_or_default());
    touch(options, usize::try_from(options_length).unwrap_or_default());
    // SAFETY: The engine's parameters.
    unsafe { received(2, indicated, taken, data, chain, wanted) }
}

/// Answers as the last step for this lane says.
///
/// # Safety
///
/// `data` has `indicated` bytes, the others are the engine's output parameters.
unsafe fn received(
    lane: usize,
    indicated: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    touch(data, indicated as usize);
    let answer = ANSWERS.read(|answers| answers.get(lane).copied().unwrap_or(TAKE));
    let say = match answer.taken & 3 {
        0 => indicated,
        1 => indicated.min(answer.taken >> 2),
        2 => 0,
        _ => answer.taken,
    };
    // SAFETY: The engine's output parameter.
    unsafe { *taken = say };
    if answer.status == status::MORE_PROCESSING_REQUIRED {
        let [shape, rule, sizes, more] = answer.chain.to_le_bytes();
        // A circle of client memory is no memory.
        let shape = if shape & 15 == 8 { 1 } else { shape };
        let sizes = u32::from_le_bytes([sizes, more, sizes, 0]);
        if let Some(room) = arguments::chain(shape, sizes) {
            let size = match rule & 7 {
                0..=2 => room.total,
                3 => room.total / 2,
                4 => room.total.saturating_add(100),
                5 => u32::MAX,
                6 => 0,
                _ => 1,
            };
            // SAFETY: The engine's output parameter.
            unsafe { *chain = room.mdl() };
            // SAFETY: As above.
            unsafe { *wanted = size };
            ledger::new_room(room.elements, room.empty, room.total.min(size));
        }
    }
    answer.status
}

unsafe extern "C" fn on_possible(context: *mut c_void, vc: *mut RXCE_VC, _bytes: u32) -> NTSTATUS {
    of_circuit("SendPossible", context, vc);
    status::SUCCESS
}

unsafe extern "C" fn on_address_possible(
    context: *mut c_void,
    _vc: *mut RXCE_VC,
    _bytes: u32,
) -> NTSTATUS {
    of_address("an address's SendPossible", context);
    status::SUCCESS
}

unsafe extern "C" fn on_ready(
    context: *mut c_void,
    chain: PMDL,
    copied: u32,
    _code: NTSTATUS,
) -> NTSTATUS {
    of_connection("DataReady", context);
    ledger::ready(chain, copied);
    status::SUCCESS
}

unsafe extern "C" fn on_datagram_ready(
    context: *mut c_void,
    chain: PMDL,
    copied: u32,
    _code: NTSTATUS,
) -> NTSTATUS {
    of_address("an address's DataReady", context);
    ledger::ready(chain, copied);
    status::SUCCESS
}

unsafe extern "C" fn on_complete(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    completion: *mut c_void,
    _code: NTSTATUS,
) -> NTSTATUS {
    of_circuit("SendComplete", context, vc);
    ledger::completed(completion.addr());
    status::SUCCESS
}

unsafe extern "C" fn on_submitted(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    completion: *mut c_void,
    _code: NTSTATUS,
) -> NTSTATUS {
    of_circuit("SendSubmitted", context, vc);
    ledger::submitted(completion.addr());
    status::SUCCESS
}

unsafe extern "C" fn on_datagram_sent(
    context: *mut c_void,
    completion: *mut c_void,
    _code: NTSTATUS,
) -> NTSTATUS {
    of_address("an address's SendComplete", context);
    ledger::completed(completion.addr());
    status::SUCCESS
}
