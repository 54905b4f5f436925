//! The lock alone: whether somebody has it.

use crate::sync::{AtomicBool, Ordering, spin_loop, yield_now};

/// How often one looks before one lets others run.
const LOOKS: u32 = 64;

/// Only one exchange finds that nobody has it; what its owner did is seen after the store that gives it back.
pub(crate) struct Flag(pub(crate) AtomicBool);

impl Flag {
    pub(crate) fn lock(&self) {
        while !self.try_lock() {
            let mut looks = 0;
            while self.0.load(Ordering::Relaxed) {
                looks += 1;
                if looks < LOOKS {
                    spin_loop();
                } else {
                    yield_now();
                }
            }
        }
    }

    pub(crate) fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    /// Only for who has it.
    pub(crate) fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}
