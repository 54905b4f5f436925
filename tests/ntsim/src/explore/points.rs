//! The calls of the kernel at which a thread can be preempted.
//!
//! What drivers do between two calls is not interleaved with anything, unless they are stepped; so a call needs a decision
//! only if another thread could tell whether it has happened, or be told something by it.

use super::token::{self, Place};
use core::sync::atomic::{AtomicU8, Ordering};

use super::step;
use crate::image;

/// Calls that neither change nor read anything that other threads have a part in.
const PRIVATE: [&str; 20] = [
    "KeGetCurrent",
    "PsGetCurrent",
    "IoGetCurrent",
    "PsIsSystemThread",
    "IoIsSystemThread",
    "KeQuery",
    "KeAre",
    "KeInitialize",
    "ExInitialize",
    "ExAllocatePool",
    "ExFreePool",
    "IoAllocate",
    "IoFree",
    "IoBuild",
    "IoInitializeIrp",
    "IoGet",
    "MmBuildMdl",
    "MmGet",
    "Rtl",
    "Ntsim",
];
/// More of them, by their whole names.
const PRIVATE_EXACTLY: [&str; 8] = [
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "DbgPrint",
    "DbgPrintEx",
    "KeEnterCriticalRegion",
    "KeLeaveCriticalRegion",
];
/// A lock's hold is one step for all who take the lock: it is entered at one decision, and left at one.
const ENTERS: [&str; 3] = [
    "KeAcquireSpinLock",
    "KeAcquireInStackQueuedSpinLock",
    "IoAcquireCancelSpinLock",
];
const LEAVES: [&str; 3] = [
    "KeReleaseSpinLock",
    "KeReleaseInStackQueuedSpinLock",
    "IoReleaseCancelSpinLock",
];
/// A decision whichever driver calls: it leads into the drivers above.
const EVERYONES: &str = "IofCompleteRequest";

/// A driver says that something else could happen here.
const SAID: &str = "NtsimExplore";

fn any(prefixes: &[&str], name: &str) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// What a call is to the search.
#[derive(Clone, Copy)]
struct Class(u8);

impl Class {
    const KNOWN: u8 = 1;
    const ENTRY: u8 = 2;
    const EXIT: u8 = 4;
    const EVERYONES: u8 = 8;
    const SAID: u8 = 16;

    fn of(name: &str) -> Self {
        let mut bits = Self::KNOWN;
        let private = any(&PRIVATE, name) || PRIVATE_EXACTLY.contains(&name);
        for (applies, bit) in [
            (!private && !any(&LEAVES, name), Self::ENTRY),
            (!private && !any(&ENTERS, name), Self::EXIT),
            (name == EVERYONES, Self::EVERYONES),
            (name == SAID, Self::SAID | Self::EXIT),
        ] {
            bits |= if applies { bit } else { 0 };
        }
        Self(bits)
    }

    /// The class of an entry of the gate's table, which is worked out once.
    fn of_entry(index: u32, name: &str) -> Self {
        let Some(slot) = CLASSES.get(index as usize) else {
            return Self::of(name);
        };
        let known = slot.load(Ordering::Relaxed);
        if known != 0 {
            return Self(known);
        }
        let class = Self::of(name);
        slot.store(class.0, Ordering::Relaxed);
        class
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

static CLASSES: [AtomicU8; 4096] = [const { AtomicU8::new(0) }; 4096];

/// Identifies a place: what happens there, and where in its image.
fn mark(kind: u64, name: &str, place: usize, image: Option<&image::Image>) -> u64 {
    let place = image.map_or(0, |image| place.wrapping_sub(image.base));
    (kind << 56) ^ ((name.len() as u64) << 48) ^ place as u64
}

/// A driver has called `name`, which has not run; `target` is the routine if it is another driver's.
pub(crate) fn entry(index: u32, name: &'static str, caller: usize, target: Option<usize>) {
    if !token::deciding() {
        return;
    }
    let class = Class::of_entry(index, name);
    if !class.has(Class::ENTRY) {
        return;
    }
    let place = target.unwrap_or(caller);
    let image = image::find(place);
    token::point(&Place {
        image: image
            .filter(|_| !class.has(Class::EVERYONES))
            .map(|image| image.name.as_str()),
        mark: mark(1, name, place, image),
        steppable: false,
        calls: image.is_some(),
    });
}

/// `name` has run and returns to the driver.
pub(crate) fn exit(index: u32, name: &'static str, caller: usize) {
    if !token::deciding() {
        return;
    }
    let class = Class::of_entry(index, name);
    let image = image::find(caller);
    let steps = token::point(&Place {
        image: image
            .filter(|_| !class.has(Class::SAID))
            .map(|image| image.name.as_str()),
        mark: mark(2, name, caller, image),
        steppable: image.is_some(),
        calls: image.is_some() && class.has(Class::EXIT),
    });
    step::arm(steps);
}

/// The kernel is about to call driver code.
pub(crate) fn into_driver(target: usize) {
    if !token::deciding() {
        return;
    }
    let image = image::find(target);
    let steps = token::point(&Place {
        image: image.map(|image| image.name.as_str()),
        mark: mark(3, "", target, image),
        steppable: image.is_some(),
        calls: false,
    });
    step::arm(steps);
}
