//! KDPC: routines that run at DISPATCH_LEVEL, here on one thread of the kernel.

use std::sync::OnceLock;

use super::host::HostEvent;
use super::{Sleep, State, lock};
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::irql::{self, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::layout::ke::Dpc;
use crate::stop::Stop;

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeInitializeDpc",
        args: 3,
        irql: IrqlRule::Any,
        run: initialize,
    },
    Routine {
        name: "KeInsertQueueDpc",
        args: 3,
        irql: IrqlRule::Any,
        run: insert_queue,
    },
    Routine {
        name: "KeRemoveQueueDpc",
        args: 1,
        irql: IrqlRule::Any,
        run: remove_queue,
    },
    Routine {
        name: "KeSetImportanceDpc",
        args: 2,
        irql: IrqlRule::Any,
        run: |_| 0,
    },
    Routine {
        name: "KeSetTargetProcessorDpc",
        args: 2,
        irql: IrqlRule::Any,
        run: |_| 0,
    },
    Routine {
        name: "KeFlushQueuedDpcs",
        args: 0,
        // The page; no class of Driver Verifier names it.
        irql: IrqlRule::Exactly(PASSIVE_LEVEL, Stop::verifier(0xe5)),
        run: flush,
    },
];

/// A DPC in the queue, with what it was queued with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queued {
    dpc: usize,
    arguments: [usize; 2],
}

static WORK: OnceLock<HostEvent> = OnceLock::new();

fn work() -> &'static HostEvent {
    WORK.get_or_init(HostEvent::auto)
}

fn initialize(call: &Call) -> u64 {
    let dpc = Dpc(call.addr(0));
    dpc.kind().set(0x13);
    dpc.list().set(0);
    dpc.routine().set(call.addr(1));
    dpc.context().set(call.addr(2));
    dpc.data().set(0);
    0
}

/// Queues a DPC; false if it is queued already.
pub(crate) fn insert(state: &mut State, dpc: usize, argument1: usize, argument2: usize) -> bool {
    if state.dpcs.iter().any(|queued| queued.dpc == dpc) {
        return false;
    }
    let view = Dpc(dpc);
    view.argument1().set(argument1);
    view.argument2().set(argument2);
    view.data().set(dpc);
    state.dpcs.push_back(Queued {
        dpc,
        arguments: [argument1, argument2],
    });
    state.signal(work().address(), 1);
    true
}

fn insert_queue(call: &Call) -> u64 {
    let mut state = lock();
    u64::from(insert(&mut state, call.addr(0), call.addr(1), call.addr(2)))
}

fn remove_queue(call: &Call) -> u64 {
    let mut state = lock();
    let before = state.dpcs.len();
    state.dpcs.retain(|queued| queued.dpc != call.addr(0));
    let removed = state.dpcs.len() != before;
    if removed {
        Dpc(call.addr(0)).data().set(0);
    }
    u64::from(removed)
}

fn flush(call: &Call) -> u64 {
    while !lock().dpcs.is_empty() || RUNNING.load(std::sync::atomic::Ordering::Acquire) {
        let soon = crate::clock::interrupt_time() + 1000;
        let never = HostEvent::manual();
        super::wait(
            &[never.address()],
            false,
            super::Timeout::At(soon),
            Sleep::Wanted,
            call.caller(),
        );
    }
    0
}

static RUNNING: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// The DPC thread: takes DPCs one by one and runs each at DISPATCH_LEVEL.
pub(crate) fn serve() {
    loop {
        let next = {
            let mut state = lock();
            let next = state.dpcs.pop_front();
            RUNNING.store(next.is_some(), std::sync::atomic::Ordering::Release);
            next
        };
        let Some(next) = next else {
            work().wait(Sleep::Idle);
            continue;
        };
        let view = Dpc(next.dpc);
        let (routine, context) = (view.routine().get(), view.context().get());
        view.data().set(0);
        let old = irql::raise_to(DISPATCH_LEVEL);
        let [argument1, argument2] = next.arguments;
        irql::guarded("DPC", || {
            gate::call_named(
                "DPC",
                routine,
                &[
                    next.dpc as u64,
                    context as u64,
                    argument1 as u64,
                    argument2 as u64,
                ],
            )
        });
        irql::lower_to(old);
    }
}
