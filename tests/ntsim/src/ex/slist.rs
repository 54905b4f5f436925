//! Interlocked lists: SLISTs and the ExInterlocked routines, under one lock of the host.

use parking_lot::Mutex;

use crate::gate::{Call, IrqlRule, Routine};
use crate::mem::{peek, poke};

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "InitializeSListHead",
        args: 1,
        irql: IrqlRule::Any,
        run: initialize,
    },
    Routine {
        name: "ExpInterlockedPushEntrySList",
        args: 2,
        irql: IrqlRule::Any,
        run: push,
    },
    Routine {
        name: "ExpInterlockedPopEntrySList",
        args: 1,
        irql: IrqlRule::Any,
        run: pop,
    },
    Routine {
        name: "ExpInterlockedFlushSList",
        args: 1,
        irql: IrqlRule::Any,
        run: flush,
    },
    Routine {
        name: "ExQueryDepthSList",
        args: 1,
        irql: IrqlRule::Any,
        run: |call| u64::from(peek::<u16>(call.addr(0))),
    },
    Routine {
        name: "ExInterlockedInsertHeadList",
        args: 3,
        irql: IrqlRule::Any,
        run: insert_head,
    },
    Routine {
        name: "ExInterlockedInsertTailList",
        args: 3,
        irql: IrqlRule::Any,
        run: insert_tail,
    },
    Routine {
        name: "ExInterlockedRemoveHeadList",
        args: 2,
        irql: IrqlRule::Any,
        run: remove_head,
    },
    Routine {
        name: "ExInterlockedAddLargeInteger",
        args: 3,
        irql: IrqlRule::Any,
        run: add_large,
    },
    Routine {
        name: "ExInterlockedAddUlong",
        args: 3,
        irql: IrqlRule::Any,
        run: add_ulong,
    },
];

static LOCK: Mutex<()> = Mutex::new(());

fn initialize(call: &Call) -> u64 {
    poke(call.addr(0), [0_u64; 2]);
    0
}

/// The first entry; the low four bits of the second word belong to the header.
fn first(head: usize) -> usize {
    peek::<usize>(head + 8) & !0xf
}

fn set(head: usize, entry: usize, depth: u16) {
    poke(head, depth);
    poke(head + 8, entry);
}

fn push(call: &Call) -> u64 {
    let _guard = LOCK.lock();
    let (head, entry) = (call.addr(0), call.addr(1));
    let old = first(head);
    poke(entry, old);
    set(head, entry, peek::<u16>(head).wrapping_add(1));
    old as u64
}

fn pop(call: &Call) -> u64 {
    take(call.addr(0)).unwrap_or(0) as u64
}

/// Takes the first entry off a list.
pub(super) fn take(head: usize) -> Option<usize> {
    let _guard = LOCK.lock();
    let entry = first(head);
    if entry == 0 {
        return None;
    }
    set(head, peek(entry), peek::<u16>(head).wrapping_sub(1));
    Some(entry)
}

fn flush(call: &Call) -> u64 {
    let _guard = LOCK.lock();
    let entry = first(call.addr(0));
    set(call.addr(0), 0, 0);
    entry as u64
}

fn link(before: usize, entry: usize, after: usize) {
    poke(entry, [after, before]);
    poke(before, entry);
    poke(after + 8, entry);
}

fn insert_head(call: &Call) -> u64 {
    let _guard = LOCK.lock();
    let head = call.addr(0);
    let next: usize = peek(head);
    link(head, call.addr(1), next);
    if next == head { 0 } else { next as u64 }
}

fn insert_tail(call: &Call) -> u64 {
    let _guard = LOCK.lock();
    let head = call.addr(0);
    let last: usize = peek(head + 8);
    link(last, call.addr(1), head);
    if last == head { 0 } else { last as u64 }
}

fn remove_head(call: &Call) -> u64 {
    let _guard = LOCK.lock();
    let head = call.addr(0);
    let entry: usize = peek(head);
    if entry == head {
        return 0;
    }
    let next: usize = peek(entry);
    poke(head, next);
    poke(next + 8, head);
    entry as u64
}

fn add_large(call: &Call) -> u64 {
    let _guard = LOCK.lock();
    let old: u64 = peek(call.addr(0));
    poke(call.addr(0), old.wrapping_add(call.arg(1)));
    old
}

fn add_ulong(call: &Call) -> u64 {
    let _guard = LOCK.lock();
    let old: u32 = peek(call.addr(0));
    poke(call.addr(0), old.wrapping_add(call.u32(1)));
    old.into()
}
