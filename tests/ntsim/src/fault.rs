//! Fault injection: fail the n-th fallible call of an image, the next one from a call stack that has not failed yet, or all
//! its allocations.
//!
//! Every kernel routine that may fail for lack of resources asks [`should_fail`] exactly once per call, before it
//! changes anything.

use crate::gate::Call;
use crate::image::{self, Image, unwind};
use crate::thread::Frame;
use crate::trace::{self, EventKind};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};

/// What kind of resource a fallible call wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Pool memory.
    Pool,
    /// An I/O request packet.
    Irp,
    /// A memory descriptor list.
    Mdl,
    /// A work item.
    WorkItem,
    /// A mapping or lock of pages.
    Map,
    /// The context of `IoSetCompletionRoutineEx`.
    CompletionContext,
    /// A handle or object: `ZwCreateFile`, `IoCreateDevice`, `PsCreateSystemThread`, …
    Object,
}

impl FaultKind {
    const fn is_allocation(self) -> bool {
        matches!(self, Self::Pool | Self::Irp | Self::Mdl | Self::WorkItem)
    }
}

/// Kernel routines that can be made to fail: all that ask [`should_fail`].
pub const FALLIBLE: &[&str] = &[
    "EtwRegister",
    "ExAllocateCacheAwareRundownProtection",
    "ExAllocatePool",
    "ExAllocatePool2",
    "ExAllocatePoolWithTag",
    "IoAllocateIrp",
    "IoAllocateIrpEx",
    "IoAllocateMdl",
    "IoAllocateWorkItem",
    "IoBuildDeviceIoControlRequest",
    "IoCreateDevice",
    "IoCreateFile",
    "IoCreateSymbolicLink",
    "IoCreateUnprotectedSymbolicLink",
    "IoSetCompletionRoutineEx",
    "MmMapLockedPages",
    "MmMapLockedPagesSpecifyCache",
    "ObOpenObjectByPointer",
    "ObReferenceObjectByHandle",
    "ObReferenceObjectByHandleWithTag",
    "PsCreateSystemThread",
    "RxCreateNetFobx",
    "RxDispatchToWorkerThread",
    "RxRegisterMinirdr",
    "ZwCreateFile",
    "ZwOpenFile",
    "ZwOpenKey",
    "ZwSetSecurityObject",
];

/// Where a fallible call comes from: the routine, and the return addresses as image and offset, innermost first.
type Origin = (&'static str, Vec<(u32, usize)>);

/// The fault plan of one image.
#[derive(Debug, Default)]
pub struct Plan {
    nth: AtomicU32,
    counted: AtomicU32,
    /// Fallible calls are counted: somebody has asked for a failure. Otherwise threads need not write to one place.
    counts: AtomicBool,
    injected: AtomicU32,
    all: AtomicBool,
    new_stack: AtomicBool,
    /// Every new stack fails, not only the next.
    new_stacks: AtomicBool,
    /// What has been made to fail for its call stack.
    failed: Mutex<HashSet<Origin>>,
    /// How often each routine was made to fail, other than by [`fail_all`].
    by_routine: Mutex<BTreeMap<&'static str, u64>>,
}

impl Plan {
    /// Whether a call is the one to fail, because its call stack has not failed yet. It has from now on.
    fn is_new(&self, call: &Call) -> bool {
        let every = self.new_stacks.load(Ordering::Relaxed);
        if !every && !self.new_stack.load(Ordering::Relaxed) {
            return false;
        }
        let origin = (call.routine(), stack(call));
        let mut failed = self.failed.lock();
        // Looked at under the lock: one call fails for each time it is asked for.
        let new = (every || self.new_stack.load(Ordering::Relaxed)) && failed.insert(origin);
        if new {
            self.new_stack.store(false, Ordering::Relaxed);
        }
        new
    }
}

/// The driver addresses that led to a call, as far as the kernel called driver code last.
fn stack(call: &Call) -> Vec<(u32, usize)> {
    let frames = call.thread().frames();
    let registers = frames.iter().rev().find_map(|frame| match frame {
        Frame::Call { registers, .. } => Some(*registers),
        Frame::Forwarded | Frame::Callback { .. } | Frame::Preempted(_) => None,
    });
    let addresses = registers.map_or_else(Vec::new, |registers| unwind::walk_from_call(&registers));
    addresses
        .into_iter()
        .filter_map(|address| image::find(address).map(|image| (image.id, address - image.base)))
        .collect()
}

/// Whether this call has to fail. Counts it.
pub fn should_fail(call: &Call, kind: FaultKind) -> bool {
    let Some(image) = call.image() else {
        return false;
    };
    debug_assert!(
        matches!(call.routine(), "(ntsim)") || FALLIBLE.contains(&call.routine()),
        "{} is not in the list of what can fail",
        call.routine()
    );
    let plan = &image.faults;
    let number = plan
        .counts
        .load(Ordering::Relaxed)
        .then(|| plan.counted.fetch_add(1, Ordering::Relaxed) + 1);
    let nth = plan.nth.load(Ordering::Relaxed);
    let hit = (nth != 0 && number == Some(nth)) || plan.is_new(call);
    if hit {
        plan.injected.fetch_add(1, Ordering::Relaxed);
        *plan.by_routine.lock().entry(call.routine()).or_default() += 1;
    }
    let fail = hit
        || (kind.is_allocation() && plan.all.load(Ordering::Relaxed))
        || (kind != FaultKind::Object && draw());
    if fail {
        trace::event(EventKind::Fault, call.caller(), || {
            let number = number.map_or(String::new(), |number| format!(", fallible call {number}"));
            format!("{} made to fail ({kind:?}{number})", call.routine())
        });
    }
    fail
}

/// "Low Resources Simulation": some calls fail by chance, which the seed decides.
fn draw() -> bool {
    static DRAWS: AtomicU64 = AtomicU64::new(0);
    let options = crate::options();
    if !options.rules.contains(crate::Rules::LOW_RESOURCES) {
        return false;
    }
    let value = mix(options.seed, DRAWS.fetch_add(1, Ordering::Relaxed));
    value % 10_000 < u64::from(options.low_resources)
}

/// The n-th number that a seed gives: SplitMix64.
pub(crate) fn mix(seed: u64, n: u64) -> u64 {
    let step = 0x9E37_79B9_7F4A_7C15_u64;
    let mut value = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(step));
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Images that an `ImageAddress` parameter selects: the one it lies in, or all for 0.
pub(crate) fn selected(address: usize) -> Vec<&'static Image> {
    if address == 0 {
        image::loaded()
    } else {
        image::find(address).into_iter().collect()
    }
}

