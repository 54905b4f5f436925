//! Fault injection: fail the n-th fallible call of an image, or all its allocations.
//!
//! Every kernel routine that may fail for lack of resources asks [`should_fail`] exactly once per call, before it
//! changes anything.

use crate::gate::Call;
use crate::image::{self, Image};
use crate::trace::{self, EventKind};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

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

/// The fault plan of one image.
#[derive(Debug, Default)]
pub struct Plan {
    nth: AtomicU32,
    counted: AtomicU32,
    all: AtomicBool,
}

/// Whether this call has to fail. Counts it.
pub fn should_fail(call: &Call, kind: FaultKind) -> bool {
    let Some(image) = call.image() else {
        return false;
    };
    let plan = &image.faults;
    let number = plan.counted.fetch_add(1, Ordering::Relaxed) + 1;
    let nth = plan.nth.load(Ordering::Relaxed);
    let hit = nth != 0 && number == nth;
    let fail = hit
        || (kind.is_allocation() && plan.all.load(Ordering::Relaxed))
        || (kind != FaultKind::Object && draw());
    if fail {
        trace::event(EventKind::Fault, call.caller(), || {
            format!(
                "{} made to fail ({kind:?}, fallible call {number})",
                call.routine()
            )
        });
    }
    fail
}

/// "Low Resources Simulation": some calls fail by chance, which the seed decides.
fn draw() -> bool {
    static DRAWS: AtomicU64 = AtomicU64::new(0);
    let options = crate::options();
    if options.low_resources == 0 {
        return false;
    }
    // SplitMix64.
    let step = 0x9E37_79B9_7F4A_7C15_u64;
    let number = DRAWS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let mut value = options.seed.wrapping_add(number.wrapping_mul(step));
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (value ^ (value >> 31)) % 10_000 < u64::from(options.low_resources)
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
    image.faults.nth.store(0, Ordering::Relaxed);
    image.faults.counted.store(0, Ordering::Relaxed);
    image.faults.nth.store(nth, Ordering::Relaxed);
}

/// Fallible calls of the image since [`fail_nth`].
pub fn counted(image: &Image) -> u32 {
    image.faults.counted.load(Ordering::Relaxed)
}

/// Lets every fallible allocation of the image fail, or none.
pub fn fail_all(image: &Image, fail: bool) {
    image.faults.all.store(fail, Ordering::Relaxed);
}
