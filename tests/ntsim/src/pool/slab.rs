//! A plain size-class allocator over driver-visible memory, for benches and for more blocks than the host can guard.
//!
//! A thread keeps some free blocks of each small class for itself, so that two threads seldom meet at a list.

use super::{Contents, UNINITIALISED, block, image_number};
use crate::arena::{self, Kind};
use crate::{image, stop};
use core::cell::RefCell;
use parking_lot::Mutex;

/// Power-of-two classes from 16 bytes to 1 MiB.
const CLASSES: usize = 17;
/// Bytes mapped at once for small classes.
const CHUNK: usize = 1 << 20;

/// Classes that threads keep blocks of: up to 4 KiB.
const KEPT: usize = 9;
/// Blocks that a thread fetches, or hands on, at once; it keeps less than twice as many.
const BATCH: usize = 16;

static FREE: [Mutex<Vec<usize>>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];

/// Free blocks of one thread, by class.
struct Own([RefCell<Vec<usize>>; KEPT]);

thread_local! {
    static OWN: Own = const { Own([const { RefCell::new(Vec::new()) }; KEPT]) };
}

impl Own {
    fn hand_on(&self) {
        for (own, list) in self.0.iter().zip(&FREE) {
            list.lock().append(&mut own.borrow_mut());
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.hand_on();
    }
}

/// The current thread leaves, and lets the others have what it keeps.
pub(crate) fn hand_on() {
    // Without any, it has nothing.
    let _ = OWN.try_with(Own::hand_on);
}

/// Does something with the current thread's own blocks of a class, if it keeps any.
fn own<R>(class: usize, run: impl FnOnce(&mut Vec<usize>) -> R) -> Option<R> {
    let run = |own: &Own| Some(run(&mut own.0.get(class)?.borrow_mut()));
    OWN.try_with(run).ok().flatten()
}

fn class(bytes: usize) -> usize {
    (bytes.max(16).next_power_of_two().trailing_zeros() as usize).saturating_sub(4)
}

/// Uninitialised memory, aligned to 16 bytes, or to a page if it is a page or more.
pub(super) fn allocate(bytes: usize) -> usize {
    let class = class(bytes);
    let Some(list) = FREE.get(class) else {
        return arena::map(bytes, Kind::Pool);
    };
    if let Some(address) = own(class, Vec::pop).flatten() {
        return address;
    }
    let mut list = list.lock();
    if let Some(address) = list.pop() {
        own(class, |own| {
            let rest = list.len().saturating_sub(BATCH - 1);
            own.extend(list.drain(rest..));
        });
        return address;
    }
    let size = 16usize << class;
    let chunk = arena::map(CHUNK.max(size), Kind::Pool);
    list.extend((0..CHUNK.max(size) / size).rev().map(|n| chunk + n * size));
    list.pop().unwrap_or(chunk)
}

/// Takes memory back for reuse.
pub(super) fn free(address: usize, bytes: usize) {
    let class = class(bytes);
    let Some(list) = FREE.get(class) else {
        arena::unmap(address, bytes);
        return;
    };
    let kept = own(class, |own| {
        own.push(address);
        if own.len() >= 2 * BATCH {
            // Those that were used last stay.
            list.lock().extend(own.drain(..BATCH));
        }
    });
    if kept.is_none() {
        list.lock().push(address);
    }
}

/// In front of each object of the kernel's.
#[repr(C, align(16))]
struct ObjectHeader {
    bytes: usize,
    magic: u32,
}

const OBJECT: u32 = 0x6A62_4F4F;

/// Zeroed memory for an object or a packet of the kernel's, which no driver is charged for.
pub(crate) fn object(bytes: usize) -> usize {
    let bytes = bytes + size_of::<ObjectHeader>();
    let start = allocate(bytes);
    // SAFETY: The memory was just allocated with this length.
    unsafe { core::ptr::write_bytes(start as *mut u8, 0, bytes) };
    let header = ObjectHeader {
        bytes,
        magic: OBJECT,
    };
    // SAFETY: As above; it is aligned to 16 bytes.
    unsafe { (start as *mut ObjectHeader).write(header) };
    start + size_of::<ObjectHeader>()
}

/// Takes back what [`object`] gave. Returns false if it is not alive.
pub(crate) fn free_object(address: usize) -> bool {
    let start = address - size_of::<ObjectHeader>();
    // SAFETY: An object has a header in front; the callers know their objects.
    let header = unsafe { &mut *(start as *mut ObjectHeader) };
    if header.magic != OBJECT {
        return false;
    }
    header.magic = FREED;
    let bytes = header.bytes;
    free(start, bytes);
    true
}

/// In front of each block of the plain allocator.
#[repr(C, align(16))]
struct Header {
    bytes: usize,
    magic: u32,
    owner: u32,
    tag: u32,
}

const MAGIC: u32 = 0x6C6F_6F50;
const FREED: u32 = 0x6565_7246;

/// Room in front of a block: a page, if the block has to be page aligned.
const fn prefix(bytes: usize) -> usize {
    if bytes >= super::PAGE_ALIGNED_FROM {
        arena::PAGE
    } else {
        size_of::<Header>()
    }
}

pub(super) fn allocate_tagged(bytes: usize, tag: u32, contents: Contents, caller: usize) -> usize {
    let prefix = prefix(bytes);
    let address = allocate(bytes + prefix) + prefix;
    let owner = image_number(image::find(caller));
    // SAFETY: The prefix in front of the block is at least a header long and belongs to this block.
    unsafe {
        ((address - size_of::<Header>()) as *mut Header).write(Header {
            bytes,
            magic: MAGIC,
            owner,
            tag,
        })
    };
    let value = if contents == Contents::Pattern {
        UNINITIALISED
    } else {
        0
    };
    // SAFETY: The block was just allocated with this length.
    unsafe { core::ptr::write_bytes(address as *mut u8, value, bytes) };
    block::count(owner, tag, 1, i64::try_from(bytes).unwrap_or(0));
    address
}

pub(super) fn release_tagged(address: usize, caller: usize) {
    let header = (address - size_of::<Header>()) as *mut Header;
    // SAFETY: A block of this allocator has a header in front; anything else is a driver's mistake, which faults or shows
    // in the magic number.
    let header = unsafe { &mut *header };
    if header.magic != MAGIC {
        let sub = if header.magic == FREED { 0x13 } else { 0x10 };
        stop::violation(
            stop::Stop::verifier(sub),
            [address as u64, 0, 0],
            format!(
                "{} freed 0x{address:X}, which is not a live pool block",
                stop::describe(caller)
            ),
        );
    }
    header.magic = FREED;
    block::count(
        header.owner,
        header.tag,
        -1,
        -i64::try_from(header.bytes).unwrap_or(0),
    );
    let bytes = header.bytes;
    free(address - prefix(bytes), bytes + prefix(bytes));
}
