//! Look-aside lists. Their entries are taken and given back by inline code of the headers, which uses the list's head, and calls
//! the routines that the structure names when there is no entry, or too many.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::slist;
use crate::account::{self, Resource};
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::irql::{APC_LEVEL, DISPATCH_LEVEL};
use crate::mem::{layout, zero};
use crate::stop::{self, Stop};

const NON_PAGED: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5));
const PAGED: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0xe5));
/// Entries that a list keeps at first.
const DEPTH: u16 = 4;
/// Entries that it may keep.
const MOST: u16 = 256;
/// `POOL_TYPE` values.
const NON_PAGED_POOL: u32 = 0;
const PAGED_POOL: u32 = 1;
const NON_PAGED_POOL_NX: u32 = 512;
/// An entry holds the list's link while it is in it.
const LEAST_BYTES: u64 = 8;

layout! {
    /// GENERAL_LOOKASIDE, without what follows its counters.
    GeneralLookaside as List, size 0x60 {
        /// The entries: an SLIST_HEADER.
        0x00 head: [u64; 2],
        /// Entries kept.
        0x10 depth: u16,
        /// Entries kept at most.
        0x12 maximum_depth: u16,
        /// Counters of the inline code.
        0x14 counters: [u32; 4],
        /// POOL_TYPE.
        0x24 kind: u32,
        /// Pool tag.
        0x28 tag: u32,
        /// Bytes of an entry.
        0x2c bytes: u32,
        /// Allocates an entry.
        0x30 allocate: usize,
        /// Frees one.
        0x38 free: usize,
        /// The kernel's list of all lists.
        0x40 list: [usize; 2],
        /// More counters.
        0x50 rest: [u64; 2],
    }
}

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "ExInitializeNPagedLookasideList",
        args: 7,
        irql: NON_PAGED,
        run: |call| {
            let kind = if call.u32(3) & NON_PAGED_POOL_NX == 0 {
                NON_PAGED_POOL
            } else {
                NON_PAGED_POOL_NX
            };
            initialize(call, kind, call.arg(4), call.u32(5));
            0
        },
    },
    Routine {
        name: "ExInitializePagedLookasideList",
        args: 7,
        irql: PAGED,
        run: |call| {
            initialize(call, PAGED_POOL, call.arg(4), call.u32(5));
            0
        },
    },
    Routine {
        name: "ExInitializeLookasideListEx",
        args: 8,
        irql: NON_PAGED,
        run: |call| {
            initialize(call, call.u32(3), call.arg(5), call.u32(6));
            0
        },
    },
    Routine {
        name: "ExDeleteNPagedLookasideList",
        args: 1,
        irql: NON_PAGED,
        run: delete,
    },
    Routine {
        name: "ExDeletePagedLookasideList",
        args: 1,
        irql: PAGED,
        run: delete,
    },
    Routine {
        name: "ExDeleteLookasideListEx",
        args: 1,
        irql: NON_PAGED,
        run: delete,
    },
    Routine {
        name: "ExFlushLookasideListEx",
        args: 1,
        irql: NON_PAGED,
        run: |call| {
            flush(List(call.addr(0)));
            0
        },
    },
];

/// Initialised lists by address, with the code that did it.
static LISTS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// An initialised list in a range of memory.
pub(crate) fn active_in(start: usize, bytes: usize) -> Option<usize> {
    let lists = LISTS.lock();
    let mut inside = lists.range(start..start.saturating_add(bytes));
    inside.next().map(|(address, _)| *address)
}

/// Forgets the lists in a range of memory, which is gone.
pub(crate) fn forget(start: usize, bytes: usize) {
    while let Some(list) = active_in(start, bytes) {
        take(list);
    }
}

fn take(list: usize) -> bool {
    let caller = LISTS.lock().remove(&list);
    if let Some(caller) = caller {
        account::untrack(Resource::Callback, list as u64, caller);
    }
    caller.is_some()
}

fn initialize(call: &Call, kind: u32, bytes: u64, tag: u32) {
    let list = List(call.addr(0));
    if LISTS.lock().contains_key(&list.0) {
        stop::enforce(
            Stop::verifier(0xca),
            [list.0 as u64, 0, 0],
            format!("look-aside list {:#x} is initialised again", list.0),
        );
        take(list.0);
    }
    if bytes < LEAST_BYTES {
        stop::enforce(
            Stop::verifier(0xcd),
            [list.0 as u64, call.caller() as u64, bytes],
            format!("a look-aside list of entries of {bytes} bytes, which hold no link"),
        );
    }
    let given = |argument: usize, usual: &str| match call.addr(argument) {
        0 => gate::import(usual).unwrap_or_default(),
        routine => routine,
    };
    zero(list.0, List::SIZE);
    list.depth().set(DEPTH);
    list.maximum_depth().set(MOST);
    list.kind().set(kind);
    list.tag().set(tag);
    list.bytes()
        .set(u32::try_from(bytes.max(LEAST_BYTES)).unwrap_or(u32::MAX));
    list.allocate().set(given(1, "ExAllocatePoolWithTag"));
    list.free().set(given(2, "ExFreePool"));
    LISTS.lock().insert(list.0, call.caller());
    account::track(
        Resource::Callback,
        list.0 as u64,
        call.caller(),
        "look-aside list",
    );
}

fn delete(call: &Call) -> u64 {
    let list = List(call.addr(0));
    if take(list.0) {
        flush(list);
    } else {
        stop::enforce(
            Stop::verifier(0xcb),
            [list.0 as u64, 0, 0],
            format!("{}: {:#x} is no initialised list", call.routine(), list.0),
        );
    }
    0
}

/// Frees the entries, as the inline code would.
fn flush(list: List) {
    let free = list.free().get();
    while let Some(entry) = slist::take(list.head().address()) {
        if gate::name_of_thunk(free) == Some("ExFreePool") {
            crate::pool::release(entry, 0, 0);
        } else {
            // The second argument is the list, for routines of LOOKASIDE_LIST_EX; the older ones ignore it.
            gate::call_named("look-aside free", free, &[entry as u64, list.0 as u64]);
        }
    }
}
