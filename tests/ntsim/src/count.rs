//! Instructions and kernel calls of drivers, counted one by one with the processor's trap flag: a measure that is the same in
//! each run.
//!
//! ```c
//! VOID NtsimCountInstructions(BOOLEAN On);
//! ```
//!
//! Drivers look the routine up with `MmGetSystemRoutineAddress`. From one call to the next it counts what the calling thread
//! executes in driver images, dispatch and completion routines that the kernel calls included. The host program reads the
//! result with [`take`]. A repeated string instruction counts once.
//!
//! ```c
//! ULONG64 NtsimReadCounter(ULONG Counter);
//! ```
//!
//! How often something has happened since boot, on whatever thread: 0, a wait of the kernel has put its thread to sleep;
//! 1, a thread of this process has given its processor up because it had nothing to do.

use core::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use crate::dispatcher;
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::image::{self, unwind::Registers};
use crate::thread;

/// The routines of this module.
pub(crate) const ROUTINES: &[Routine] = &[
    Routine {
        name: "NtsimCountInstructions",
        args: 1,
        irql: IrqlRule::Any,
        run: count,
    },
    Routine {
        name: "NtsimReadCounter",
        args: 1,
        irql: IrqlRule::Any,
        run: read,
    },
];

/// What one image did.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// By function, those inlined in it included.
    pub instructions: BTreeMap<String, u64>,
    /// By the name of the kernel routine.
    pub calls: BTreeMap<&'static str, u64>,
}

impl Count {
    /// Instructions of all functions.
    #[must_use]
    pub fn all_instructions(&self) -> u64 {
        self.instructions.values().sum()
    }

    /// Calls of all routines.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// What was counted so far: places, and calls by the place that they came from.
#[derive(Default)]
struct Tally {
    places: HashMap<usize, u64>,
    calls: HashMap<(usize, &'static str), u64>,
    last: usize,
}

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static TALLY: RefCell<Tally> = RefCell::default();
}

static TAKEN: Mutex<BTreeMap<String, Count>> = Mutex::new(BTreeMap::new());

fn count(call: &Call) -> u64 {
    if call.u8(0) != 0 {
        COUNTS.set(true);
        call.thread().trap_on_return();
    } else if COUNTS.replace(false) {
        call.thread().do_not_trap_on_return();
        put_down(&TALLY.take());
    }
    0
}

fn read(call: &Call) -> u64 {
    match call.u32(0) {
        0 => dispatcher::lock().sleeps,
        _ => switches(),
    }
}

/// Voluntary context switches of this process.
fn switches() -> u64 {
    // SAFETY: Integers.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: The structure lives across the call, which cannot fail for the process itself.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    usage.ru_nvcsw.cast_unsigned()
}

/// Adds a tally to what the host program will read.
fn put_down(tally: &Tally) {
    let mut taken = TAKEN.lock();
    let image_of = |place| image::find(place).map(|image| image.name.clone());
    for (&place, number) in &tally.places {
        if let Some(image) = image_of(place) {
            let count = taken.entry(image).or_default();
            *count.instructions.entry(function(place)).or_default() += number;
        }
    }
    for (&(place, routine), number) in &tally.calls {
        if let Some(image) = image_of(place) {
            *taken
                .entry(image)
                .or_default()
                .calls
                .entry(routine)
                .or_default() += number;
        }
    }
}

/// The function at a place, without the distance from its start.
fn function(place: usize) -> String {
    let name = image::place(place);
    let end = name.rfind("+0x").unwrap_or(name.len());
    name.get(..end).unwrap_or(&name).to_owned()
}

/// What was counted since the last time, by image.
#[must_use]
pub fn take() -> BTreeMap<String, Count> {
    core::mem::take(&mut *TAKEN.lock())
}

/// A trap of the current thread: whether there are to be more. Nothing if nothing is counted.
pub(crate) fn trapped(registers: &Registers) -> Option<bool> {
    if !COUNTS.get() {
        return None;
    }
    let place = usize::try_from(registers.rip).unwrap_or(0);
    // The handler runs on top of a driver's code, never of the host's: nothing of the host's is in use.
    let goes_on = TALLY.with_borrow_mut(|tally| {
        if image::find(place).is_some() {
            if tally.last != place {
                *tally.places.entry(place).or_default() += 1;
            }
            tally.last = place;
            return true;
        }
        if gate::is_on_the_way(place) {
            return true;
        }
        if let Some(routine) = gate::name_of_thunk(place) {
            *tally.calls.entry((tally.last, routine)).or_default() += 1;
        }
        false
    });
    if !goes_on {
        // It called the kernel, or returned to it: on from where the thread is in driver code again.
        thread::current().trap_on_return();
    }
    Some(goes_on)
}
