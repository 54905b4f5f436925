//! KMUTEX, and the fast and guarded mutexes, which are not dispatcher objects but wait on an event inside.

use std::sync::atomic::Ordering;

use super::{Sleep, Timeout, lock};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::order::{self, require_resident};
use crate::irql::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::layout::ke::{self, FastMutex, Header, Mutant};
use crate::stop::{self, Stop};
use crate::thread::{self, Thread};

const ACQUIRE: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0x33));
const RELEASE: IrqlRule = IrqlRule::Exactly(APC_LEVEL, Stop::verifier(0x34));
const UNSAFE: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0x39));
const GUARDED: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0x2000f));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeInitializeMutex",
        args: 2,
        irql: IrqlRule::Any,
        run: initialize,
    },
    Routine {
        name: "KeReleaseMutex",
        args: 2,
        irql: IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0x20011)),
        run: release,
    },
    Routine {
        name: "KeReadStateMutex",
        args: 1,
        irql: IrqlRule::Any,
        run: read_state,
    },
    Routine {
        name: "ExAcquireFastMutex",
        args: 1,
        irql: ACQUIRE,
        run: fast_acquire,
    },
    Routine {
        name: "ExReleaseFastMutex",
        args: 1,
        irql: RELEASE,
        run: fast_release,
    },
    Routine {
        name: "ExTryToAcquireFastMutex",
        args: 1,
        irql: ACQUIRE,
        run: fast_try,
    },
    Routine {
        name: "ExAcquireFastMutexUnsafe",
        args: 1,
        irql: UNSAFE,
        run: unsafe_acquire,
    },
    Routine {
        name: "ExReleaseFastMutexUnsafe",
        args: 1,
        irql: UNSAFE,
        run: unsafe_release,
    },
    Routine {
        name: "KeInitializeGuardedMutex",
        args: 1,
        irql: IrqlRule::Any,
        run: guarded_initialize,
    },
    Routine {
        name: "KeAcquireGuardedMutex",
        args: 1,
        irql: GUARDED,
        run: guarded_acquire,
    },
    Routine {
        name: "KeReleaseGuardedMutex",
        args: 1,
        irql: GUARDED,
        run: guarded_release,
    },
];

fn initialize(call: &Call) -> u64 {
    let mutant = Mutant(call.addr(0));
    order::forget(mutant.0, 1);
    require_resident(call, mutant.0);
    super::event::make(mutant.0, ke::MUTANT, true);
    Header(mutant.0).size().set(14);
    mutant.list().set([0, 0]);
    mutant.owner().set(0);
    mutant.abandoned().set(0);
    mutant.apc_disable().set(1);
    0
}

/// Whether a dispatcher object is a mutex.
pub(super) fn is_mutex(object: usize) -> bool {
    Header(object).kind().get() & 0x7f == ke::MUTANT
}

/// Whether it is one that the current thread owns.
pub(super) fn is_owned(object: usize) -> bool {
    is_mutex(object) && Mutant(object).owner().get() == thread::current().object
}

/// Gives a mutex to a thread; owning one disables normal kernel APCs (KeWaitForSingleObject, "mutex" remarks).
pub(super) fn take(object: usize, thread: &Thread) {
    let (header, mutant) = (Header(object), Mutant(object));
    let state = header.signal_state().get();
    header.signal_state().set(state - 1);
    if state == 1 {
        mutant.owner().set(thread.object);
        if mutant.apc_disable().get() != 0 {
            thread.kernel_apc_disable.fetch_sub(1, Ordering::Relaxed);
        }
        thread.owned_mutexes.fetch_add(1, Ordering::Relaxed);
    }
}

fn release(call: &Call) -> u64 {
    let object = call.addr(0);
    let thread = thread::current();
    let (header, mutant) = (Header(object), Mutant(object));
    let mut state = lock();
    let previous = header.signal_state().get();
    if mutant.owner().get() != thread.object {
        drop(state);
        // KeReleaseMutex raises STATUS_MUTANT_NOT_OWNED (0xC0000046).
        stop::bug_check(
            0x1e,
            [0xc000_0046, object as u64, 0, 0],
            "KeReleaseMutex by a thread that does not own the mutex",
        );
    }
    let next = previous + 1;
    let mut released = false;
    if next == 1 {
        mutant.owner().set(0);
        if mutant.apc_disable().get() != 0 {
            thread.kernel_apc_disable.fetch_add(1, Ordering::Relaxed);
        }
        thread.owned_mutexes.fetch_sub(1, Ordering::Relaxed);
        released = true;
        state.signal(object, 1);
    } else {
        header.signal_state().set(next);
    }
    drop(state);
    if released {
        order::released(object);
    }
    u64::from(previous.cast_unsigned())
}

fn read_state(call: &Call) -> u64 {
    u64::from(Header(call.addr(0)).signal_state().get().cast_unsigned())
}

