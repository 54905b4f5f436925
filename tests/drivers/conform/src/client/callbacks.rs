//! The callbacks themselves, and the tables that name them.

use core::{ffi::c_void, ptr, slice};

use rxce_client::{RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION_EVENT_HANDLER, RXCE_VC};
use wdk_sys::{NTSTATUS, PMDL};

use super::{ADDRESS_CONTEXT, Answer, CLIENT, CONNECTION_CONTEXT, Call, Called, Lane};
use crate::nt::{status, time};

/// A connection's table with every callback.
pub(crate) fn connection_handlers() -> RXCE_CONNECTION_EVENT_HANDLER {
    RXCE_CONNECTION_EVENT_HANDLER {
        RxCeDisconnectEventHandler: Some(on_disconnect),
        RxCeErrorEventHandler: Some(on_connection_error),
        RxCeReceiveEventHandler: Some(on_receive),
        RxCeReceiveDatagramEventHandler: None,
        RxCeReceiveExpeditedEventHandler: Some(on_receive_expedited),
        RxCeSendPossibleEventHandler: Some(on_send_possible),
        RxCeDataReadyEventHandler: Some(on_data_ready),
        RxCeSendCompleteEventHandler: Some(on_send_complete),
        RxCeSendSubmittedEventHandler: Some(on_send_submitted),
    }
}

/// An address's table with every callback.
pub(crate) fn address_handlers() -> RXCE_ADDRESS_EVENT_HANDLER {
    RXCE_ADDRESS_EVENT_HANDLER {
        RxCeErrorEventHandler: Some(on_address_error),
        RxCeReceiveDatagramEventHandler: Some(on_datagram),
        RxCeDataReadyEventHandler: Some(on_datagram_ready),
        RxCeSendPossibleEventHandler: Some(on_datagram_possible),
        RxCeSendCompleteEventHandler: Some(on_datagram_sent),
    }
}

fn note(
    context: *mut c_void,
    call: Call,
    vc: *mut RXCE_VC,
    object: *mut c_void,
    status: NTSTATUS,
    value: u32,
) {
    let expected = if call.is_of_address() {
        ADDRESS_CONTEXT
    } else {
        CONNECTION_CONTEXT
    };
    CLIENT.update(|client| {
        client.record(
            context,
            expected,
            Called {
                call,
                vc,
                object,
                status,
                value,
            },
        )
    });
}

unsafe extern "C" fn on_disconnect(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    _data_length: i32,
    _data: *mut c_void,
    _information_length: i32,
    _information: *mut c_void,
    flags: u32,
) -> NTSTATUS {
    note(
        context,
        Call::Disconnect,
        vc,
        ptr::null_mut(),
        status::SUCCESS,
        flags,
    );
    status::SUCCESS
}

unsafe extern "C" fn on_connection_error(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    code: NTSTATUS,
) -> NTSTATUS {
    note(context, Call::ConnectionError, vc, ptr::null_mut(), code, 0);
    status::SUCCESS
}

unsafe extern "C" fn on_address_error(context: *mut c_void, code: NTSTATUS) -> NTSTATUS {
    note(
        context,
        Call::AddressError,
        ptr::null_mut(),
        ptr::null_mut(),
        code,
        0,
    );
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
    note(context, Call::Receive, vc, ptr::null_mut(), 0, indicated);
    // SAFETY: The engine's parameters.
    unsafe { received(Lane::Normal, indicated, taken, data, chain, wanted) }
}

unsafe extern "C" fn on_receive_expedited(
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
    let call = Call::ReceiveExpedited;
    note(context, call, vc, ptr::null_mut(), 0, indicated);
    // SAFETY: The engine's parameters.
    unsafe { received(Lane::Expedited, indicated, taken, data, chain, wanted) }
}

unsafe extern "C" fn on_datagram(
    context: *mut c_void,
    source_length: i32,
    source: *mut c_void,
    _options_length: i32,
    _options: *mut c_void,
    _flags: u32,
    indicated: u32,
    _available: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    // The length of the sender's address goes where a status would.
    let call = Call::Datagram;
    note(
        context,
        call,
        ptr::null_mut(),
        source,
        source_length,
        indicated,
    );
    // SAFETY: The engine's parameters.
    unsafe { received(Lane::Datagram, indicated, taken, data, chain, wanted) }
}

