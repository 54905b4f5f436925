//! What every request must look like (tdi.md §12). A request that does not fails the vector.

use wdk_sys::{IO_STACK_LOCATION, MDL, PDEVICE_OBJECT, PIRP};

use super::{
    kinds::{FileKind, Kind},
    look,
    query::PROVIDER_INFO,
    state::{REMOTE, Record, State, TRANSPORT},
};
use crate::nt::{irql, mdl};

/// All three of SL_INVOKE_ON_CANCEL, _ON_SUCCESS, _ON_ERROR.
const INVOKE_ALWAYS: u8 = 0x20 | 0x40 | 0x80;

/// How a request came to the transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Through IoCallDriver.
    Sent,
    /// Handed back by a receive handler, advanced by IoSetNextIrpStackLocation.
    HandedBack,
}

/// Checks a request on arrival.
///
/// # Safety
///
/// `irp` is a request that the transport owns, at `stack`; the chain at `record.mdl` is null or valid.
pub(super) unsafe fn on_arrival(
    irp: PIRP,
    stack: *mut IO_STACK_LOCATION,
    device: PDEVICE_OBJECT,
    record: &Record,
    way: Way,
) {
    // SAFETY: Owned by the transport now.
    let packet = unsafe { &*irp };
    let (count, location) = (packet.StackCount, packet.CurrentLocation);
    // SAFETY: The current location of that request.
    let stack = unsafe { &*stack };
    // SAFETY: By this function's contract.
    let view = unsafe { mdl::view(record.mdl.cast::<MDL>()) };
    TRANSPORT.update(|state| {
        let mut rule = |holds: bool, rule: &'static str, value: u64| {
            if !holds {
                state.violated(rule, value);
            }
        };
        rule(
            location >= 1 && location <= count,
            "CurrentLocation is outside the stack",
            location.cast_unsigned().into(),
        );
        rule(
            stack.MajorFunction == 0x0F,
            "MajorFunction is not internal device control",
            stack.MajorFunction.into(),
        );
        rule(
            stack.DeviceObject == device,
            "DeviceObject of the stack location is another device",
            0,
        );
        rule(
            stack.CompletionRoutine.is_some(),
            "no completion routine",
            0,
        );
        rule(
            stack.Control & INVOKE_ALWAYS == INVOKE_ALWAYS,
            "the completion routine is not invoked in every case",
            stack.Control.into(),
        );
        rule(
            record.irql <= irql::DISPATCH,
            "a request above DISPATCH_LEVEL",
            record.irql.into(),
        );
        file_and_level(state, record, way);
        let mut rule = |holds: bool, rule: &'static str, value: u64| {
            if !holds {
                state.violated(rule, value);
            }
        };
        if carries_data(record.kind) || record.kind == Kind::Query {
            rule(
                view.resident,
                "an MDL that is neither locked nor nonpaged",
                0,
            );
        }
        if carries_data(record.kind) {
            rule(
                view.length >= u64::from(record.length),
                "an MDL shorter than the request's length",
                view.length,
            );
        }
        rule(
            record.kind != Kind::Other,
            "a request that the engine should not make",
            stack.MinorFunction.into(),
        );
    });
}

const fn carries_data(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Send | Kind::Receive | Kind::SendDatagram | Kind::ReceiveDatagram
    )
}

/// TDI_QUERY_ADAPTER_STATUS (tdi.md §6).
const ADAPTER_STATUS: i32 = 0x100;

fn file_and_level(state: &mut State, record: &Record, way: Way) {
    let expected = match record.kind {
        Kind::Query if matches!(record.code, PROVIDER_INFO | ADAPTER_STATUS) => FileKind::Control,
        Kind::SetHandler | Kind::SendDatagram | Kind::ReceiveDatagram => FileKind::Address,
        _ => FileKind::Endpoint,
    };
    let file = state
        .file(record.file)
        .map(|file| (file.kind, file.handle_open));
    match file {
        None => state.violated("a request for a file object that is not open", 0),
        Some((kind, _)) if expected != kind => {
            state.violated("a request for the wrong kind of file object", kind as u64);
        }
        // A receive handed back while the endpoint is being closed is the transport's to end (tdi.md §12).
        Some((_, false)) if way == Way::Sent => {
            state.violated("a request after the handle was closed", 0)
        }
        Some(_) => {}
    }
    let driven_by_indication = matches!(record.kind, Kind::Receive | Kind::ReceiveDatagram);
    if record.irql > irql::APC && !driven_by_indication && !state.dispatch_allowed {
        state.violated("a request above APC_LEVEL", record.irql.into());
    }
    if record.kind == Kind::Associate && (record.irql != irql::PASSIVE || record.apcs_disabled) {
        state.violated(
            "TDI_ASSOCIATE_ADDRESS above PASSIVE_LEVEL or with APCs disabled",
            record.irql.into(),
        );
    }
}

/// Checks what must still hold when a request ends: its time-out and its connection information are what they were.
pub(super) fn on_completion(state: &mut State, record: &Record) {
    if !record.timeout.is_null() {
        // SAFETY: A time-out must stay valid until the request completes (tdi.md §4); that is the very thing checked.
        let now = unsafe { record.timeout.read_unaligned() };
        if Some(now) != record.timeout_value {
            state.violated(
                "the time-out changed while the request was under way",
                now.cast_unsigned(),
            );
        }
    }
    if !record.information.is_null() {
        let mut now = [0; REMOTE];
        // SAFETY: As above.
        unsafe { look::remote_address(&mut now, record.information.cast()) };
        if now != record.remote {
            state.violated(
                "the remote address changed while the datagram was under way",
                0,
            );
        }
    }
}
