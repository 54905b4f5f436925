//! System worker threads and the items queued to them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::account::{self, Resource};
use crate::arena::{self, Kind};
use crate::dispatcher::{Sleep, host::HostEvent};
use crate::fault::{self, FaultKind};
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::io::keep::Keep;
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::ke::WorkQueueItem;
use crate::ob;
use crate::own::{self, Own};
use crate::stop::{self, Stop};
use crate::thread;

const RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "ExQueueWorkItem",
        args: 2,
        irql: RULE,
        run: queue_plain,
    },
    Routine {
        name: "IoAllocateWorkItem",
        args: 1,
        irql: RULE,
        run: allocate,
    },
    Routine {
        name: "IoFreeWorkItem",
        args: 1,
        irql: RULE,
        run: free,
    },
    Routine {
        name: "IoSizeofWorkItem",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| ITEM_BYTES as u64,
    },
    Routine {
        name: "IoInitializeWorkItem",
        args: 2,
        irql: RULE,
        run: initialize,
    },
    Routine {
        name: "IoUninitializeWorkItem",
        args: 1,
        irql: RULE,
        run: uninitialize,
    },
    Routine {
        name: "IoQueueWorkItem",
        args: 4,
        irql: RULE,
        run: |call| queue_io(call, false),
    },
    Routine {
        name: "IoQueueWorkItemEx",
        args: 4,
        irql: RULE,
        run: |call| queue_io(call, true),
    },
];

/// Size of the opaque IO_WORKITEM.
const ITEM_BYTES: usize = 0x58;
/// More threads are made while all are busy, up to this many.
const MOST_THREADS: usize = 32;

/// What a worker does.
enum Job {
    Plain {
        item: usize,
    },
    Io {
        item: usize,
        object: usize,
        /// Until the routine has returned.
        keep: Keep,
        routine: usize,
        context: usize,
        extended: bool,
    },
    Host(Box<dyn FnOnce() + Send>),
}

#[derive(Default)]
struct Pool {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
    /// WORK_QUEUE_ITEMs in the queue.
    plain: HashSet<usize>,
    /// IO_WORKITEMs: the object, and whether the item is queued.
    items: HashMap<usize, (usize, bool)>,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);
static WORK: OnceLock<HostEvent> = OnceLock::new();

fn with<R>(run: impl FnOnce(&mut Pool) -> R) -> R {
    run(POOL.lock().get_or_insert_default())
}

fn wake() -> &'static HostEvent {
    WORK.get_or_init(HostEvent::auto)
}

fn push(job: Job) {
    let grow = with(|pool| {
        pool.jobs.push_back(job);
        let grow = pool.idle < pool.jobs.len() && pool.threads < MOST_THREADS;
        if grow {
            pool.threads += 1;
            return Some(pool.threads);
        }
        None
    });
    if let Some(number) = grow {
        thread::spawn(&format!("worker {number}"), true, Box::new(serve));
    }
    wake().set();
}

/// A queued work item in a memory range.
pub(crate) fn queued_in(start: usize, length: usize) -> Option<usize> {
    let range = start..start.saturating_add(length);
    with(|pool| pool.plain.iter().find(|item| range.contains(item)).copied())
}

/// Runs a function of the host on a system worker thread at PASSIVE_LEVEL.
pub fn queue_host(run: impl FnOnce() + Send + 'static) {
    push(Job::Host(Box::new(run)));
}

fn serve() {
    loop {
        let (job, more) = with(|pool| {
            let job = pool.jobs.pop_front();
            if job.is_none() {
                pool.idle += 1;
            }
            (job, !pool.jobs.is_empty())
        });
        match job {
            Some(job) => {
                if more {
                    wake().set();
                }
                irql::guarded("a work item routine", || run(job));
            }
            None => {
                wake().wait(Sleep::Idle);
                with(|pool| pool.idle -= 1);
            }
        }
    }
}

fn run(job: Job) {
    match job {
        Job::Host(run) => run(),
        Job::Plain { item } => {
            let view = WorkQueueItem(item);
            let (routine, parameter) = (view.routine().get(), view.parameter().get());
            release(item, routine);
            gate::call_named("work item", routine, &[parameter as u64]);
        }
        Job::Io {
            item,
            object,
            keep,
            routine,
            context,
            extended,
        } => {
            // The item may be queued again, or freed, by its own routine.
            with(|pool| {
                if let Some((_, queued)) = pool.items.get_mut(&item) {
                    *queued = false;
                }
            });
            let arguments = [object as u64, context as u64, item as u64];
            let count = if extended { 3 } else { 2 };
            gate::call_named(
                "work item",
                routine,
                arguments.get(..count).unwrap_or_default(),
            );
            drop(keep);
        }
    }
}

