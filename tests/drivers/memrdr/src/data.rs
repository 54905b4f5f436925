//! Reads and queries.

use core::ptr;

use wdk_sys::{
    NTSTATUS, STATUS_BUFFER_OVERFLOW, STATUS_BUFFER_TOO_SMALL, STATUS_CANCELLED,
    STATUS_END_OF_FILE, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
    STATUS_MEDIA_WRITE_PROTECTED, STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE, STATUS_PENDING,
    STATUS_SUCCESS,
};

use crate::{
    driver::device,
    file::node_of,
    rdbss::{
        DELAYED, FOBX_TEMPLATE, OBJECT_CONTEXT, RxDispatchToWorkerThread, RxLowIoCompletion,
        breaks, context, peek, poke, rx, text, write,
    },
    tree::{Node, is_ascii},
};

/// MDL_MAPPED_TO_SYSTEM_VA and MDL_SOURCE_IS_NONPAGED_POOL; where the flags and the address are.
const MAPPED: u16 = 0x5;
const MDL_FLAGS: usize = 0x0A;
const MDL_ADDRESS: usize = 0x18;
/// MmCached and NormalPagePriority.
const CACHED: i32 = 1;
const NORMAL: u32 = 16;
/// FILE_ATTRIBUTE_DIRECTORY and _NORMAL.
const ATTRIBUTE_DIRECTORY: u32 = 0x10;
const ATTRIBUTE_NORMAL: u32 = 0x80;

/// The address of an MDL's bytes in system space (MmGetSystemAddressForMdlSafe), or 0.
fn address_of(mdl: usize) -> usize {
    if peek::<u16>(mdl.wrapping_add(MDL_FLAGS)) & MAPPED != 0 {
        return peek(mdl.wrapping_add(MDL_ADDRESS));
    }
    rx!(
        wdk_sys::ntddk::MmMapLockedPagesSpecifyCache,
        mdl as *mut wdk_sys::MDL,
        0,
        CACHED,
        ptr::null_mut(),
        0,
        NORMAL,
    ) as usize
}

/// MRxLowIOSubmit[READ].
pub(crate) unsafe extern "C" fn read(at: usize) -> NTSTATUS {
    match node_of(at) {
        Some(node @ Node::Big) => {
            if breaks("read_completed_twice") {
                // Here, where the request cannot be over in between.
                complete(at, read_node(at, node));
                return STATUS_PENDING;
            }
            if rx!(RxDispatchToWorkerThread, device(), DELAYED, read_worker, at) < 0 {
                return wdk_sys::STATUS_INSUFFICIENT_RESOURCES;
            }
            STATUS_PENDING
        }
        Some(Node::Stuck) => {
            let routine = cancelled as *const () as usize;
            poke(at.wrapping_add(context::CANCEL_ROUTINE), routine);
            STATUS_PENDING
        }
        Some(node) => {
            let status = read_node(at, node);
            if breaks("read_completed_and_returned") {
                complete(at, status);
            }
            status
        }
        None => STATUS_INVALID_DEVICE_REQUEST,
    }
}

unsafe extern "C" fn read_worker(at: usize) {
    let status = node_of(at).map_or(STATUS_INVALID_DEVICE_REQUEST, |node| read_node(at, node));
    complete(at, status);
    if breaks("read_context_touched") {
        // By then the request is over.
        crate::control::pause();
        poke(at.wrapping_add(context::INFORMATION), 0_usize);
    }
}

unsafe extern "C" fn cancelled(at: usize) -> NTSTATUS {
    complete(at, STATUS_CANCELLED);
    STATUS_SUCCESS
}

fn complete(at: usize, status: NTSTATUS) {
    let status = if breaks("completed_as_pending") {
        STATUS_PENDING
    } else {
        status
    };
    poke(at.wrapping_add(context::STATUS), status);
    rx!(RxLowIoCompletion, at);
    if breaks("read_completed_twice") {
        rx!(RxLowIoCompletion, at);
    }
}

