//! Executive resources: locks that many share or one has alone.
//!
//! Who has one, and who waits for it, is in host tables; the structure in driver memory says only that it is initialised.
//! Waiters are served in their order, and whoever wants to share waits behind those who want it alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::dispatcher::{Sleep, host::HostEvent};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::{self, APC_LEVEL, order};
use crate::mem;
use crate::stop::{self, Stop};
use crate::thread::{self, Thread};

/// Bytes of an ERESOURCE, by the public headers.
const BYTES: usize = 0x68;
const RULE: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0x2_0007));
/// Looks only.
const LOOK: IrqlRule = IrqlRule::Max(irql::DISPATCH_LEVEL, Stop::verifier(0xe5));
/// RESOURCE_NOT_OWNED.
const NOT_OWNED: u32 = 0xe3;

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "ExInitializeResourceLite",
        args: 1,
        irql: RULE,
        run: initialize,
    },
    Routine {
        name: "ExReinitializeResourceLite",
        args: 1,
        irql: RULE,
        run: reinitialize,
    },
    Routine {
        name: "ExDeleteResourceLite",
        args: 1,
        irql: RULE,
        run: delete,
    },
    Routine {
        name: "ExAcquireResourceExclusiveLite",
        args: 2,
        irql: RULE,
        run: |call| acquire(call, Wish::Alone),
    },
    Routine {
        name: "ExAcquireResourceSharedLite",
        args: 2,
        irql: RULE,
        run: |call| acquire(call, Wish::Shared),
    },
    Routine {
        name: "ExAcquireSharedStarveExclusive",
        args: 2,
        irql: RULE,
        run: |call| acquire(call, Wish::SharedAtOnce),
    },
    Routine {
        name: "ExAcquireSharedWaitForExclusive",
        args: 2,
        irql: RULE,
        run: |call| acquire(call, Wish::SharedBehind),
    },
    Routine {
        name: "ExConvertExclusiveToSharedLite",
        args: 1,
        irql: RULE,
        run: convert,
    },
    Routine {
        name: "ExReleaseResourceLite",
        args: 1,
        irql: LOOK,
        run: |call| release(call, thread::current().object),
    },
    Routine {
        name: "ExReleaseResourceForThreadLite",
        args: 2,
        irql: LOOK,
        run: |call| release(call, call.addr(1)),
    },
    Routine {
        name: "ExIsResourceAcquiredExclusiveLite",
        args: 1,
        irql: LOOK,
        run: |call| look(call, |resource, me| u32::from(resource.alone == Some(me))),
    },
    Routine {
        name: "ExIsResourceAcquiredSharedLite",
        args: 1,
        irql: LOOK,
        run: |call| look(call, Resource::times),
    },
    Routine {
        name: "ExGetExclusiveWaiterCount",
        args: 1,
        irql: LOOK,
        run: |call| look(call, |resource, _| resource.waiting(true)),
    },
    Routine {
        name: "ExGetSharedWaiterCount",
        args: 1,
        irql: LOOK,
        run: |call| look(call, |resource, _| resource.waiting(false)),
    },
];

/// How a thread wants a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Alone,
    /// Behind those who wait for it alone, unless the thread has it already.
    Shared,
    /// Before them.
    SharedAtOnce,
    /// Behind them, even if the thread has it already.
    SharedBehind,
}

struct Waiter {
    thread: usize,
    wish: Wish,
    granted: Arc<HostEvent>,
}

#[derive(Default)]
struct Resource {
    /// Who has it alone; how often is in `owners`.
    alone: Option<usize>,
    /// By thread: how often it has it.
    owners: BTreeMap<usize, u32>,
    queue: VecDeque<Waiter>,
}

impl Resource {
    fn times(&self, thread: usize) -> u32 {
        self.owners.get(&thread).copied().unwrap_or(0)
    }