fn queue_plain(call: &Call) -> u64 {
    let item = call.addr(0);
    claim(item, call.caller());
    push(Job::Plain { item });
    0
}

/// Queues a caller's item, which is free again when the host begins to run `run` for it.
pub(crate) fn queue_host_item(item: usize, caller: usize, run: impl FnOnce() + Send + 'static) {
    claim(item, caller);
    queue_host(move || {
        release(item, caller);
        run();
    });
}

/// Marks an item as queued; it must not be yet.
fn claim(item: usize, caller: usize) {
    let item = WorkQueueItem(item);
    if let Some(what) = crate::pageable::describe(item.0) {
        stop::enforce(
            Stop::verifier(0x131),
            [item.0 as u64, 0, 0],
            format!("work item {:#x} is pageable: {what}", item.0),
        );
    }
    if item.list().get() != [0, 0] && item.list().get()[0] != 0
        || !with(|pool| pool.plain.insert(item.0))
    {
        stop::bug_check(
            0xe4,
            [0, item.0 as u64, 0, 0],
            format!(
                "work item {:#x} is queued twice, or not initialised",
                item.0
            ),
        );
    }
    item.list().set([item.0, item.0]);
    account::track(
        Resource::WorkItem,
        item.0 as u64,
        caller,
        "queued WORK_QUEUE_ITEM",
    );
}

/// An item leaves the queue.
fn release(item: usize, caller: usize) {
    WorkQueueItem(item).list().set([0, 0]);
    with(|pool| pool.plain.remove(&item));
    account::untrack(Resource::WorkItem, item as u64, caller);
}

fn require_object(object: usize, routine: &str) {
    if !ob::is_object(object) {
        own::violation(
            Own::Object,
            [object as u64, 0, 0],
            format!("{routine}: {object:#x} is no device or driver object"),
        );
    }
}

fn allocate(call: &Call) -> u64 {
    require_object(call.addr(0), "IoAllocateWorkItem");
    if fault::should_fail(call, FaultKind::WorkItem) {
        return 0;
    }
    let item = arena::alloc(ITEM_BYTES, Kind::Object);
    with(|pool| pool.items.insert(item, (call.addr(0), false)));
    account::track(
        Resource::WorkItem,
        item as u64,
        call.caller(),
        "IoAllocateWorkItem",
    );
    item as u64
}

fn initialize(call: &Call) -> u64 {
    require_object(call.addr(0), "IoInitializeWorkItem");
    with(|pool| pool.items.insert(call.addr(1), (call.addr(0), false)));
    account::track(
        Resource::WorkItem,
        call.arg(1),
        call.caller(),
        "IoInitializeWorkItem",
    );
    0
}

fn remove(item: usize, caller: usize, routine: &str) {
    match with(|pool| pool.items.remove(&item)) {
        Some((_, false)) => {
            account::untrack(Resource::WorkItem, item as u64, caller);
        }
        Some((_, true)) => {
            stop::bug_check(
                0xe4,
                [1, item as u64, 0, 0],
                format!("{routine}: work item {item:#x} is still queued"),
            );
        }
        None => {
            stop::bug_check(
                0xe4,
                [2, item as u64, 0, 0],
                format!("{routine}: {item:#x} is not a work item, or was freed before"),
            );
        }
    }
}

fn free(call: &Call) -> u64 {
    remove(call.addr(0), call.caller(), "IoFreeWorkItem");
    arena::free(call.addr(0));
    0
}

fn uninitialize(call: &Call) -> u64 {
    remove(call.addr(0), call.caller(), "IoUninitializeWorkItem");
    0
}

fn queue_io(call: &Call, extended: bool) -> u64 {
    let item = call.addr(0);
    let object = with(|pool| match pool.items.get_mut(&item) {
        Some((object, queued)) if !*queued => {
            *queued = true;
            Some(*object)
        }
        _ => None,
    });
    let Some(object) = object else {
        stop::bug_check(
            0xe4,
            [0, item as u64, 0, 0],
            format!("IoQueueWorkItem: {item:#x} is queued already or no work item"),
        );
    };
    push(Job::Io {
        item,
        object,
        keep: Keep::new(object),
        routine: call.addr(1),
        context: call.addr(3),
        extended,
    });
    0
}
