//! Parts with a known defect, and their repaired twins: what finds defects must find these, and nothing in the others.

use alloc::boxed::Box;
use core::{
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use wdk_sys::ntddk;

use super::stage::Stage;
use crate::nt::{event::Event, watch::Watch};

/// What these parts share.
pub(super) struct Racy {
    number: Box<Watch<u32>>,
    other: Box<Watch<u32>>,
    event: Event,
    taken: AtomicU32,
}

impl Racy {
    pub(super) fn new() -> Self {
        Self {
            number: Box::new(Watch::new(0)),
            other: Box::new(Watch::new(0)),
            event: Event::new(),
            taken: AtomicU32::new(0),
        }
    }

    pub(super) fn reset(&self) {
        self.number.update(|number| *number = 0);
        self.taken.store(0, Ordering::SeqCst);
        self.clear();
    }

    pub(super) fn number(&self) -> u32 {
        self.number.read(|number| *number)
    }

    fn clear(&self) {
        // SAFETY: The event is initialised.
        unsafe { ntddk::KeClearEvent(self.event.as_ptr()) };
    }

    fn wait(&self) {
        // SAFETY: The event is initialised; 0: Executive, KernelMode, not alertable. Without a limit.
        let _ = unsafe {
            ntddk::KeWaitForSingleObject(self.event.as_ptr().cast(), 0, 0, 0, ptr::null_mut())
        };
    }
}

/// Reads in one hold, and writes in another.
pub(super) fn add_in_two_holds(stage: &Stage) -> i32 {
    let number = &stage.racy.number;
    let before = number.read(|number| *number);
    number.update(|number| *number = before.wrapping_add(1));
    0
}

pub(super) fn add_in_one_hold(stage: &Stage) -> i32 {
    let number = &stage.racy.number;
    number.update(|number| *number = number.wrapping_add(1));
    0
}

pub(super) fn first_then_second(stage: &Stage) -> i32 {
    let racy = &stage.racy;
    racy.number.read(|_| racy.other.read(|_| 0))
}

/// The other order.
pub(super) fn second_then_first(stage: &Stage) -> i32 {
    let racy = &stage.racy;
    racy.other.read(|_| racy.number.read(|_| 0))
}

pub(super) fn tell(stage: &Stage) -> i32 {
    stage.racy.number.update(|number| *number = 1);
    stage.racy.event.set();
    0
}

/// Clears the event after the look: the signal in between is lost.
pub(super) fn look_then_clear(stage: &Stage) -> i32 {
    while stage.racy.number() == 0 {
        stage.racy.clear();
        stage.racy.wait();
    }
    0
}

pub(super) fn clear_then_look(stage: &Stage) -> i32 {
    loop {
        stage.racy.clear();
        if stage.racy.number() != 0 {
            return 0;
        }
        stage.racy.wait();
    }
}

/// Checks and acts with two accesses to plain memory, and no call of the kernel in between. 1 if it won.
pub(super) fn take_in_two_steps(stage: &Stage) -> i32 {
    let taken = &stage.racy.taken;
    if taken.load(Ordering::Relaxed) != 0 {
        return 0;
    }
    taken.store(1, Ordering::Relaxed);
    1
}

pub(super) fn take_in_one_step(stage: &Stage) -> i32 {
    let taken = &stage.racy.taken;
    let won = taken.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
    i32::from(won.is_ok())
}