    fn waiting(&self, alone: bool) -> u32 {
        let waiters = self.queue.iter();
        let count = waiters
            .filter(|waiter| (waiter.wish == Wish::Alone) == alone)
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether a thread can have it now; with those in front of it in the queue.
    fn admits(&self, thread: usize, wish: Wish, in_front: usize) -> bool {
        if self.alone == Some(thread) {
            return true;
        }
        let wanted_alone = self
            .queue
            .iter()
            .take(in_front)
            .any(|waiter| waiter.wish == Wish::Alone);
        match wish {
            Wish::Alone => self.owners.is_empty() && in_front == 0,
            Wish::SharedAtOnce => self.alone.is_none(),
            Wish::Shared => self.alone.is_none() && (!wanted_alone || self.times(thread) > 0),
            Wish::SharedBehind => self.alone.is_none() && !wanted_alone,
        }
    }

    fn give(&mut self, thread: usize, wish: Wish) {
        if wish == Wish::Alone {
            self.alone = Some(thread);
        }
        *self.owners.entry(thread).or_default() += 1;
    }

    /// Gives it to whoever can have it now.
    fn serve(&mut self) {
        let mut at = 0;
        while let Some(waiter) = self.queue.get(at) {
            if !self.admits(waiter.thread, waiter.wish, at) {
                at += 1;
                continue;
            }
            if let Some(waiter) = self.queue.remove(at) {
                self.give(waiter.thread, waiter.wish);
                waiter.granted.set();
            }
        }
    }
}

/// By address.
static RESOURCES: Mutex<BTreeMap<usize, Resource>> = Mutex::new(BTreeMap::new());

/// An initialised resource in a range of memory.
pub(crate) fn active_in(start: usize, bytes: usize) -> Option<usize> {
    let resources = RESOURCES.lock();
    let mut inside = resources.range(start..start.saturating_add(bytes));
    inside.next().map(|(address, _)| *address)
}

/// Forgets the resources in a range of memory, which is gone.
pub(crate) fn forget(start: usize, bytes: usize) {
    let range = start..start.saturating_add(bytes);
    RESOURCES
        .lock()
        .retain(|address, _| !range.contains(address));
}

fn initialize(call: &Call) -> u64 {
    let address = call.addr(0);
    if !address.is_multiple_of(8) {
        stop::violation(
            Stop::verifier(0x3d),
            [address as u64, 0, 0],
            format!("resource {address:#x} is not aligned"),
        );
    }
    order::require_resident(call, address);
    if RESOURCES.lock().contains_key(&address) {
        stop::enforce(
            Stop::verifier(0xd0),
            [address as u64, 0, 0],
            format!("resource {address:#x} is initialised again"),
        );
    }
    order::forget(address, 1);
    mem::zero(address, BYTES);
    RESOURCES.lock().insert(address, Resource::default());
    0
}

fn reinitialize(call: &Call) -> u64 {
    with(call, "ExReinitializeResourceLite", |resource| {
        *resource = Resource::default();
    });
    0
}

fn delete(call: &Call) -> u64 {
    let address = call.addr(0);
    if RESOURCES.lock().remove(&address).is_none() {
        unknown(address, "ExDeleteResourceLite");
    }
    order::forget(address, 1);
    0
}

fn unknown(address: usize, routine: &str) {
    stop::enforce(
        Stop::verifier(0xd1),
        [address as u64, 0, 0],
        format!("{routine}: {address:#x} is no initialised resource"),
    );
}

/// Does something with a resource, which must be one.
fn with<R: Default>(call: &Call, routine: &str, run: impl FnOnce(&mut Resource) -> R) -> R {
    let address = call.addr(0);
    let mut resources = RESOURCES.lock();
    match resources.get_mut(&address) {
        Some(resource) => run(resource),
        None => {
            drop(resources);
            unknown(address, routine);
            R::default()
        }
    }
}

/// Whether a normal kernel APC could suspend the thread, with the resource.
fn interruptible(thread: &Thread) -> bool {
    thread.irql() < APC_LEVEL
        && thread.kernel_apc_disable.load(Ordering::Relaxed) == 0
        && thread.special_apc_disable.load(Ordering::Relaxed) == 0
}

fn acquire(call: &Call, wish: Wish) -> u64 {
    let (address, may_wait) = (call.addr(0), call.u8(1) != 0);
    let thread = call.thread();
    let me = thread.object;
    if interruptible(thread) {
        stop::violation(
            Stop::verifier(0x37),
            [u64::from(thread.irql()), 0, 0],
            format!("{} with normal kernel APCs enabled", call.routine()),
        );
    }
    if may_wait {
        irql::require_no_lock_to_wait(call.routine());
    }
    if may_wait && !order::holds(address) {
        order::acquiring(address);
    }
    let granted = with(call, call.routine(), |resource| {
        if resource.admits(me, wish, resource.queue.len()) {
            // Whoever has it alone has it alone again.
            let alone = resource.alone == Some(me);
            resource.give(me, if alone { Wish::Alone } else { wish });
            return Some(None);
        }
        if !may_wait {
            return None;
        }
        let granted = Arc::new(HostEvent::manual());
        resource.queue.push_back(Waiter {
            thread: me,
            wish,
            granted: Arc::clone(&granted),
        });
        Some(Some(granted))
    });
    match granted {
        None => return 0,
        Some(None) => {}
        Some(Some(granted)) => granted.wait(Sleep::Wanted),
    }
    if !order::holds(address) {
        order::acquired(address);
    }
    1
}

fn convert(call: &Call) -> u64 {
    let me = call.thread().object;
    let had = with(call, "ExConvertExclusiveToSharedLite", |resource| {
        let had = resource.alone == Some(me);
        if had {
            resource.alone = None;
            resource.serve();
        }
        had
    });
    if !had {
        not_owned(call, me);
    }
    0
}

fn release(call: &Call, owner: usize) -> u64 {
    let thread = call.thread();
    if interruptible(thread) {
        stop::violation(
            Stop::verifier(0x38),
            [u64::from(thread.irql()), 0, 0],
            format!("{} with normal kernel APCs enabled", call.routine()),
        );
    }
    let left = with(call, call.routine(), |resource| {
        let times = resource.owners.get_mut(&owner)?;
        *times -= 1;
        let left = *times;
        if left == 0 {
            resource.owners.remove(&owner);
            if resource.alone == Some(owner) {
                resource.alone = None;
            }
            resource.serve();
        }
        Some(left)
    });
    match left {
        None => not_owned(call, owner),
        Some(0) if owner == thread.object => order::released_in_any_order(call.addr(0)),
        Some(_) => {}
    }
    0
}

fn not_owned(call: &Call, owner: usize) -> ! {
    stop::bug_check(
        NOT_OWNED,
        [call.arg(0), owner as u64, 0, 0],
        format!(
            "{} of {:#x}, which the thread does not have",
            call.routine(),
            call.addr(0)
        ),
    )
}

fn look(call: &Call, see: impl FnOnce(&Resource, usize) -> u32) -> u64 {
    let me = call.thread().object;
    u64::from(with(call, call.routine(), |resource| see(resource, me)))
}