fn read_node(at: usize, node: Node) -> NTSTATUS {
    let offset: u64 = peek(at.wrapping_add(context::OFFSET));
    let count: u32 = peek(at.wrapping_add(context::COUNT));
    let left = node.bytes().saturating_sub(offset);
    if left == 0 {
        return STATUS_END_OF_FILE;
    }
    let count = u32::try_from(left).unwrap_or(u32::MAX).min(count);
    let buffer = address_of(peek(at.wrapping_add(context::MDL)));
    for n in 0..count {
        poke(
            buffer.wrapping_add(n as usize),
            node.byte(offset + u64::from(n)),
        );
    }
    let more = u64::from(breaks("read_of_too_much")) << 32;
    poke(
        at.wrapping_add(context::INFORMATION),
        u64::from(count) + more,
    );
    STATUS_SUCCESS
}

/// MRxLowIOSubmit[WRITE].
pub(crate) unsafe extern "C" fn write_protected(_at: usize) -> NTSTATUS {
    STATUS_MEDIA_WRITE_PROTECTED
}

/// MRxLowIOSubmit[FSCTL]: gives the input back.
pub(crate) unsafe extern "C" fn echo(at: usize) -> NTSTATUS {
    let (input, output): (u32, u32) = (
        peek(at.wrapping_add(context::INPUT_LENGTH)),
        peek(at.wrapping_add(context::OUTPUT_LENGTH)),
    );
    if output < input {
        return STATUS_BUFFER_TOO_SMALL;
    }
    // One buffer for both: METHOD_BUFFERED.
    poke(at.wrapping_add(context::INFORMATION), input as usize);
    STATUS_SUCCESS
}

/// How much is left of the buffer.
fn leave(at: usize, bytes: usize) {
    let room: i32 = peek(at.wrapping_add(context::REMAINING));
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    let bytes = if breaks("query_of_too_much") {
        room + 1
    } else {
        bytes
    };
    poke(at.wrapping_add(context::REMAINING), room - bytes);
}

/// The buffer of a query, and its length.
fn buffer(at: usize) -> (usize, usize) {
    let room: i32 = peek(at.wrapping_add(context::REMAINING));
    (
        peek(at.wrapping_add(context::BUFFER)),
        usize::try_from(room).unwrap_or(0),
    )
}

fn attributes(node: Node) -> u32 {
    if node.is_directory() {
        ATTRIBUTE_DIRECTORY
    } else {
        ATTRIBUTE_NORMAL
    }
}

/// MRxQueryFileInfo: basic, standard, internal, EA, network open.
pub(crate) unsafe extern "C" fn query_file(at: usize) -> NTSTATUS {
    let Some(node) = node_of(at) else {
        return STATUS_INVALID_DEVICE_REQUEST;
    };
    let (buffer, room) = buffer(at);
    let class: u32 = peek(at.wrapping_add(context::CLASS));
    let bytes = match class {
        4 => 0x28,
        5 => 0x18,
        6 => 8,
        7 => 4,
        34 => 0x38,
        _ => return STATUS_INVALID_PARAMETER,
    };
    if room < bytes {
        return STATUS_BUFFER_TOO_SMALL;
    }
    write(buffer, &[0; 0x38][..bytes]);
    match class {
        4 => poke(buffer + 0x20, attributes(node)),
        5 => {
            poke(buffer, node.bytes().next_multiple_of(4096));
            poke(buffer + 8, node.bytes());
            poke(buffer + 0x10, 1_u32);
            poke(buffer + 0x15, u8::from(node.is_directory()));
        }
        6 => poke(buffer, node.id()),
        34 => {
            poke(buffer + 0x20, node.bytes().next_multiple_of(4096));
            poke(buffer + 0x28, node.bytes());
            poke(buffer + 0x30, attributes(node));
        }
        _ => {}
    }
    leave(at, bytes);
    STATUS_SUCCESS
}

