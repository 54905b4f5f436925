//! What the transport does later: tasks with a time, and the threads that do them.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicPtr, Ordering};

use wdk_sys::NTSTATUS;

use super::{
    chance::Chance,
    endpoint::{Endpoint, Held},
    events, requests,
};
use crate::nt::{sim, time::SECOND, watch::Watch};

/// What is to be done.
pub(super) enum What {
    /// End a held request, if it is still held.
    End(u64, NTSTATUS),
    /// Complete a request that was taken out already.
    Complete(Held, NTSTATUS),
    /// Let something happen to the endpoint, by itself.
    Event,
    /// Call a handler for an endpoint that is closed.
    Late,
}

struct Task {
    due: i64,
    endpoint: Arc<Endpoint>,
    what: What,
}

struct Queue {
    tasks: Vec<Task>,
    /// Changes with every new task.
    version: u32,
    running: u32,
    /// Everything is due now.
    hurry: bool,
    stop: bool,
}

static QUEUE: Watch<Queue> = Watch::new(Queue {
    tasks: Vec::new(),
    version: 0,
    running: 0,
    hurry: false,
    stop: false,
});

/// KeQueryInterruptTime, which must be called at DISPATCH_LEVEL: looked up once.
static CLOCK: AtomicPtr<core::ffi::c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Finds the clock; whether this kernel has it.
pub(super) fn find_clock() -> bool {
    let routine = sim::routine("KeQueryInterruptTime").unwrap_or(core::ptr::null_mut());
    CLOCK.store(routine, Ordering::Relaxed);
    !routine.is_null()
}

/// The time in 100 ns units; 0 for ever where the clock was not found.
pub(super) fn now() -> i64 {
    type Query = extern "system" fn() -> u64;
    let routine = CLOCK.load(Ordering::Relaxed);
    if routine.is_null() {
        return 0;
    }
    // SAFETY: The documented prototype of KeQueryInterruptTime, which was found under this name.
    let query = unsafe { core::mem::transmute::<*mut core::ffi::c_void, Query>(routine) };
    query().cast_signed()
}

/// Has `what` done after `delay` (100 ns units).
pub(super) fn later(endpoint: &Arc<Endpoint>, delay: i64, what: What) {
    let task = Task {
        due: now().saturating_add(delay),
        endpoint: Arc::clone(endpoint),
        what,
    };
    QUEUE.update(|queue| {
        queue.tasks.push(task);
        queue.version = queue.version.wrapping_add(1);
    });
}

/// Starts afresh.
pub(super) fn open() {
    QUEUE.update(|queue| {
        queue.stop = false;
        queue.hurry = false;
    });
}

/// Ends the threads; nothing is to be done any more.
pub(super) fn close() {
    QUEUE.update(|queue| queue.stop = true);
    // The table itself is memory of the driver's.
    drop(QUEUE.update(|queue| core::mem::take(&mut queue.tasks)));
}

/// Does everything now, and waits until nothing is left; whether that came about.
pub(super) fn drain() -> bool {
    QUEUE.update(|queue| queue.hurry = true);
    let empty = QUEUE.wait_until(600 * SECOND, |queue| {
        queue.tasks.is_empty() && queue.running == 0
    });
    QUEUE.update(|queue| queue.hurry = false);
    empty
}

enum Next {
    Stop,
    Task(Task),
    Wait { limit: i64, version: u32 },
}

fn next() -> Next {
    let now = now();
    QUEUE.update(|queue| {
        if queue.stop {
            return Next::Stop;
        }
        let first = queue
            .tasks
            .iter()
            .enumerate()
            .min_by_key(|(_, task)| task.due)
            .map(|(index, task)| (index, task.due));
        match first {
            Some((index, due)) if due <= now || queue.hurry => {
                queue.running = queue.running.saturating_add(1);
                Next::Task(queue.tasks.swap_remove(index))
            }
            first => Next::Wait {
                limit: first.map_or(100_000 * SECOND, |(_, due)| due.saturating_sub(now)),
                version: queue.version,
            },
        }
    })
}

/// A thread of the transport.
pub(super) fn work(seed: u64, me: u64) {
    let mut chance = Chance::new(seed, 0x200 | me);
    loop {
        match next() {
            Next::Stop => return,
            Next::Wait { limit, version } => {
                QUEUE.wait_until(limit, |queue| {
                    queue.stop
                        || queue.version != version
                        || (queue.hurry && !queue.tasks.is_empty())
                });
            }
            Next::Task(Task { endpoint, what, .. }) => {
                match what {
                    What::End(id, result) => requests::end(&endpoint, id, result, &mut chance),
                    What::Complete(held, result) => {
                        requests::finish(&endpoint, &held, result, 0, &mut chance);
                    }
                    What::Event => events::happen(&endpoint, &mut chance),
                    What::Late => events::late(&endpoint, &mut chance),
                }
                drop(endpoint);
                QUEUE.update(|queue| queue.running = queue.running.saturating_sub(1));
            }
        }
    }
}
