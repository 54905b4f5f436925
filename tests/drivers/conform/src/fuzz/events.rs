//! What the transport does of its own: events with any arguments, completions with any result; at once, later, or inside
//! the dispatch routine of a request.

use alloc::{format, vec, vec::Vec};
use core::{ffi::c_void, ptr};

use conform_ioctl::{FuzzCount, Operation, Step};
use wdk_sys::NTSTATUS;

use super::{
    later::{self, END_ALL, When},
    ledger::{count, must},
};
use crate::{
    nt::{irql, status},
    transport::{
        self, Ends, FileKind, Kind, Script, TRANSPORT,
        hostile::{self, Event, Target},
    },
};

/// Requests that a step can name.
const KINDS: [Kind; 16] = [
    Kind::Connect,
    Kind::Release,
    Kind::Abort,
    Kind::Send,
    Kind::Receive,
    Kind::ReceiveDatagram,
    Kind::SendDatagram,
    Kind::Query,
    Kind::Associate,
    Kind::SetHandler,
    Kind::Open(FileKind::Control),
    Kind::Open(FileKind::Address),
    Kind::Open(FileKind::Endpoint),
    Kind::Receive,
    Kind::Send,
    Kind::Connect,
];

fn kind(choice: u8) -> Kind {
    KINDS
        .get(usize::from(choice & 15))
        .copied()
        .unwrap_or(Kind::Connect)
}

/// A status that a transport may give: no success that means "later", and not -1.
fn result(choice: u32) -> NTSTATUS {
    match choice & 7 {
        0..=3 => status::SUCCESS,
        4 => status::CONNECTION_ABORTED,
        5 => status::IO_TIMEOUT,
        6 => status::BUFFER_OVERFLOW,
        _ => ((choice | 0xC000_0000) & 0xEFFF_FFFF).cast_signed(),
    }
}

/// Does what a step says when it says so.
pub(super) fn arrange(step: &Step) {
    match later::when(step.also) {
        When::Now => perform(step),
        When::After(delay) => later::after(delay, *step),
        When::With(kind) => {
            later::with(kind, *step);
            let ends = Ends {
                abort: true,
                cancel: step.b & 1 == 0,
            };
            TRANSPORT.update(|state| state.script(kind, Script::Hook(ends, hook_of(kind))));
        }
    }
}

fn hook_of(kind: Kind) -> fn(usize) {
    match kind {
        Kind::Connect => |_| with(Kind::Connect),
        Kind::Release => |_| with(Kind::Release),
        Kind::Abort => |_| with(Kind::Abort),
        Kind::Send => |_| with(Kind::Send),
        Kind::Receive => |_| with(Kind::Receive),
        Kind::ReceiveDatagram => |_| with(Kind::ReceiveDatagram),
        Kind::SendDatagram => |_| with(Kind::SendDatagram),
        _ => |_| with(Kind::Query),
    }
}

fn with(kind: Kind) {
    if let Some(step) = later::due_with(kind) {
        perform(&step);
    }
}

/// Changes what becomes of requests.
pub(super) fn prescribe(step: &Step) {
    let ends = Ends {
        abort: step.b & 1 != 0,
        cancel: step.b & 2 != 0,
    };
    let script = match step.a & 0x30 {
        0 | 0x10 => Script::Inline(result(step.a)),
        _ => Script::Pend(ends),
    };
    TRANSPORT.update(|state| {
        state.complete_at = if step.b & 4 == 0 {
            irql::DISPATCH
        } else {
            irql::PASSIVE
        };
        state.script(kind(step.with), script);
    });
}

/// Carries an event or a completion out.
pub(super) fn perform(step: &Step) {
    if *step == END_ALL {
        transport::end_all(status::IO_TIMEOUT, |_| true);
        return;
    }
    let level = if step.also & 0x20 == 0 {
        irql::DISPATCH
    } else {
        irql::PASSIVE
    };
    irql::at(level, || match step.operation() {
        Operation::Complete => complete(step),
        _ => indicate(step),
    });
}

fn complete(step: &Step) {
    let information = match step.b & 3 {
        0 => 0,
        1 => u64::from(step.b >> 2) & 0xFFF,
        2 => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    let kind = (step.with < 0x80).then_some(kind(step.with));
    if hostile::complete_with(kind, result(step.a), information) {
        count(FuzzCount::Completions);
    }
}

/// A signed length with memory behind it, as far as it is one.
fn piece(choice: u32) -> (i32, Vec<u8>) {
    match choice & 7 {
        0..=3 => (0, Vec::new()),
        4 => (-1, Vec::new()),
        5 => (i32::MIN, Vec::new()),
        _ => {
            let length = choice >> 3 & 0x3FF;
            (length.cast_signed(), vec![0x66; length as usize])
        }
    }
}

fn start_of(bytes: &mut Vec<u8>) -> *mut c_void {
    if bytes.is_empty() {
        ptr::null_mut()
    } else {
        bytes.as_mut_ptr().cast()
    }
}

fn indicate(step: &Step) {
    let operation = step.operation();
    let of_address = matches!(operation, Operation::Error | Operation::Datagram)
        || (operation == Operation::SendPossible && step.with & 1 != 0);
    let file_kind = if of_address {
        FileKind::Address
    } else {
        FileKind::Endpoint
    };
    let Some(file) = hostile::file_of_kind(file_kind, usize::from(step.on & 15)) else {
        return;
    };
    let (token, is_closed) = TRANSPORT.read(|state| {
        state
            .file(file)
            .map_or((0, true), |entry| (entry.token.addr(), !entry.open))
    });
    let (context, token) = match step.on >> 4 {
        10 => (None, Some(0)),
        11 => (None, Some(step.c as usize)),
        12 => (None, Some(token ^ (1 << 32))),
        13 => (None, Some(token ^ 1)),
        14 => (Some(0), None),
        15 => (Some(token), None),
        _ => (None, None),
    };
    let target = Target {
        file,
        context,
        token,
    };
    // Exactly as many as indicated, so that one more is noticed.
    let mut bytes = vec![0x44; (step.a & 0xFFFF) as usize];
    let (mut first, mut second) = (piece(step.c), piece(step.c >> 16));
    let event = match operation {
        Operation::Datagram => Event::Datagram {
            source: (first.0, start_of(&mut first.1)),
            options: (second.0, start_of(&mut second.1)),
            flags: step.c >> 24,
            bytes: &mut bytes,
            available: step.b,
        },
        Operation::Disconnect => Event::Disconnect {
            data: (first.0, start_of(&mut first.1)),
            information: (second.0, start_of(&mut second.1)),
            flags: step.a,
        },
        Operation::Error => Event::Error(step.a.cast_signed()),
        Operation::SendPossible => Event::SendPossible(step.a),
        _ => Event::Receive {
            expedited: step.with & 1 != 0,
            flags: step.c,
            bytes: &mut bytes,
            available: step.b,
        },
    };
    let stale = match operation {
        // A token that differs in one bit may name another circuit.
        Operation::Receive => match step.on >> 4 {
            10..=12 => true,
            13 => false,
            _ => is_closed,
        },
        Operation::Datagram => is_closed || step.on >> 4 >= 14,
        _ => false,
    };
    if let Some(answer) = hostile::call(target, event) {
        count(FuzzCount::Indications);
        let dropped = answer.status == status::DATA_NOT_ACCEPTED && answer.taken == 0;
        must(dropped || !stale, || {
            format!("data with a token that names nothing: {answer:x?}")
        });
    }
}