/// Answers an indication as the vector prescribes.
///
/// # Safety
///
/// `data` has `indicated` bytes, the others are the engine's output parameters.
unsafe fn received(
    lane: Lane,
    indicated: u32,
    taken: *mut u32,
    data: *mut c_void,
    chain: *mut PMDL,
    wanted: *mut u32,
) -> NTSTATUS {
    let (answer, gate) = CLIENT.update(|client| {
        let slot = client.answers.get_mut(lane as usize);
        let answer = slot.as_ref().map_or(Answer::Take, |answer| **answer);
        if let (Answer::More(..) | Answer::Into(..), Some(slot)) = (answer, slot) {
            *slot = Answer::Take;
        }
        (answer, client.gate.take())
    });
    if let Some(gate) = gate {
        // SAFETY: The vector keeps both events until this callback has returned.
        unsafe { &*gate.entered }.set();
        // SAFETY: As above.
        unsafe { &*gate.go_on }.wait(time::PATIENCE);
    }
    let (take, say) = match answer {
        Answer::Do(run) => {
            run();
            (indicated, indicated)
        }
        Answer::Take | Answer::More(..) => (indicated, indicated),
        Answer::TakeSome(count) => (count.min(indicated), count.min(indicated)),
        Answer::Claim(count) => (indicated, count),
        Answer::Refuse | Answer::Into(..) => (0, 0),
        Answer::RefuseClaiming(count) => (0, count),
    };
    // SAFETY: At least `indicated` bytes are valid during the call (rxce.h).
    let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), take as usize) };
    CLIENT.update(|client| client.keep(lane, bytes));
    // SAFETY: The engine's output parameter.
    unsafe { *taken = say };
    match answer {
        Answer::Refuse | Answer::RefuseClaiming(_) => status::DATA_NOT_ACCEPTED,
        Answer::More(mdl, size) | Answer::Into(mdl, size) => {
            // SAFETY: The engine's output parameter.
            unsafe { *chain = mdl };
            // SAFETY: As above.
            unsafe { *wanted = size };
            status::MORE_PROCESSING_REQUIRED
        }
        Answer::Take | Answer::TakeSome(_) | Answer::Claim(_) | Answer::Do(_) => status::SUCCESS,
    }
}

unsafe extern "C" fn on_send_possible(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    bytes: u32,
) -> NTSTATUS {
    note(
        context,
        Call::SendPossible,
        vc,
        ptr::null_mut(),
        status::SUCCESS,
        bytes,
    );
    status::SUCCESS
}

unsafe extern "C" fn on_data_ready(
    context: *mut c_void,
    chain: PMDL,
    copied: u32,
    code: NTSTATUS,
) -> NTSTATUS {
    note(
        context,
        Call::DataReady,
        ptr::null_mut(),
        chain.cast(),
        code,
        copied,
    );
    status::SUCCESS
}

unsafe extern "C" fn on_send_complete(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    completion: *mut c_void,
    code: NTSTATUS,
) -> NTSTATUS {
    note(context, Call::SendComplete, vc, completion, code, 0);
    status::SUCCESS
}

unsafe extern "C" fn on_send_submitted(
    context: *mut c_void,
    vc: *mut RXCE_VC,
    completion: *mut c_void,
    code: NTSTATUS,
) -> NTSTATUS {
    note(context, Call::SendSubmitted, vc, completion, code, 0);
    status::SUCCESS
}

unsafe extern "C" fn on_datagram_ready(
    context: *mut c_void,
    chain: PMDL,
    copied: u32,
    code: NTSTATUS,
) -> NTSTATUS {
    let call = Call::DatagramReady;
    note(context, call, ptr::null_mut(), chain.cast(), code, copied);
    status::SUCCESS
}

unsafe extern "C" fn on_datagram_possible(
    context: *mut c_void,
    _vc: *mut RXCE_VC,
    bytes: u32,
) -> NTSTATUS {
    let call = Call::DatagramPossible;
    note(context, call, ptr::null_mut(), ptr::null_mut(), 0, bytes);
    status::SUCCESS
}

unsafe extern "C" fn on_datagram_sent(
    context: *mut c_void,
    completion: *mut c_void,
    code: NTSTATUS,
) -> NTSTATUS {
    let call = Call::DatagramSent;
    note(context, call, ptr::null_mut(), completion, code, 0);
    status::SUCCESS
}
