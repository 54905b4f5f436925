//! The pool routines that drivers import. IRQL rules depend on the pool and are applied by [`super::allocate`].

use super::{Contents, PoolKind, allocate, release};
use crate::fault::{FaultKind, should_fail};
use crate::gate::{Call, IrqlRule, Routine};
use crate::own::{self, Own};
use crate::stop::{self, Stop};
use crate::trace::{self, EventKind};

/// Routines of this module.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "ExAllocatePool2",
        args: 3,
        irql: IrqlRule::Any,
        run: ex_allocate_pool2,
    },
    Routine {
        name: "ExAllocatePoolWithTag",
        args: 3,
        irql: IrqlRule::Any,
        run: ex_allocate_pool_with_tag,
    },
    Routine {
        name: "ExAllocatePool",
        args: 2,
        irql: IrqlRule::Any,
        run: ex_allocate_pool,
    },
    Routine {
        name: "ExFreePool",
        args: 1,
        irql: IrqlRule::Any,
        run: ex_free_pool,
    },
    Routine {
        name: "ExFreePoolWithTag",
        args: 2,
        irql: IrqlRule::Any,
        run: ex_free_pool_with_tag,
    },
    Routine {
        name: "ExFreePool2",
        args: 4,
        irql: IrqlRule::Any,
        run: ex_free_pool_with_tag,
    },
];

// "ExAllocatePool2", POOL_FLAGS.
const POOL_FLAG_UNINITIALIZED: u64 = 0x2;
const POOL_FLAG_RAISE_ON_FAILURE: u64 = 0x20;
const POOL_FLAG_NON_PAGED: u64 = 0x40;
const POOL_FLAG_NON_PAGED_EXECUTE: u64 = 0x80;
const POOL_FLAG_PAGED: u64 = 0x100;

fn ex_allocate_pool2(call: &Call) -> u64 {
    let (flags, bytes, tag) = (call.arg(0), call.addr(1), call.u32(2));
    let kind = match flags & (POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED) {
        POOL_FLAG_NON_PAGED => PoolKind::NonPaged,
        POOL_FLAG_PAGED => PoolKind::Paged,
        POOL_FLAG_NON_PAGED_EXECUTE => executable(call),
        // The page: an invalid combination fails the allocation.
        _ => return 0,
    };
    if tag == 0 {
        // The page: "Each ASCII character in the tag must be …"; 0 is refused.
        return 0;
    }
    let contents = if flags & POOL_FLAG_UNINITIALIZED == 0 {
        Contents::Zeroed
    } else {
        Contents::Pattern
    };
    let block = fallible(call, bytes, tag, kind, contents);
    if block == 0 && flags & POOL_FLAG_RAISE_ON_FAILURE != 0 {
        stop::bug_check(
            0x1E,
            [0xC000_009A, call.caller() as u64, 0, 0],
            "pool allocation raised STATUS_INSUFFICIENT_RESOURCES",
        );
    }
    block
}

fn ex_allocate_pool_with_tag(call: &Call) -> u64 {
    of_type(call, call.u32(2))
}

fn ex_allocate_pool(call: &Call) -> u64 {
    of_type(call, u32::from_le_bytes(*b"None"))
}

/// `POOL_TYPE`: bit 0 is paged, bit 2 cache aligned, 512 no-execute.
fn of_type(call: &Call, tag: u32) -> u64 {
    let kind = match call.u32(0) {
        1 | 5 => PoolKind::Paged,
        512 | 516 => PoolKind::NonPaged,
        0 | 4 => executable(call),
        other => own::violation(
            Own::PoolType,
            [u64::from(other), 0, 0],
            format!("unknown pool type {other}"),
        ),
    };
    fallible(call, call.addr(1), tag, kind, Contents::Pattern)
}

/// Executable pool: a rule against it, where that is on, and otherwise ordinary pool, which nothing here can execute.
fn executable(call: &Call) -> PoolKind {
    stop::enforce(
        Stop::verifier(0x2000),
        [call.caller() as u64, call.arg(0), u64::from(call.u32(2))],
        format!(
            "executable pool asked for by {}",
            stop::describe(call.caller())
        ),
    );
    PoolKind::NonPaged
}

fn fallible(call: &Call, bytes: usize, tag: u32, kind: PoolKind, contents: Contents) -> u64 {
    if should_fail(call, FaultKind::Pool) {
        return 0;
    }
    if bytes > 1 << 40 {
        trace::event(EventKind::Pool, call.caller(), || {
            format!("{bytes} bytes of pool: more than there can be")
        });
        return 0;
    }
    allocate(bytes, tag, kind, contents, call.caller()) as u64
}

fn ex_free_pool(call: &Call) -> u64 {
    free(call, 0)
}

fn ex_free_pool_with_tag(call: &Call) -> u64 {
    free(call, call.u32(1))
}

fn free(call: &Call, tag: u32) -> u64 {
    if call.arg(0) == 0 {
        stop::bug_check(
            0xC2,
            [0x46, 0, 0, 0],
            format!("NULL freed by {}", stop::describe(call.caller())),
        );
    }
    release(call.addr(0), tag, call.caller());
    0
}
