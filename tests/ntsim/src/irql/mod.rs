//! IRQL: the level of each simulated thread, and what a callback must leave as it found it.
//!
//! Each simulated thread counts as a processor of its own as far as IRQL goes: raising it stops nobody else.

pub(crate) mod order;
pub mod processors;
pub mod spin_lock;

use std::sync::atomic::Ordering;

use crate::dispatcher::apc;
use crate::gate::{Call, IrqlRule, Routine};
use crate::own::Own;
use crate::stop::{self, Stop};
use crate::thread;

pub use spin_lock::{
    acquire_kernel_lock, release_kernel_lock, require_no_lock, require_no_lock_to_wait,
};
pub(crate) use spin_lock::{held_in, owner_of};

/// PASSIVE_LEVEL.
pub const PASSIVE_LEVEL: u8 = 0;
/// APC_LEVEL.
pub const APC_LEVEL: u8 = 1;
/// DISPATCH_LEVEL.
pub const DISPATCH_LEVEL: u8 = 2;
/// HIGH_LEVEL.
pub const HIGH_LEVEL: u8 = 15;

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "KeGetCurrentIrql",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| current().into(),
    },
    Routine {
        name: "KfRaiseIrql",
        args: 1,
        irql: IrqlRule::Any,
        run: |call| raise_checked(call.u8(0)).into(),
    },
    Routine {
        name: "KeRaiseIrqlToDpcLevel",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| raise_checked(DISPATCH_LEVEL).into(),
    },
    Routine {
        name: "KeLowerIrql",
        args: 1,
        irql: IrqlRule::Any,
        run: lower,
    },
    Routine {
        name: "KfLowerIrql",
        args: 1,
        irql: IrqlRule::Any,
        run: lower,
    },
];

/// The IRQL of the current thread.
pub fn current() -> u8 {
    thread::try_current().map_or(PASSIVE_LEVEL, thread::Thread::irql)
}

fn set(irql: u8) {
    let thread = thread::current();
    if irql >= DISPATCH_LEVEL && thread.irql() < DISPATCH_LEVEL {
        crate::pageable::trim();
    }
    thread.irql.store(irql, Ordering::Release);
}

/// Raises the IRQL for the kernel's own purposes and returns the old one. Never lowers.
pub fn raise_to(irql: u8) -> u8 {
    let old = current();
    set(old.max(irql));
    old
}

/// Goes back to an IRQL that [`raise_to`] returned; APCs that waited for it run.
pub fn lower_to(irql: u8) {
    if irql >= APC_LEVEL {
        set(irql);
        return;
    }
    let thread = thread::current();
    thread.irql.store(irql, Ordering::Release);
    apc::lowered(thread);
}

fn raise_checked(irql: u8) -> u8 {
    let old = current();
    if irql < old || irql > HIGH_LEVEL {
        stop::bug_check(
            0xc4,
            [0x30, old.into(), irql.into(), 0],
            format!("KeRaiseIrql from {old} to {irql}"),
        );
    }
    set(irql);
    old
}

fn lower(call: &Call) -> u64 {
    let (old, new) = (current(), call.u8(0));
    if new > old {
        stop::bug_check(
            0xc4,
            [0x31, old.into(), new.into(), 0],
            format!("KeLowerIrql from {old} to {new}"),
        );
    }
    if new < DISPATCH_LEVEL {
        require_no_lock("KeLowerIrql below DISPATCH_LEVEL");
    }
    lower_to(new);
    0
}

/// What a callback must leave as it found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The IRQL.
    pub irql: u8,
    /// Normal and special APC disable counts.
    pub apcs: (i32, i32),
    locks: usize,
}

/// The context of the current thread.
pub fn context() -> Context {
    let thread = thread::current();
    let apcs = (
        thread.kernel_apc_disable.load(Ordering::Relaxed),
        thread.special_apc_disable.load(Ordering::Relaxed),
    );
    Context {
        irql: current(),
        apcs,
        locks: spin_lock::held_count(),
    }
}

/// What [`guarded`] calls a completion routine, for which Driver Verifier has numbers of its own.
pub const COMPLETION_ROUTINE: &str = "a completion routine";

/// Runs driver code that must return with the IRQL, APC counts and locks it was called with.
pub fn guarded<R>(what: &str, run: impl FnOnce() -> R) -> R {
    let before = context();
    let result = run();
    let after = context();
    if before != after {
        let text =
            format!("{what} returned with a changed context: {before:?} before, {after:?} after");
        let stop = match (what, before.irql == after.irql) {
            (COMPLETION_ROUTINE, false) => Stop::verifier(0xfa),
            (COMPLETION_ROUTINE, true) => Stop::verifier(0xfb),
            (_, false) => Own::CallbackIrql.stop(),
            (_, true) => Own::CallbackContext.stop(),
        };
        let rest = [0, before.irql.into(), after.irql.into()];
        stop::enforce(stop, rest, text);
    }
    result
}