/// The `nth` (1-based) fallible call of the image from now on fails, once; 0 turns this off.
pub fn fail_nth(image: &Image, nth: u32) {
    restart(image);
    image.faults.nth.store(nth, Ordering::Relaxed);
}

/// The next fallible call of the image from a call stack that has not failed yet fails, once, or none. What failed is kept
/// as long as the image.
pub fn fail_new_stack(image: &Image, fail: bool) {
    restart(image);
    image.faults.new_stack.store(fail, Ordering::Relaxed);
}

/// Every fallible call of the image from a call stack that has not failed yet fails, or none; for runs that are not taken step
/// by step. [`fail_nth`] and [`fail_new_stack`] leave this alone.
pub fn fail_new_stacks(image: &Image, fail: bool) {
    image.faults.new_stacks.store(fail, Ordering::Relaxed);
}

/// From how many different call stacks calls of the image failed, because of [`fail_new_stack`] or [`fail_new_stacks`].
pub fn failed_stacks(image: &Image) -> u64 {
    image.faults.failed.lock().len() as u64
}

/// What [`fail_nth`] is told about images that are not loaded yet, if it is told anything.
static NEW_IMAGES: AtomicU32 = AtomicU32::new(NOT_TOLD);
const NOT_TOLD: u32 = u32::MAX;

/// As [`fail_nth`], for every image that is loaded from now on: the only way to reach its `DllInitialize`.
pub fn fail_nth_of_new_images(nth: u32) {
    NEW_IMAGES.store(nth, Ordering::Relaxed);
}

impl Plan {
    /// The plan of an image that is being loaded.
    pub(crate) fn of_new_image() -> Self {
        let plan = Self::default();
        let nth = NEW_IMAGES.load(Ordering::Relaxed);
        if nth != NOT_TOLD {
            plan.nth.store(nth, Ordering::Relaxed);
            plan.counts.store(true, Ordering::Relaxed);
        }
        plan
    }
}

/// Nothing fails until the next request.
fn restart(image: &Image) {
    image.faults.nth.store(0, Ordering::Relaxed);
    image.faults.new_stack.store(false, Ordering::Relaxed);
    image.faults.counted.store(0, Ordering::Relaxed);
    image.faults.counts.store(true, Ordering::Relaxed);
    image.faults.injected.store(0, Ordering::Relaxed);
}

/// Calls of the image that failed since [`fail_nth`] or [`fail_new_stack`], because of it.
pub fn injected(image: &Image) -> u32 {
    image.faults.injected.load(Ordering::Relaxed)
}

/// How often each routine was made to fail for this image, by [`fail_nth`] and [`fail_new_stack`].
pub fn failed_by_routine(image: &Image) -> BTreeMap<&'static str, u64> {
    image.faults.by_routine.lock().clone()
}

/// Fallible calls of the image since [`fail_nth`] or [`fail_new_stack`].
pub fn counted(image: &Image) -> u32 {
    image.faults.counted.load(Ordering::Relaxed)
}

/// Lets every fallible allocation of the image fail, or none.
pub fn fail_all(image: &Image, fail: bool) {
    image.faults.all.store(fail, Ordering::Relaxed);
}
