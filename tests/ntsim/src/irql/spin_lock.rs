//! Spin locks.
//!
//! A lock's word in driver memory is the lock; it holds the owner's KTHREAD with bit 0 set (the word is opaque to drivers), so
//! that the owner can be named. What a thread holds, and the IRQL it came from, is in a host table.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::{DISPATCH_LEVEL, current, lower_to, order, set};
use crate::explore;
use crate::gate::{Call, IrqlRule, Routine};
use crate::layout::ke::LockQueueHandle;
use crate::own::Own;
use crate::stop::{self, Stop};
use crate::thread;

const ACQUIRE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0x42));
const ACQUIRE_AT_DPC: IrqlRule = IrqlRule::Exactly(DISPATCH_LEVEL, Stop::verifier(0x40));
const RELEASE_FROM_DPC: IrqlRule = IrqlRule::Exactly(DISPATCH_LEVEL, Stop::verifier(0x41));
const RELEASE: IrqlRule = IrqlRule::Exactly(DISPATCH_LEVEL, Stop::verifier(0x32));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeInitializeSpinLock",
        args: 1,
        irql: IrqlRule::Any,
        run: initialize,
    },
    Routine {
        name: "KeAcquireSpinLockRaiseToDpc",
        args: 1,
        irql: ACQUIRE,
        run: |call| acquire_for(call, true).into(),
    },
    Routine {
        name: "KeReleaseSpinLock",
        args: 2,
        irql: RELEASE,
        run: release_lock,
    },
    Routine {
        name: "KeAcquireSpinLockAtDpcLevel",
        args: 1,
        irql: ACQUIRE_AT_DPC,
        run: acquire_at_dpc,
    },
    Routine {
        name: "KeReleaseSpinLockFromDpcLevel",
        args: 1,
        irql: RELEASE_FROM_DPC,
        run: release_from_dpc,
    },
    Routine {
        name: "KeTryToAcquireSpinLockAtDpcLevel",
        args: 1,
        irql: ACQUIRE_AT_DPC,
        run: try_acquire,
    },
    Routine {
        name: "KeTestSpinLock",
        args: 1,
        irql: IrqlRule::Any,
        run: |call| u64::from(word(call.addr(0)).load(Ordering::Relaxed) == 0),
    },
    Routine {
        name: "KeAcquireInStackQueuedSpinLock",
        args: 2,
        irql: ACQUIRE,
        run: acquire_queued,
    },
    Routine {
        name: "KeReleaseInStackQueuedSpinLock",
        args: 1,
        irql: RELEASE,
        run: release_queued,
    },
    Routine {
        name: "KeAcquireInStackQueuedSpinLockAtDpcLevel",
        args: 2,
        irql: ACQUIRE_AT_DPC,
        run: acquire_queued_at_dpc,
    },
    Routine {
        name: "KeReleaseInStackQueuedSpinLockFromDpcLevel",
        args: 1,
        irql: RELEASE_FROM_DPC,
        run: release_queued_from_dpc,
    },
];

/// A spin lock that the current thread holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    lock: usize,
    /// The IRQL to which the release must return; none for acquisitions at DISPATCH_LEVEL.
    old_irql: Option<u8>,
}

thread_local! {
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

/// Stops if the current thread holds a spin lock: no wait is allowed then (0xC4/3B).
pub fn require_no_lock_to_wait(what: &str) {
    require_no_lock_or(Stop::verifier(0x3B), what);
}

/// Stops if the current thread holds a spin lock: no IRP or callback is allowed then, which is stricter than Windows.
pub fn require_no_lock(what: &str) {
    require_no_lock_or(Own::LockHeld.stop(), what);
}

fn require_no_lock_or(stop: Stop, what: &str) {
    if let Some(held) = HELD.with_borrow(|held| held.last().copied()) {
        let irql = current();
        stop::violation(
            stop,
            [irql.into(), held.lock as u64, 0],
            format!("{what} while spin lock {:#x} is held", held.lock),
        );
    }
}

/// A spin lock in a memory range that the current thread holds.
pub(crate) fn held_in(start: usize, length: usize) -> Option<usize> {
    let range = start..start.saturating_add(length);
    HELD.with_borrow(|held| {
        held.iter()
            .map(|held| held.lock)
            .find(|lock| range.contains(lock))
    })
}

/// How many spin locks the current thread holds.
pub(super) fn held_count() -> usize {
    HELD.with_borrow(Vec::len)
}

fn word(lock: usize) -> &'static AtomicUsize {
    // SAFETY: The address is the driver's spin lock, 8 aligned (checked by the callers); every access to it is atomic.
    unsafe { &*(lock as *const AtomicUsize) }
}

fn initialize(call: &Call) -> u64 {
    order::forget(call.addr(0), 1);
    order::require_resident(call, call.addr(0));
    word(aligned(call.addr(0))).store(0, Ordering::Release);
    0
}

fn aligned(lock: usize) -> usize {
    if !lock.is_multiple_of(8) || lock == 0 {
        stop::bug_check(
            0xc4,
            [0xe1, lock as u64, 0, 0],
            format!("{lock:#x} is not a spin lock (not aligned or null)"),
        );
    }
    lock
}

fn take(lock: usize) -> bool {
    let mine = thread::current().object | 1;
    word(lock)
        .compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed)
        .is_ok()
}