/// A thread ends: THREAD_TERMINATE_HELD_MUTEX (0x4000008A) if it still owns a mutex.
pub(crate) fn check_none_owned(thread: &Thread) {
    let owned = thread.owned_mutexes.load(Ordering::Relaxed);
    if owned != 0 {
        stop::bug_check(
            0x4000_008a,
            [thread.object as u64, 0, 0, 0],
            format!("a thread ends owning {owned} mutexes"),
        );
    }
}

/// Takes the mutex or waits for it, at whatever IRQL is right for the kind.
fn enter(mutex: FastMutex, caller: usize) {
    let thread = thread::current();
    if mutex.owner().get() == thread.object {
        stop::bug_check(
            0xc4,
            [0x1000, mutex.0 as u64, 0, 0],
            "a fast mutex is acquired twice by one thread",
        );
    }
    order::acquiring(mutex.0);
    let event = Header(mutex.event().address()).kind().get() & 0x7f;
    let count = mutex.count().get();
    if event != ke::SYNCHRONIZATION_EVENT || !matches!(count, 0 | 1) {
        stop::bug_check(
            0xc4,
            [0x1002, mutex.0 as u64, 0, 0],
            format!("fast mutex {:#x} was never initialised", mutex.0),
        );
    }
    loop {
        {
            let _state = lock();
            if mutex.count().get() == 1 {
                mutex.count().set(0);
                mutex.owner().set(thread.object);
                order::acquired(mutex.0);
                return;
            }
            mutex.contention().set(mutex.contention().get() + 1);
        }
        super::wait(
            &[mutex.event().address()],
            false,
            Timeout::Never,
            Sleep::Wanted,
            caller,
        );
    }
}

fn leave(mutex: FastMutex, routine: &str) {
    let owner = mutex.owner().get();
    if owner != thread::current().object {
        let text = format!(
            "{routine} of {:#x}, which this thread does not own",
            mutex.0
        );
        stop::bug_check(
            0xc4,
            [
                if owner == 0 { 0x1007 } else { 0x1004 },
                mutex.0 as u64,
                0,
                0,
            ],
            text,
        );
    }
    order::released(mutex.0);
    let mut state = lock();
    mutex.owner().set(0);
    mutex.count().set(1);
    state.signal(mutex.event().address(), 1);
}

/// Writes a free fast mutex; `ExInitializeFastMutex` is inline in drivers.
fn guarded_initialize(call: &Call) -> u64 {
    let mutex = FastMutex(call.addr(0));
    order::forget(mutex.0, 1);
    require_resident(call, mutex.0);
    mutex.count().set(1);
    mutex.owner().set(0);
    mutex.contention().set(0);
    super::event::make(mutex.event().address(), ke::SYNCHRONIZATION_EVENT, false);
    0
}

fn fast_acquire(call: &Call) -> u64 {
    let mutex = FastMutex(call.addr(0));
    require_resident(call, mutex.0);
    let old = irql::raise_to(APC_LEVEL);
    enter(mutex, call.caller());
    mutex.old_irql().set(old.into());
    0
}

fn fast_try(call: &Call) -> u64 {
    let mutex = FastMutex(call.addr(0));
    let _state = lock();
    if mutex.count().get() != 1 {
        return 0;
    }
    mutex.count().set(0);
    mutex.owner().set(thread::current().object);
    mutex.old_irql().set(irql::raise_to(APC_LEVEL).into());
    order::acquired(mutex.0);
    1
}

fn fast_release(call: &Call) -> u64 {
    let mutex = FastMutex(call.addr(0));
    let old = u8::try_from(mutex.old_irql().get() & 0xff).unwrap_or(0);
    leave(mutex, "ExReleaseFastMutex");
    irql::lower_to(old);
    0
}

fn require_apcs_off(code: u64, routine: &str) {
    let thread = thread::current();
    let disabled = thread.kernel_apc_disable.load(Ordering::Relaxed) != 0
        || thread.special_apc_disable.load(Ordering::Relaxed) != 0
        || irql::current() == APC_LEVEL;
    if !disabled {
        stop::bug_check(
            0xc4,
            [code, irql::current().into(), 0, 0],
            format!("{routine} with normal kernel APCs enabled"),
        );
    }
}

fn unsafe_acquire(call: &Call) -> u64 {
    require_apcs_off(0x39, "ExAcquireFastMutexUnsafe");
    enter(FastMutex(call.addr(0)), call.caller());
    0
}

fn unsafe_release(call: &Call) -> u64 {
    require_apcs_off(0x3a, "ExReleaseFastMutexUnsafe");
    leave(FastMutex(call.addr(0)), "ExReleaseFastMutexUnsafe");
    0
}

fn guarded_acquire(call: &Call) -> u64 {
    thread::current()
        .special_apc_disable
        .fetch_sub(1, Ordering::Relaxed);
    enter(FastMutex(call.addr(0)), call.caller());
    0
}

fn guarded_release(call: &Call) -> u64 {
    leave(FastMutex(call.addr(0)), "KeReleaseGuardedMutex");
    thread::current()
        .special_apc_disable
        .fetch_add(1, Ordering::Relaxed);
    super::apc::deliver();
    0
}
