//! Handles: the kernel's table, and one for all user processes.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::account::{self, Resource};
use crate::rules::Rules;
use crate::stop::{self, Stop};

/// Kernel handles have the upper bits set, so that no user handle equals one.
const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// NtCurrentProcess.
const CURRENT_PROCESS: u64 = u64::MAX;
/// NtCurrentThread.
const CURRENT_THREAD: u64 = u64::MAX - 1;

#[derive(Debug, Clone, Copy)]
struct Entry {
    object: usize,
    owner: usize,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Entry>,
    next: u64,
}

static TABLE: Mutex<Option<Table>> = Mutex::new(None);

fn with<R>(run: impl FnOnce(&mut Table) -> R) -> R {
    run(TABLE.lock().get_or_insert_default())
}

/// Whether this value belongs to the kernel's handle table.
pub fn is_kernel(handle: u64) -> bool {
    handle & KERNEL_BASE == KERNEL_BASE && handle < CURRENT_THREAD
}

/// Opens a handle on an object; the handle has a reference of its own. `owner` is the driver code that must close it, or 0.
pub fn open(object: usize, kernel: bool, owner: usize) -> u64 {
    super::reference(object, 0);
    super::handle_opened(object);
    let handle = with(|table| {
        table.next += 4;
        let handle = if kernel {
            KERNEL_BASE | table.next
        } else {
            table.next
        };
        table.open.insert(handle, Entry { object, owner });
        handle
    });
    if owner != 0 {
        account::track(
            Resource::Handle,
            handle,
            owner,
            format!("handle on {}", super::name(object)),
        );
    }
    handle
}

/// The object of a handle.
pub fn object(handle: u64) -> Option<usize> {
    match handle {
        CURRENT_PROCESS => Some(crate::ps::system_process()),
        CURRENT_THREAD => Some(crate::thread::current().object),
        _ => with(|table| table.open.get(&handle).map(|entry| entry.object)),
    }
}

/// Closes a handle; false if it is not open.
pub fn close(handle: u64) -> bool {
    let Some(entry) = with(|table| table.open.remove(&handle)) else {
        return false;
    };
    if entry.owner != 0 {
        account::untrack(Resource::Handle, handle, entry.owner);
    }
    super::handle_closed(entry.object);
    super::dereference(entry.object, 0);
    true
}

/// Stops for a bad handle in a call that a kernel handle was meant for (INVALID_KERNEL_HANDLE).
/// With that rule off: the status of such a call.
pub fn bad_kernel_handle(handle: u64, routine: &str) -> u64 {
    if Rules::of(Stop::plain(0x93)).is_on() {
        stop::bug_check(
            0x93,
            [handle, 0, 0, 0],
            format!("{routine}: handle {handle:#x} is not open (closed twice?)"),
        );
    }
    STATUS_INVALID_HANDLE
}

/// What a call gets whose handle is not open.
pub(super) const STATUS_INVALID_HANDLE: u64 = 0xc000_0008;