/// Acquires a spin lock for the current thread; returns the IRQL before.
fn acquire(lock: usize, raise: bool) -> u8 {
    let lock = aligned(lock);
    if HELD.with_borrow(|held| held.iter().any(|held| held.lock == lock)) {
        stop::enforce(
            Stop::verifier(0x1000),
            [lock as u64, 0, 0],
            format!("spin lock {lock:#x} is acquired twice by one thread"),
        );
    }
    order::acquiring(lock);
    let old = current();
    set(DISPATCH_LEVEL);
    let mut spins = 0_u32;
    let mut since = None;
    while !take(lock) {
        if explore::on() {
            explore::block_on_lock(lock);
            continue;
        }
        spins += 1;
        if spins > 64 {
            std::thread::yield_now();
        }
        if spins.is_multiple_of(1024)
            && since.get_or_insert_with(Instant::now).elapsed() > crate::options().spin_limit
        {
            stuck(lock);
        }
    }
    HELD.with_borrow_mut(|held| {
        held.push(Held {
            lock,
            old_irql: raise.then_some(old),
        })
    });
    order::acquired(lock);
    old
}

/// Who holds a lock, for people.
pub(crate) fn owner_of(lock: usize) -> String {
    let value = word(lock).load(Ordering::Relaxed);
    match thread::by_object(value & !1) {
        Some(owner) => format!("held by thread {} \"{}\"", owner.id, owner.name),
        None => format!("its word is {value:#x}: not initialised?"),
    }
}

fn stuck(lock: usize) -> ! {
    let value = word(lock).load(Ordering::Relaxed);
    match thread::by_object(value & !1) {
        Some(owner) => stop::bug_check(
            0x133,
            [0, lock as u64, owner.object as u64, 0],
            format!(
                "spin lock {lock:#x} is never released by its holder, thread {} \"{}\"",
                owner.id, owner.name
            ),
        ),
        None => stop::bug_check(
            0xc4,
            [0x1002, lock as u64, value as u64, 0],
            format!("spin lock {lock:#x} was never initialised: its word is {value:#x}"),
        ),
    }
}

/// Releases a spin lock of the current thread, checking that it was acquired in the matching way.
fn release(lock: usize, new_irql: Option<u8>) {
    let found = HELD.with_borrow_mut(|held| {
        held.iter()
            .rposition(|held| held.lock == lock)
            .map(|index| held.remove(index))
    });
    let Some(found) = found else {
        let value = word(aligned(lock)).load(Ordering::Relaxed);
        let other = thread::by_object(value & !1);
        let owner = other.as_ref().map_or("nobody".to_owned(), |owner| {
            format!("thread {} \"{}\"", owner.id, owner.name)
        });
        let sub = if other.is_some() { 0x1004 } else { 0x1007 };
        let text = format!(
            "spin lock {lock:#x} is released by a thread that does not hold it; owner: {owner}"
        );
        stop::bug_check(0xc4, [sub, lock as u64, 0, 0], text);
    };
    if let (Some(new), Some(old)) = (new_irql, found.old_irql)
        && new != old
    {
        let text = format!(
            "spin lock {lock:#x} was acquired at IRQL {old} and is released with NewIrql {new}"
        );
        let rest = [old.into(), new.into(), lock as u64];
        stop::enforce(Stop::verifier(0x20015), rest, text);
    }
    if new_irql.is_some() && found.old_irql.is_none() && new_irql != Some(DISPATCH_LEVEL) {
        stop::bug_check(
            0xc4,
            [0x35, 0, 0, lock as u64],
            "a lock acquired at DPC level is released to a lower IRQL",
        );
    }
    order::released(lock);
    // The last touch of the lock's memory: from here on another thread may own it and free it.
    word(lock).store(0, Ordering::Release);
    if explore::on() {
        explore::lock_released(lock);
    }
    if let Some(new) = new_irql {
        if new < DISPATCH_LEVEL {
            require_no_lock("a spin lock release to below DISPATCH_LEVEL");
        }
        lower_to(new);
    }
}

fn release_lock(call: &Call) -> u64 {
    release(call.addr(0), Some(call.u8(1)));
    0
}

fn acquire_for(call: &Call, raise: bool) -> u8 {
    order::require_resident(call, call.addr(0));
    acquire(call.addr(0), raise)
}

fn acquire_at_dpc(call: &Call) -> u64 {
    acquire_for(call, false);
    0
}

fn release_from_dpc(call: &Call) -> u64 {
    release(call.addr(0), None);
    0
}

fn try_acquire(call: &Call) -> u64 {
    let lock = aligned(call.addr(0));
    let taken = take(lock);
    if taken {
        HELD.with_borrow_mut(|held| {
            held.push(Held {
                lock,
                old_irql: None,
            })
        });
        order::acquired(lock);
    }
    u64::from(taken)
}

fn acquire_queued(call: &Call) -> u64 {
    let handle = LockQueueHandle(call.addr(1));
    let old = acquire_for(call, true);
    handle.lock().set(call.addr(0));
    handle.old_irql().set(old);
    0
}

fn acquire_queued_at_dpc(call: &Call) -> u64 {
    acquire_for(call, false);
    LockQueueHandle(call.addr(1)).lock().set(call.addr(0));
    0
}

fn release_queued(call: &Call) -> u64 {
    let handle = LockQueueHandle(call.addr(0));
    release(handle.lock().get(), Some(handle.old_irql().get()));
    0
}

fn release_queued_from_dpc(call: &Call) -> u64 {
    release(LockQueueHandle(call.addr(0)).lock().get(), None);
    0
}

/// Acquires a lock word of the kernel itself (the cancel spin lock) in the name of the current thread.
pub fn acquire_kernel_lock(lock: usize) -> u8 {
    acquire(lock, true)
}

/// Releases a lock word of the kernel itself.
pub fn release_kernel_lock(lock: usize, new_irql: u8) {
    release(lock, Some(new_irql));
}
