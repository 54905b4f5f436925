//! A lock for a few instructions at a time: taking it is one locked instruction, giving it back a plain store.
//!
//! Who finds it taken spins, and soon lets other threads run; nobody is put to sleep, so nobody has to be woken, which is what
//! a lock that can be slept on has to find out with a second locked instruction. For what every request passes through.

mod flag;

use crate::sync::AtomicBool;
use flag::Flag;
use parking_lot::lock_api::{self, GuardSend};

/// The lock with what it protects.
pub(crate) type ShortLock<T> = lock_api::Mutex<RawShortLock, T>;

/// The lock alone.
pub(crate) struct RawShortLock(Flag);

// SAFETY: One has it at a time, and sees what those before did: `Flag`, of which the suite `models` tries every order.
unsafe impl lock_api::RawMutex for RawShortLock {
    const INIT: Self = Self(Flag(AtomicBool::new(false)));

    type GuardMarker = GuardSend;

    fn lock(&self) {
        self.0.lock();
    }

    fn try_lock(&self) -> bool {
        self.0.try_lock()
    }

    unsafe fn unlock(&self) {
        self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn one_thread_has_it_at_a_time() {
        const THREADS: usize = 4;
        static COUNT: ShortLock<u64> = ShortLock::new(0);
        let start = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    for round in 0..100_000 {
                        let mut count = COUNT.lock();
                        let seen = *count;
                        if round % 512 == 0 {
                            // Others come, also where there is one processor.
                            std::thread::yield_now();
                        }
                        *count = seen + 1;
                    }
                });
            }
        });
        assert_eq!(*COUNT.lock(), 400_000);
    }
}
