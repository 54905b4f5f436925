//! Information about files, directories and volumes.

use std::sync::Arc;

use super::calldown::Slot;
use super::context::Request;
use super::directory;
use super::dispatch::Fate;
use super::file::Fobx;
use super::low_io::Buffer;
use super::name;
use super::rule::{Rule, violation};
use crate::io::status;
use crate::layout::ke::UnicodeString;
use crate::mem::{self, peek, poke};

/// FILE_INFORMATION_CLASS: what RDBSS knows itself, and what FileAllInformation is made of.
const BASIC: u32 = 4;
const STANDARD: u32 = 5;
const INTERNAL: u32 = 6;
const EA: u32 = 7;
const NAME: u32 = 9;
const POSITION: u32 = 14;
const ALL: u32 = 18;
/// FILE_ALL_INFORMATION: where its parts are, and how large they are.
const PARTS: [(u32, usize, usize); 4] = [
    (BASIC, 0x00, 0x28),
    (STANDARD, 0x28, 0x18),
    (INTERNAL, 0x40, 0x08),
    (EA, 0x48, 0x04),
];
const ALL_POSITION: usize = 0x50;
const ALL_NAME: usize = 0x60;

/// Asks the mini-redirector to fill a buffer; how many bytes it used.
///
/// `Info.LengthRemaining` is the length of the buffer before, and what is left of it after the call.
pub(super) fn fill(
    request: &Request,
    slot: Slot,
    class: u32,
    buffer: usize,
    length: usize,
) -> (i32, usize) {
    let context = request.at;
    let room = i32::try_from(length).unwrap_or(i32::MAX);
    context.class().set(class);
    context.buffer().set(buffer);
    context.length_remaining().set(room);
    let status = request.call(slot);
    if is_error(status) {
        return (status, 0);
    }
    let left = context.length_remaining().get();
    if left < 0 || left > room {
        violation(
            Rule::TooMuch,
            peek(request.redirector.dispatch + slot.0),
            format!(
                "{} left LengthRemaining {left} of {room}, and returned {}",
                slot.1,
                status::name(status)
            ),
        );
    }
    (status, usize::try_from(room - left).unwrap_or(0))
}

/// Whether a request with this status has no output.
pub(super) fn is_error(status: i32) -> bool {
    status.cast_unsigned() >> 30 == 3
}

/// IRP_MJ_QUERY_INFORMATION.
pub(super) fn file_information(request: &Arc<Request>) -> Fate {
    let Some(fobx) = request.fobx() else {
        return Fate::status(status::INVALID_DEVICE_REQUEST);
    };
    let class = request.stack().parameter::<u32>(8).get();
    let (buffer, length) = (request.irp.system_buffer().get(), request.length() as usize);
    let (status, used) = match class {
        POSITION if length >= 8 => {
            poke(buffer, request.file().offset().get());
            (status::SUCCESS, 8)
        }
        NAME => full_name(&fobx, buffer, length),
        ALL => all(request, &fobx, buffer, length),
        _ => fill(request, Slot::QUERY_FILE, class, buffer, length),
    };
    Fate::Done(status, used)
}

