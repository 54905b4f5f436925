//! The wait routines, time queries, and critical and guarded regions.

use std::sync::atomic::Ordering;

use super::{Sleep, Timeout};
use crate::clock;
use crate::explore;
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::order;
use crate::irql::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::mem::{peek, poke};
use crate::stop::{self, Stop};
use crate::thread;
use crate::trace::{self, EventKind};

const DELAY: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0x2000f));
const REGION: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0x20010));
const CRITICAL: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0x11a));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeWaitForSingleObject",
        args: 5,
        irql: IrqlRule::Any,
        run: wait_single,
    },
    Routine {
        name: "KeWaitForMultipleObjects",
        args: 8,
        irql: IrqlRule::Any,
        run: wait_multiple,
    },
    Routine {
        name: "KeDelayExecutionThread",
        args: 3,
        irql: DELAY,
        run: delay,
    },
    Routine {
        name: "KeQuerySystemTimePrecise",
        args: 1,
        irql: IrqlRule::Any,
        run: query_system_time,
    },
    Routine {
        name: "KeQueryInterruptTime",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| clock::interrupt_time(),
    },
    Routine {
        name: "KeQueryInterruptTimePrecise",
        args: 1,
        irql: IrqlRule::Any,
        run: query_interrupt_time,
    },
    Routine {
        name: "KeQueryUnbiasedInterruptTime",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| clock::interrupt_time(),
    },
    Routine {
        name: "KeQueryPerformanceCounter",
        args: 1,
        irql: IrqlRule::Any,
        run: performance_counter,
    },
    Routine {
        name: "KeQueryTimeIncrement",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| 156_250,
    },
    Routine {
        name: "KeEnterCriticalRegion",
        args: 0,
        irql: CRITICAL,
        run: enter_critical,
    },
    Routine {
        name: "KeLeaveCriticalRegion",
        args: 0,
        irql: CRITICAL,
        run: leave_critical,
    },
    Routine {
        name: "KeEnterGuardedRegion",
        args: 0,
        irql: REGION,
        run: enter_guarded,
    },
    Routine {
        name: "KeLeaveGuardedRegion",
        args: 0,
        irql: REGION,
        run: leave_guarded,
    },
    Routine {
        name: "KeAreApcsDisabled",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| u64::from(apcs_disabled()),
    },
    Routine {
        name: "KeAreAllApcsDisabled",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| u64::from(all_apcs_disabled()),
    },
];

/// Reads the optional timeout argument of a wait.
fn timeout(address: usize) -> Timeout {
    if address == 0 {
        return Timeout::Never;
    }
    match peek::<i64>(address) {
        0 => Timeout::Zero,
        time => Timeout::At(clock::deadline(time)),
    }
}

/// The IRQL rules of a wait (verifier.md §3): above DISPATCH never, at DISPATCH only with a zero timeout, no spin lock held.
fn check(routine: &str, object: usize, timeout: Timeout) {
    let irql = irql::current();
    let sub = match (irql, timeout) {
        (DISPATCH_LEVEL, Timeout::Never) => 0x121,
        (DISPATCH_LEVEL, Timeout::At(_)) => 0x122,
        (irql, _) if irql > DISPATCH_LEVEL => 0x120,
        _ => 0,
    };
    if sub != 0 {
        let text = format!("{routine} at IRQL {irql} with {timeout:?}");
        stop::enforce(Stop::verifier(sub), [irql.into(), object as u64, 0], text);
    }
    if timeout != Timeout::Zero {
        irql::require_no_lock_to_wait(routine);
    }
}

fn finish(routine: &str, call: &Call, objects: &[usize], all: bool, limit: Timeout) -> u64 {
    let before = clock::interrupt_time();
    super::apc::deliver();
    for &object in objects {
        order::require_resident(call, object);
        if limit != Timeout::Zero && super::mutex::is_mutex(object) && !order::holds(object) {
            order::acquiring(object);
        }
    }
    check_user_wait(call, objects);
    let status = super::wait(objects, all, limit, Sleep::Wanted, call.caller());
    for &object in objects {
        if super::mutex::is_owned(object) && !order::holds(object) {
            order::acquired(object);
        }
    }
    let waited = clock::interrupt_time() - before;
    if waited > 10_000 {
        trace::event(EventKind::Wait, call.caller(), || {
            format!(
                "{routine}: {:.3} ms → {status:#x}",
                clock::seconds(waited) * 1000.0
            )
        });
    }
    u64::from(status)
}