/// MRxQueryVolumeInfo: FileFsSizeInformation; everything else only tells that there is more.
pub(crate) unsafe extern "C" fn query_volume(at: usize) -> NTSTATUS {
    let (buffer, room) = buffer(at);
    if room < 0x18 {
        return STATUS_BUFFER_TOO_SMALL;
    }
    if peek::<u32>(at.wrapping_add(context::CLASS)) != 3 {
        write(buffer, &[0x55; 0x18]);
        leave(at, 0x18);
        return STATUS_BUFFER_OVERFLOW;
    }
    poke(buffer, [1_000_u64, 0]);
    poke(buffer + 0x10, [8_u32, 512]);
    leave(at, 0x18);
    STATUS_SUCCESS
}

/// Where an entry has its name's length, and its name.
fn layout(class: u32) -> Option<(usize, usize)> {
    match class {
        12 => Some((0x08, 0x0C)),
        37 => Some((0x3C, 0x68)),
        _ => None,
    }
}

/// MRxQueryDirectory.
pub(crate) unsafe extern "C" fn query_directory(at: usize) -> NTSTATUS {
    let fobx: usize = peek(at.wrapping_add(context::FOBX));
    let class: u32 = peek(at.wrapping_add(context::CLASS));
    let Some(directory) = node_of(at) else {
        return STATUS_INVALID_DEVICE_REQUEST;
    };
    let Some(layout) = layout(class) else {
        return STATUS_INVALID_PARAMETER;
    };
    let pattern = text(fobx.wrapping_add(FOBX_TEMPLATE));
    let (buffer, room) = buffer(at);
    let place = fobx.wrapping_add(OBJECT_CONTEXT);
    let restart = peek::<u8>(at.wrapping_add(context::RESTART_SCAN)) != 0;
    let mut position: usize = if restart { 0 } else { peek(place) };
    let is_first = position == 0;
    let single = peek::<u8>(at.wrapping_add(context::SINGLE_ENTRY)) != 0;
    let (mut used, mut last) = (0_usize, None);
    while let Some(child) = directory.child(position) {
        if matches(pattern, child) {
            let begin =
                used.next_multiple_of(8) + usize::from(breaks("entry_misaligned") && used != 0) * 4;
            let (_, length) = child.name();
            let end = begin + layout.1 + length * 2;
            if end > room {
                break;
            }
            if let Some(last) = last {
                poke(buffer + last, u32::try_from(begin - last).unwrap_or(0));
            }
            put(buffer + begin, class, layout, child);
            (used, last) = (end, Some(begin));
        }
        position += 1;
        if single && last.is_some() {
            break;
        }
    }
    poke(place, position);
    if last.is_none() {
        return match (directory.child(position).is_some(), is_first) {
            (true, _) => STATUS_BUFFER_OVERFLOW,
            (false, true) => STATUS_NO_SUCH_FILE,
            (false, false) => STATUS_NO_MORE_FILES,
        };
    }
    let short = usize::from(breaks("entry_beyond_the_buffer")) * 2;
    leave(at, used - short);
    STATUS_SUCCESS
}

/// `*`, or one name.
fn matches(pattern: &[u16], node: Node) -> bool {
    let (name, length) = node.name();
    let name = name
        .get(..length)
        .and_then(|name| core::str::from_utf8(name).ok());
    is_ascii(pattern, "*") || name.is_some_and(|name| is_ascii(pattern, name))
}

fn put(entry: usize, class: u32, (length_at, name_at): (usize, usize), node: Node) {
    for n in 0..name_at {
        poke(entry + n, 0_u8);
    }
    let (name, length) = node.name();
    if class == 37 {
        poke(entry + 0x28, node.bytes());
        poke(entry + 0x30, node.bytes().next_multiple_of(4096));
        poke(entry + 0x38, attributes(node));
        poke(entry + 0x60, node.id());
    }
    poke(entry + length_at, u32::try_from(length * 2).unwrap_or(0));
    for (n, byte) in name.iter().take(length).enumerate() {
        poke(entry + name_at + n * 2, u16::from(*byte));
    }
}
