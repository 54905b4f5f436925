//! What only this bench can do, offered to drivers under names that they look up with `MmGetSystemRoutineAddress`:
//! accounts, fault injection, break points, call counts. On any other kernel the look-up fails.
//!
//! ```c
//! VOID    NtsimAccount(PVOID ImageAddress, NTSIM_ACCOUNT *Out);
//! ULONG64 NtsimPoolBytes(PVOID ImageAddress, ULONG Tag);
//! VOID    NtsimFailNth(PVOID ImageAddress, ULONG Nth);
//! VOID    NtsimFailNewStack(PVOID ImageAddress, BOOLEAN On);
//! ULONG   NtsimFallibleCalls(VOID);
//! ULONG   NtsimFaults(VOID);
//! VOID    NtsimFailAll(PVOID ImageAddress, BOOLEAN On);
//! VOID    NtsimBreakAt(PVOID ImageAddress, PCSTR Routine, PKEVENT Reached, PKEVENT Continue);
//! ULONG64 NtsimCallCount(PVOID ImageAddress, PCSTR Routine);
//! ```
//!
//! `ImageAddress` is any address in an image; NULL selects all images where that makes sense.

use crate::account;
use crate::dispatcher::{self, Sleep};
use crate::fault::{self, selected};
use crate::gate::{Call, IrqlRule, Routine};
use crate::image;
use crate::pool;
use crate::trace::{self, EventKind};
use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use parking_lot::Mutex;

const ANY: IrqlRule = IrqlRule::Any;

/// Routines of this module.
pub(crate) const ROUTINES: &[Routine] = &[
    Routine {
        name: "NtsimAccount",
        args: 2,
        irql: ANY,
        run: ntsim_account,
    },
    Routine {
        name: "NtsimPoolBytes",
        args: 2,
        irql: ANY,
        run: ntsim_pool_bytes,
    },
    Routine {
        name: "NtsimFailNth",
        args: 2,
        irql: ANY,
        run: ntsim_fail_nth,
    },
    Routine {
        name: "NtsimFailNewStack",
        args: 2,
        irql: ANY,
        run: ntsim_fail_new_stack,
    },
    Routine {
        name: "NtsimFallibleCalls",
        args: 0,
        irql: ANY,
        run: |_| of_counted(fault::counted),
    },
    Routine {
        name: "NtsimFaults",
        args: 0,
        irql: ANY,
        run: |_| of_counted(fault::injected),
    },
    Routine {
        name: "NtsimFailAll",
        args: 2,
        irql: ANY,
        run: ntsim_fail_all,
    },
    Routine {
        name: "NtsimBreakAt",
        args: 4,
        irql: ANY,
        run: ntsim_break_at,
    },
    Routine {
        name: "NtsimCallCount",
        args: 2,
        irql: ANY,
        run: ntsim_call_count,
    },
];

/// `NTSIM_ACCOUNT`.
#[repr(C)]
struct RawAccount {
    pool_blocks: u64,
    pool_bytes: u64,
    irps: u64,
    mdls: u64,
    handles: u64,
    object_references: u64,
    work_items: u64,
}

fn ntsim_account(call: &Call) -> u64 {
    let counts = if call.arg(0) == 0 {
        account::counts(None)
    } else {
        account::counts_at(call.addr(0))
    };
    let raw = RawAccount {
        pool_blocks: counts.pool_blocks,
        pool_bytes: counts.pool_bytes,
        irps: counts.irps,
        mdls: counts.mdls,
        handles: counts.handles,
        object_references: counts.object_references,
        work_items: counts.work_items,
    };
    // SAFETY: The driver vouches for the result; a bad pointer faults, and the report names this routine and its caller.
    unsafe { call.ptr::<RawAccount>(1).write_unaligned(raw) };
    0
}

fn ntsim_pool_bytes(call: &Call) -> u64 {
    let tag = call.u32(1);
    selected(call.addr(0))
        .into_iter()
        .map(|image| pool::usage(Some(image), (tag != 0).then_some(tag)).bytes)
        .sum()
}

/// Image number plus one of the last `NtsimFailNth` or `NtsimFailNewStack`, for the counts.
static COUNTED: AtomicU32 = AtomicU32::new(0);

fn ntsim_fail_nth(call: &Call) -> u64 {
    for image in selected(call.addr(0)) {
        fault::fail_nth(image, call.u32(1));
        COUNTED.store(image.id + 1, Ordering::Relaxed);
    }
    0
}

fn ntsim_fail_new_stack(call: &Call) -> u64 {
    for image in selected(call.addr(0)) {
        fault::fail_new_stack(image, call.u8(1) != 0);
        COUNTED.store(image.id + 1, Ordering::Relaxed);
    }
    0
}

fn of_counted(count: fn(&image::Image) -> u32) -> u64 {
    let id = COUNTED.load(Ordering::Relaxed);
    image::loaded()
        .into_iter()
        .find(|image| image.id + 1 == id)
        .map_or(0, |image| u64::from(count(image)))
}

fn ntsim_fail_all(call: &Call) -> u64 {
    for image in selected(call.addr(0)) {
        fault::fail_all(image, call.u8(1) != 0);
    }
    0
}

fn name(call: &Call, n: usize) -> String {
    // SAFETY: As in `ntsim_account`: a terminated string.
    unsafe { CStr::from_ptr(call.ptr(n)) }
        .to_string_lossy()
        .into_owned()
}

fn ntsim_call_count(call: &Call) -> u64 {
    let routine = name(call, 1);
    selected(call.addr(0))
        .into_iter()
        .map(|image| image.call_count(&routine))
        .sum()
}

/// An armed break point.
struct Break {
    image_address: usize,
    routine: String,
    reached: usize,
    go_on: usize,
}

static ARMED: AtomicUsize = AtomicUsize::new(0);
static BREAKS: Mutex<Vec<Break>> = Mutex::new(Vec::new());

fn ntsim_break_at(call: &Call) -> u64 {
    let armed = Break {
        image_address: call.addr(0),
        routine: name(call, 1),
        reached: call.addr(2),
        go_on: call.addr(3),
    };
    let mut breaks = BREAKS.lock();
    if armed.reached == 0 {
        let before = breaks.len();
        breaks.retain(|other| {
            (&other.routine, other.image_address) != (&armed.routine, armed.image_address)
        });
        ARMED.fetch_sub(before - breaks.len(), Ordering::SeqCst);
        return 0;
    }
    breaks.push(armed);
    ARMED.fetch_add(1, Ordering::SeqCst);
    0
}

/// Whether any break point is armed.
pub(crate) fn breaks_armed() -> bool {
    ARMED.load(Ordering::SeqCst) != 0
}

/// Stops at a break point of this routine and image, once: says that it was reached and waits to go on.
pub(crate) fn break_here(routine: &str, call: &Call) {
    let Some(image) = call.image() else { return };
    let hit = {
        let mut breaks = BREAKS.lock();
        let matches = |armed: &Break| {
            armed.routine == routine
                && (armed.image_address == 0
                    || image::find(armed.image_address).is_some_and(|wanted| wanted.id == image.id))
        };
        breaks
            .iter()
            .position(matches)
            .map(|index| breaks.remove(index))
    };
    let Some(hit) = hit else { return };
    ARMED.fetch_sub(1, Ordering::SeqCst);
    trace::event(EventKind::Note, call.caller(), || {
        format!("stops before {routine} until told to go on")
    });
    dispatcher::event::signal(hit.reached);
    dispatcher::wait_one(hit.go_on, Sleep::Wanted);
}
