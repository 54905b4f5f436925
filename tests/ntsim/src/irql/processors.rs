//! Processors: how many there are, and moving a thread to one.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::DISPATCH_LEVEL;
use crate::explore;
use crate::gate::{Call, IrqlRule, Routine};
use crate::mem::poke;
use crate::stop::{self, Stop};
use crate::thread::{self, PROCESSORS};

const AFFINITY: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL - 1, Stop::verifier(0xe5));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeQueryActiveProcessorCount",
        args: 1,
        irql: IrqlRule::Any,
        run: processor_count,
    },
    Routine {
        name: "KeQueryActiveProcessorCountEx",
        args: 1,
        irql: IrqlRule::Any,
        run: |_| PROCESSORS.into(),
    },
    Routine {
        name: "KeQueryMaximumProcessorCount",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| PROCESSORS.into(),
    },
    Routine {
        name: "KeQueryMaximumProcessorCountEx",
        args: 1,
        irql: IrqlRule::Any,
        run: |_| PROCESSORS.into(),
    },
    Routine {
        name: "KeQueryActiveProcessors",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| (1 << PROCESSORS) - 1,
    },
    Routine {
        name: "KeQueryActiveGroupCount",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| 1,
    },
    Routine {
        name: "KeGetCurrentProcessorNumberEx",
        args: 1,
        irql: IrqlRule::Any,
        run: current_processor,
    },
    Routine {
        name: "KeGetCurrentProcessorNumber",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| processor().into(),
    },
    Routine {
        name: "KeSetSystemAffinityThread",
        args: 1,
        irql: AFFINITY,
        run: |call| {
            set_affinity(call.arg(0));
            0
        },
    },
    Routine {
        name: "KeSetSystemAffinityThreadEx",
        args: 1,
        irql: AFFINITY,
        run: |call| set_affinity(call.arg(0)),
    },
    Routine {
        name: "KeRevertToUserAffinityThread",
        args: 0,
        irql: AFFINITY,
        run: |_| 0,
    },
    Routine {
        name: "KeRevertToUserAffinityThreadEx",
        args: 1,
        irql: AFFINITY,
        run: revert_affinity,
    },
    Routine {
        name: "KeSetSystemGroupAffinityThread",
        args: 2,
        irql: AFFINITY,
        run: set_group_affinity,
    },
    Routine {
        name: "KeRevertToUserGroupAffinityThread",
        args: 1,
        irql: AFFINITY,
        run: |_| 0,
    },
];

thread_local! {
    static AFFINITIES: Cell<u64> = const { Cell::new(0) };
}

fn processor() -> u32 {
    thread::current().processor.load(Ordering::Relaxed)
}

fn processor_count(call: &Call) -> u64 {
    if call.addr(0) != 0 {
        poke(call.addr(0), (1_u64 << PROCESSORS) - 1);
    }
    PROCESSORS.into()
}

fn current_processor(call: &Call) -> u64 {
    if call.addr(0) != 0 {
        // PROCESSOR_NUMBER { Group u16, Number u8, Reserved u8 }
        poke(
            call.addr(0),
            [0, 0, u8::try_from(processor()).unwrap_or(0), 0],
        );
    }
    processor().into()
}

/// Moves the current thread to the first processor of a mask and returns the previous system affinity.
///
/// "When the routine returns, the thread runs on one of these processors": so nothing else is at DISPATCH_LEVEL there.
fn set_affinity(mask: u64) -> u64 {
    let mask = mask & ((1 << PROCESSORS) - 1);
    let previous = AFFINITIES.replace(mask);
    if mask == 0 {
        return previous;
    }
    let me = thread::current();
    let target: &AtomicU32 = &me.processor;
    if mask & (1 << target.load(Ordering::Relaxed)) == 0 {
        target.store(mask.trailing_zeros(), Ordering::Relaxed);
    }
    let mine = target.load(Ordering::Relaxed);
    let busy = |other: &thread::Thread| {
        other.id != me.id
            && !other.exited.load(Ordering::Acquire)
            && other.processor.load(Ordering::Relaxed) == mine
            && other.irql.load(Ordering::Acquire) >= DISPATCH_LEVEL
    };
    for other in thread::all() {
        let mut since = None;
        while busy(&other) {
            if explore::on() {
                explore::pause();
                continue;
            }
            std::thread::sleep(Duration::from_micros(20));
            if since.get_or_insert_with(Instant::now).elapsed() > crate::options().spin_limit {
                let text = format!(
                    "thread {} \"{}\" stays at DISPATCH_LEVEL for ever",
                    other.id, other.name
                );
                stop::bug_check(0x133, [1, 0, 0, 0], text);
            }
        }
    }
    previous
}

fn revert_affinity(call: &Call) -> u64 {
    if call.arg(0) == 0 {
        AFFINITIES.set(0);
    } else {
        set_affinity(call.arg(0));
    }
    0
}

fn set_group_affinity(call: &Call) -> u64 {
    // GROUP_AFFINITY { Mask u64, Group u16, Reserved }
    let previous = set_affinity(crate::mem::peek(call.addr(0)));
    if call.addr(1) != 0 {
        poke(call.addr(1), [previous, 0]);
    }
    0
}
