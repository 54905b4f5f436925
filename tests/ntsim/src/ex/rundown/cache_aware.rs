//! EX_RUNDOWN_REF_CACHE_AWARE: run-down protection with a word for each processor.
//!
//! The block is opaque to drivers. It has a plain reference, which counts once the run-down has begun, how many words follow, and
//! these words, each in cache lines of its own. A reference may be given back on another processor than the one where it was
//! taken, so only the sum of the words means something, and a release too many shows when they are summed up. With any rule
//! on there is one word, and such a release stops at once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::protocol::{self, ACTIVE, Words};
use super::{APC_RULE, DISPATCH_RULE, Waiting, finish, step};
use crate::account::{self, Resource};
use crate::arena::{self, Kind};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql;
use crate::own::{self, Own};
use crate::rules::Rules;
use crate::thread::{self, PROCESSORS};

/// Words of a block.
const MOST_WORDS: usize = PROCESSORS as usize;
/// Bytes from one word to the next: two cache lines, which are fetched in pairs.
const STRIDE: usize = 128;
/// Bytes of a block: what comes before the words, the words, and what it may take to align them.
const SIZE: usize = STRIDE * (MOST_WORDS + 2);

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "ExAllocateCacheAwareRundownProtection",
        args: 2,
        irql: DISPATCH_RULE,
        run: allocate,
    },
    Routine {
        name: "ExFreeCacheAwareRundownProtection",
        args: 1,
        irql: DISPATCH_RULE,
        run: free,
    },
    Routine {
        name: "ExSizeOfRundownProtectionCacheAware",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| SIZE as u64,
    },
    Routine {
        name: "ExInitializeRundownProtectionCacheAware",
        args: 2,
        irql: APC_RULE,
        run: initialize,
    },
    Routine {
        name: "ExAcquireRundownProtectionCacheAware",
        args: 1,
        irql: DISPATCH_RULE,
        run: |call| acquire(call, 1),
    },
    Routine {
        name: "ExAcquireRundownProtectionCacheAwareEx",
        args: 2,
        irql: DISPATCH_RULE,
        run: |call| acquire(call, call.u32(1)),
    },
    Routine {
        name: "ExReleaseRundownProtectionCacheAware",
        args: 1,
        irql: DISPATCH_RULE,
        run: |call| release(call, 1),
    },
    Routine {
        name: "ExReleaseRundownProtectionCacheAwareEx",
        args: 2,
        irql: DISPATCH_RULE,
        run: |call| release(call, call.u32(1)),
    },
    Routine {
        name: "ExWaitForRundownProtectionReleaseCacheAware",
        args: 1,
        irql: APC_RULE,
        run: wait,
    },
    Routine {
        name: "ExRundownCompletedCacheAware",
        args: 1,
        irql: APC_RULE,
        run: completed,
    },
    Routine {
        name: "ExReInitializeRundownProtectionCacheAware",
        args: 1,
        irql: APC_RULE,
        run: reinitialize,
    },
];

/// A block, by its address.
struct Reference(usize);

impl Reference {
    fn of(call: &Call) -> Self {
        Self(call.addr(0))
    }

    /// What says how many words there are.
    fn count_word(&self) -> &'static AtomicU64 {
        super::word(self.0 + size_of::<u64>())
    }

    fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        (0..self.count()).map(|at| self.word(at))
    }

    fn prepare(&self) {
        let count = if Rules::all().is_on() { 1 } else { PROCESSORS };
        self.count_word().store(count.into(), Ordering::Relaxed);
        for word in self.words() {
            word.store(0, Ordering::Relaxed);
        }
        self.plain().store(0, Ordering::Release);
    }
}

impl Words for Reference {
    /// The plain reference, which the block begins with.
    fn plain(&self) -> &AtomicU64 {
        super::word(self.0)
    }

    fn count(&self) -> usize {
        // The block is the driver's, which may have written anything.
        let count = self.count_word().load(Ordering::Relaxed);
        usize::try_from(count).map_or(MOST_WORDS, |count| count.clamp(1, MOST_WORDS))
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        let first = (self.0 + 2 * size_of::<u64>()).next_multiple_of(STRIDE);
        super::word(first + at * STRIDE)
    }
}

fn initialize(call: &Call) -> u64 {
    Reference::of(call).prepare();
    0
}

fn reinitialize(call: &Call) -> u64 {
    super::require_run_down(call);
    initialize(call)
}

fn processor() -> usize {
    thread::current().processor.load(Ordering::Relaxed) as usize
}

fn acquire(call: &Call, count: u32) -> u64 {
    protocol::acquire_on(&Reference::of(call), processor(), step(count)).into()
}

fn release(call: &Call, count: u32) -> u64 {
    let reference = Reference::of(call);
    let released = protocol::release_on(&reference, processor(), step(count), &Waiting { call });
    finish(reference.0, released)
}

fn wait(call: &Call) -> u64 {
    let reference = Reference::of(call);
    irql::require_no_lock_to_wait("ExWaitForRundownProtectionReleaseCacheAware");
    let waited = protocol::wait_on_all(&reference, &Waiting { call });
    finish(reference.0, waited)
}

fn completed(call: &Call) -> u64 {
    let reference = Reference::of(call);
    for word in reference.words() {
        word.store(ACTIVE, Ordering::Relaxed);
    }
    reference.plain().store(ACTIVE, Ordering::Release);
    0
}

fn allocate(call: &Call) -> u64 {
    if fault::should_fail(call, FaultKind::Pool) {
        return 0;
    }
    let block = arena::alloc(SIZE, Kind::Object);
    account::track(
        Resource::Callback,
        block as u64,
        call.caller(),
        "cache-aware rundown reference",
    );
    Reference(block).prepare();
    block as u64
}

fn free(call: &Call) -> u64 {
    if !account::untrack(Resource::Callback, call.arg(0), call.caller())
        || !arena::free(call.addr(0))
    {
        let text = format!(
            "ExFreeCacheAwareRundownProtection of {:#x}, which is not one",
            call.arg(0)
        );
        own::violation(Own::Object, [0, 0, call.arg(0)], text);
    }
    0
}