/// FILE_NAME_INFORMATION: the length in bytes, then as much of the name as there is room for.
fn full_name(fobx: &Fobx, buffer: usize, length: usize) -> (i32, usize) {
    let fcb = &fobx.open.fcb;
    let name = [fcb.view.net_root.name.as_slice(), &fcb.name].concat();
    let bytes: Vec<u8> = name.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let Some(room) = length.checked_sub(4) else {
        return (status::INFO_LENGTH_MISMATCH, 0);
    };
    poke(buffer, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let fits = room.min(bytes.len());
    mem::write_bytes(buffer + 4, bytes.get(..fits).unwrap_or_default());
    let status = if fits < bytes.len() {
        status::BUFFER_OVERFLOW
    } else {
        status::SUCCESS
    };
    (status, 4 + fits)
}

/// FILE_ALL_INFORMATION, from its parts; access, mode and alignment are the I/O manager's.
fn all(request: &Request, fobx: &Fobx, buffer: usize, length: usize) -> (i32, usize) {
    if length < ALL_NAME + 4 {
        return (status::INFO_LENGTH_MISMATCH, 0);
    }
    mem::zero(buffer, length);
    for (class, at, bytes) in PARTS {
        let (status, _) = fill(request, Slot::QUERY_FILE, class, buffer + at, bytes);
        let optional = class == EA || class == INTERNAL;
        if is_error(status) && !optional {
            return (status, 0);
        }
    }
    poke(buffer + ALL_POSITION, request.file().offset().get());
    let (status, used) = full_name(fobx, buffer + ALL_NAME, length - ALL_NAME);
    (status, ALL_NAME + used)
}

/// IRP_MJ_SET_INFORMATION.
pub(super) fn set_file_information(request: &Arc<Request>) -> Fate {
    if request.fobx().is_none() {
        return Fate::status(status::INVALID_DEVICE_REQUEST);
    }
    let class = request.stack().parameter::<u32>(8).get();
    let (buffer, length) = (request.irp.system_buffer().get(), request.length() as usize);
    if class == POSITION && length >= 8 {
        request.file().offset().set(peek(buffer));
        return Fate::status(status::SUCCESS);
    }
    let (status, _) = fill(request, Slot::SET_FILE, class, buffer, length);
    Fate::status(status)
}

/// IRP_MJ_QUERY_VOLUME_INFORMATION.
pub(super) fn volume_information(request: &Arc<Request>) -> Fate {
    if request.fobx().is_none() {
        return Fate::status(status::INVALID_DEVICE_REQUEST);
    }
    let class = request.stack().parameter::<u32>(8).get();
    let (status, used) = fill(
        request,
        Slot::QUERY_VOLUME,
        class,
        request.irp.system_buffer().get(),
        request.length() as usize,
    );
    Fate::Done(status, used)
}

/// What a mini-redirector answers by itself, with nothing in a buffer of the context.
pub(super) fn plain(request: &Arc<Request>, slot: Slot) -> Fate {
    if request.fobx().is_none() {
        return Fate::status(status::INVALID_DEVICE_REQUEST);
    }
    Fate::status(request.call(slot))
}

/// IRP_MN_QUERY_DIRECTORY.
const QUERY_DIRECTORY: u8 = 1;
/// SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY, SL_INDEX_SPECIFIED.
const RESTART_SCAN: u8 = 1;
const SINGLE_ENTRY: u8 = 2;
const INDEX_SPECIFIED: u8 = 4;

/// IRP_MJ_DIRECTORY_CONTROL: the next entries of a directory.
pub(super) fn directory(request: &Arc<Request>) -> Fate {
    let (stack, context) = (request.stack(), request.at);
    let Some(fobx) = request.fobx() else {
        return Fate::status(status::INVALID_DEVICE_REQUEST);
    };
    if stack.minor().get() != QUERY_DIRECTORY {
        return Fate::status(status::NOT_SUPPORTED);
    }
    if !fobx.open.fcb.is_directory() {
        return Fate::status(status::INVALID_PARAMETER);
    }
    let fcb = Arc::clone(&fobx.open.fcb);
    fcb.lock.with(|| {
        let is_first = fobx.template.lock().is_none();
        if is_first {
            fobx.set_template(&pattern(stack.parameter::<usize>(8).get()));
        }
        let has = |flag: u8| u8::from(stack.flags().get() & flag != 0);
        context.file_index().set(stack.parameter(0x18).get());
        context.restart_scan().set(has(RESTART_SCAN));
        context.single_entry().set(has(SINGLE_ENTRY));
        context.index_specified().set(has(INDEX_SPECIFIED));
        context.initial_query().set(u8::from(is_first));
        let length = request.length() as usize;
        let user = request.irp.user_buffer().get();
        if user == 0 || length == 0 {
            return Fate::status(status::INVALID_PARAMETER);
        }
        let buffer = Buffer::lock(user, length);
        let class = stack.parameter::<u32>(0x10).get();
        let (status, used) = fill(
            request,
            Slot::QUERY_DIRECTORY,
            class,
            buffer.address,
            length,
        );
        if !is_error(status) && used != 0 {
            let bytes = mem::read_bytes(buffer.address, used);
            if let Err(why) = directory::check(class, status, &bytes) {
                violation(
                    Rule::DirectoryEntry,
                    peek(request.redirector.dispatch + Slot::QUERY_DIRECTORY.0),
                    format!("MRxQueryDirectory, class {class}: {why}"),
                );
            }
        }
        Fate::Done(status, used)
    })
}

/// The pattern of an enumeration; all if none is given.
fn pattern(string: usize) -> Vec<u16> {
    let given = if string == 0 {
        Vec::new()
    } else {
        name::read(UnicodeString(string))
    };
    if given.is_empty() {
        vec![u16::from(b'*')]
    } else {
        given
    }
}