/// A wait in `UserMode` lets the stack of the waiter be paged out: no object may be there (sub-code 123).
fn check_user_wait(call: &Call, objects: &[usize]) {
    let user_mode = match call.routine() {
        "KeWaitForSingleObject" => call.u8(2) != 0,
        "KeWaitForMultipleObjects" => call.u8(4) != 0,
        _ => false,
    };
    let (low, high) = call.thread().stack_limits();
    let on_stack = objects
        .iter()
        .find(|object| (low..high).contains(*object))
        .filter(|_| user_mode);
    if let Some(&object) = on_stack {
        stop::enforce(
            Stop::verifier(0x123),
            [object as u64, 0, 0],
            format!(
                "{} in UserMode for {object:#x}, which is on the stack",
                call.routine()
            ),
        );
    }
}

fn wait_single(call: &Call) -> u64 {
    let limit = timeout(call.addr(4));
    check("KeWaitForSingleObject", call.addr(0), limit);
    finish("KeWaitForSingleObject", call, &[call.addr(0)], false, limit)
}

fn wait_multiple(call: &Call) -> u64 {
    let limit = timeout(call.addr(6));
    let (count, all) = (call.u32(0) as usize, call.u32(2) == 0);
    check("KeWaitForMultipleObjects", call.addr(1), limit);
    // "Up to THREAD_WAIT_OBJECTS (3) wait blocks are in the thread object, up to MAXIMUM_WAIT_OBJECTS (64) with WaitBlockArray".
    if count == 0 || count > 64 || (count > 3 && call.addr(7) == 0) {
        // MAXIMUM_WAIT_OBJECTS_EXCEEDED
        stop::bug_check(
            0x0c,
            [0; 4],
            format!(
                "KeWaitForMultipleObjects with {count} objects, WaitBlockArray {:#x}",
                call.addr(7)
            ),
        );
    }
    let objects: Vec<usize> = (0..count)
        .map(|index| peek(call.addr(1) + 8 * index))
        .collect();
    finish("KeWaitForMultipleObjects", call, &objects, all, limit)
}

fn delay(call: &Call) -> u64 {
    irql::require_no_lock_to_wait("KeDelayExecutionThread");
    let never = super::host::HostEvent::manual();
    let limit = timeout(call.addr(2));
    if limit == Timeout::Zero {
        if explore::on() {
            explore::pause();
        } else {
            std::thread::yield_now();
        }
        return 0;
    }
    finish(
        "KeDelayExecutionThread",
        call,
        &[never.address()],
        false,
        limit,
    );
    0
}

fn query_system_time(call: &Call) -> u64 {
    poke(call.addr(0), clock::system_time());
    0
}

fn query_interrupt_time(call: &Call) -> u64 {
    let now = clock::interrupt_time();
    poke(call.addr(0), now);
    now
}

fn performance_counter(call: &Call) -> u64 {
    if call.addr(0) != 0 {
        poke(call.addr(0), 10_000_000_u64);
    }
    clock::interrupt_time()
}

fn enter_critical(_: &Call) -> u64 {
    thread::current()
        .kernel_apc_disable
        .fetch_sub(1, Ordering::Relaxed);
    0
}

fn leave_critical(_: &Call) -> u64 {
    if thread::current()
        .kernel_apc_disable
        .fetch_add(1, Ordering::Relaxed)
        >= 0
    {
        stop::bug_check(
            0xc4,
            [0x3e, 0, 0, 0],
            "KeLeaveCriticalRegion without KeEnterCriticalRegion",
        );
    }
    0
}

fn enter_guarded(_: &Call) -> u64 {
    thread::current()
        .special_apc_disable
        .fetch_sub(1, Ordering::Relaxed);
    0
}

fn leave_guarded(_: &Call) -> u64 {
    if thread::current()
        .special_apc_disable
        .fetch_add(1, Ordering::Relaxed)
        >= 0
    {
        stop::enforce(
            Stop::verifier(0x4000e),
            [0; 3],
            "KeLeaveGuardedRegion without KeEnterGuardedRegion",
        );
    }
    super::apc::deliver();
    0
}

/// KeAreApcsDisabled: normal kernel APCs are off.
fn apcs_disabled() -> bool {
    let thread = thread::current();
    thread.kernel_apc_disable.load(Ordering::Relaxed) != 0
        || thread.special_apc_disable.load(Ordering::Relaxed) != 0
}

/// KeAreAllApcsDisabled: in a guarded region, or at or above APC_LEVEL (its page).
fn all_apcs_disabled() -> bool {
    thread::current()
        .special_apc_disable
        .load(Ordering::Relaxed)
        != 0
        || irql::current() >= APC_LEVEL
}
