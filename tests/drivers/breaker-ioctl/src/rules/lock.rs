//! Locks, regions, waits, callbacks and threads.

use super::{alone, c4, c4_with, own, plain, rule, stop};
use crate::{Group, Rule, Stop};

const DEADLOCK: &str = "deadlock detection";
const ALWAYS: &str = "automatic checks";
const DDI: &str = "DDI compliance";
const ORDER: &str = "irql/order.rs";
const SPIN: &str = "irql/spin_lock.rs";
const MUTEX: &str = "dispatcher/mutex.rs";
const OWN: &str = "ntsim's own";

pub(super) const GROUP: Group = Group {
    subject: "Locks, waits and threads",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("lock_acquired_twice", "a spin lock acquired twice by one thread", c4(0x1000), DEADLOCK, SPIN),
    rule("lock_released_by_another", "a spin lock released by another thread than its holder", c4(0x1004), DEADLOCK, SPIN),
    rule("lock_not_held", "a spin lock released that nobody holds", c4(0x1007), DEADLOCK, SPIN),
    rule("lock_not_initialised", "a spin lock that was never initialised", c4(0x1002), DEADLOCK, SPIN),
    rule("lock_order_inverted", "two spin locks taken in one order here, in the other there", c4(0x1001), DEADLOCK, ORDER),
    rule("lock_order_inverted_in_three", "three locks in a circle, of two kinds, each pair in another thread", c4(0x1001), DEADLOCK, ORDER),
    rule("lock_released_out_of_order", "a lock released before another one that was taken after it", c4(0x1003), DEADLOCK, ORDER),
    rule("lock_in_paged_pool", "a spin lock in paged pool", c4(0xE1), "force IRQL checking", ORDER),
    rule("event_in_paged_pool", "an event in paged pool", c4(0xE1), "force IRQL checking", ORDER),
    rule("mutex_in_a_pageable_section", "a fast mutex in a section named `PAGE…`", c4(0xE1), "force IRQL checking", ORDER),
    rule("wait_in_user_mode_on_the_stack", "a wait in `UserMode` for an object on the stack", c4(0x123), "miscellaneous checks", "dispatcher/routines.rs"),
    rule("lock_released_to_another_irql", "a spin lock released to another IRQL than it was acquired at", c4_with(0x20015, [Some(0), Some(1), None]), DDI, SPIN),
    rule("lock_of_dpc_level_released_below", "a lock acquired at DPC level released below it", c4(0x35), ALWAYS, SPIN),
    rule("lock_misaligned", "a spin lock that is not aligned", c4(0xE1), "force IRQL checking", SPIN),
    rule("lock_never_released", "a spin lock that is never released", stop(0x133, 0), "bug check 0x133", SPIN),
    rule("lock_held_at_a_wait", "a wait while a spin lock is held (Verifier: at `DISPATCH_LEVEL`)", c4(0x3B), ALWAYS, SPIN),
    rule("lock_held_at_a_lower_irql", "the IRQL lowered while a spin lock is held", own(0x3), OWN, SPIN),
    rule("lock_held_at_a_call", "`IoCallDriver` while a spin lock is held", own(0x3), OWN, SPIN),
    rule("fast_mutex_acquired_twice", "a fast mutex acquired twice by one thread", c4(0x1000), DEADLOCK, MUTEX),
    rule("fast_mutex_released_by_another", "a fast mutex released by another thread", c4(0x1004), DEADLOCK, MUTEX),
    rule("fast_mutex_not_held", "a fast mutex released that nobody holds", c4(0x1007), DEADLOCK, MUTEX),
    rule("unsafe_mutex_acquired_with_apcs", "`ExAcquireFastMutexUnsafe` with APCs enabled", c4(0x39), ALWAYS, MUTEX),
    rule("unsafe_mutex_released_with_apcs", "`ExReleaseFastMutexUnsafe` with APCs enabled", c4(0x3A), ALWAYS, MUTEX),
    rule("mutex_released_by_another", "`KeReleaseMutex` by another thread", stop(0x1E, 0xC000_0046), "KeReleaseMutex", MUTEX),
    rule("mutex_held_at_the_end", "a thread ends owning a mutex", plain(0x4000_008A), "bug check 0x4000008A", MUTEX),
    rule("semaphore_over_its_limit", "a semaphore released beyond its limit", stop(0x1E, 0xC000_0047), "KeReleaseSemaphore", "dispatcher/semaphore.rs"),
    rule("critical_region_not_entered", "`KeLeaveCriticalRegion` without its pair", c4(0x3E), ALWAYS, "dispatcher/routines.rs"),
    rule("guarded_region_not_entered", "`KeLeaveGuardedRegion` without its pair", c4(0x4000E), DDI, "dispatcher/routines.rs"),
    rule("wait_for_too_many", "more objects in a wait than there are wait blocks", plain(0xC), "bug check 0xC", "dispatcher/routines.rs"),
    rule("event_not_initialised", "`KeSetEvent` of what is no event", own(0x1), OWN, "dispatcher/event.rs"),
    rule("event_initialised_while_waited", "`KeInitializeEvent` of an event that a thread waits for", own(0x7), OWN, "dispatcher/event.rs"),
    rule("wait_that_nobody_ends", "every thread waits, and nothing can end it", Stop::Hang(1), "no page: a real machine would hang", "dispatcher/hang.rs"),
    alone("waits_that_nobody_ends", "the same with two threads: the report has the stack of each", Stop::Hang(2), "no page: a real machine would hang", "dispatcher/hang.rs"),
    rule("dpc_changes_irql", "a callback (DPC, event handler, work item, thread) returns at another IRQL", own(0x5), OWN, "irql/mod.rs"),
    rule("work_item_changes_apcs", "a callback returns with other APC counts", own(0x6), OWN, "irql/mod.rs"),
    rule("thread_ends_at_raised_irql", "a system thread ends above `PASSIVE_LEVEL`", c4(0x2001C), DDI, "ps.rs"),
    alone("thread_stays_at_dispatch", "a thread stays at `DISPATCH_LEVEL` for ever, and another wants its processor", plain(0x133), "bug check 0x133", "irql/processors.rs"),
    rule("rundown_released_too_often", "a rundown reference released too often", own(0x2), OWN, "ex/rundown/mod.rs"),
    rule("rundown_started_twice", "a rundown reference initialised again before it is run down", own(0x2), OWN, "ex/rundown/mod.rs"),
    rule("rundown_misaligned", "memory that cannot be a rundown reference", own(0x1), OWN, "ex/rundown/mod.rs"),
];
