//! Remove locks: who still uses a device that is to go.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::dispatcher::{self, Sleep, event};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::{DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::layout::ke;
use crate::mem::{layout, zero};
use crate::stop::{self, Stop};

const RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5));
const PASSIVE: IrqlRule = IrqlRule::Max(PASSIVE_LEVEL, Stop::verifier(0xe5));
/// STATUS_DELETE_PENDING.
const DELETE_PENDING: u64 = 0xc000_0056;

layout! {
    /// IO_REMOVE_LOCK_COMMON_BLOCK: all of an IO_REMOVE_LOCK in a driver's free build.
    RemoveLock as Lock, size 0x20 {
        /// Nobody gets it any more.
        0x00 removed: u8,
        /// Padding.
        0x01 pad: [u8; 3],
        /// How often it was acquired, and one more until the device goes.
        0x04 count: i32,
        /// Set when nobody has it any more.
        0x08 event: [u64; 3],
    }
}

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "IoInitializeRemoveLockEx",
        args: 5,
        irql: PASSIVE,
        run: initialize,
    },
    Routine {
        name: "IoAcquireRemoveLockEx",
        args: 5,
        irql: RULE,
        run: acquire,
    },
    Routine {
        name: "IoReleaseRemoveLockEx",
        args: 3,
        irql: RULE,
        run: |call| {
            release(call, 0xd5);
            0
        },
    },
    Routine {
        name: "IoReleaseRemoveLockAndWaitEx",
        args: 3,
        irql: PASSIVE,
        run: release_and_wait,
    },
];

/// By address: how often each tag has the lock.
static LOCKS: Mutex<BTreeMap<usize, BTreeMap<u64, u32>>> = Mutex::new(BTreeMap::new());

/// Forgets the locks in a range of memory, which is gone.
pub(crate) fn forget(start: usize, bytes: usize) {
    let range = start..start.saturating_add(bytes);
    LOCKS.lock().retain(|address, _| !range.contains(address));
}

fn initialize(call: &Call) -> u64 {
    let lock = Lock(call.addr(0));
    if LOCKS.lock().contains_key(&lock.0) {
        stop::enforce(
            Stop::verifier(0xd7),
            [lock.0 as u64, 0, 0],
            format!("remove lock {:#x} is initialised again", lock.0),
        );
    }
    zero(lock.0, Lock::SIZE.max(call.u32(4) as usize));
    lock.count().set(1);
    event::make(lock.event().address(), ke::NOTIFICATION_EVENT, false);
    LOCKS.lock().insert(lock.0, BTreeMap::new());
    0
}

fn acquire(call: &Call) -> u64 {
    let lock = Lock(call.addr(0));
    let mut locks = LOCKS.lock();
    if lock.removed().get() != 0 {
        return DELETE_PENDING;
    }
    lock.count().set(lock.count().get() + 1);
    let tags = locks.entry(lock.0).or_default();
    *tags.entry(call.arg(1)).or_default() += 1;
    0
}

/// Gives back what was acquired with the same tag.
fn release(call: &Call, sub: u64) -> i32 {
    let (lock, tag) = (Lock(call.addr(0)), call.arg(1));
    let mut locks = LOCKS.lock();
    let times = locks.get_mut(&lock.0).and_then(|tags| {
        let times = tags.get_mut(&tag).filter(|times| **times > 0)?;
        *times -= 1;
        Some(*times)
    });
    if times.is_none() {
        drop(locks);
        stop::enforce(
            Stop::verifier(sub),
            [lock.0 as u64, tag, 0],
            format!(
                "{}: remove lock {:#x} was not acquired with the tag {tag:#x}",
                call.routine(),
                lock.0
            ),
        );
        locks = LOCKS.lock();
    }
    let left = lock.count().get() - 1;
    lock.count().set(left);
    drop(locks);
    if left == 0 {
        event::signal(lock.event().address());
    }
    left
}

fn release_and_wait(call: &Call) -> u64 {
    let lock = Lock(call.addr(0));
    lock.removed().set(1);
    if release(call, 0xd6) > 0 {
        // The one that it began with.
        let left = {
            let _locks = LOCKS.lock();
            let left = lock.count().get() - 1;
            lock.count().set(left);
            left
        };
        if left > 0 {
            dispatcher::wait_one(lock.event().address(), Sleep::Wanted);
        }
    }
    LOCKS.lock().remove(&lock.0);
    0
}
