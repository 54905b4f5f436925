//! The short lock.

use crate::flag::Flag;
use crate::sync::AtomicBool;
use crate::{Seen, explore};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

struct Counter {
    lock: Flag,
    count: UnsafeCell<u32>,
}

// SAFETY: The count is for who has the lock, and the checker looks whether that is enough.
unsafe impl Sync for Counter {}

impl Counter {
    fn new() -> Self {
        Self {
            lock: Flag(AtomicBool::new(false)),
            count: UnsafeCell::new(0),
        }
    }

    fn add_and_unlock(&self) {
        // SAFETY: The checker finds out if somebody else uses it.
        self.count.with_mut(|count| unsafe { *count += 1 });
        self.lock.unlock();
    }

    fn add(&self) {
        self.lock.lock();
        self.add_and_unlock();
    }

    fn value(&self) -> u32 {
        // SAFETY: As above.
        self.count.with(|count| unsafe { *count })
    }
}

#[test]
fn one_has_it_at_a_time_and_sees_what_those_before_did() {
    explore(Some(3), || {
        let counter = Arc::new(Counter::new());
        let other = thread::spawn({
            let counter = Arc::clone(&counter);
            move || [(); 2].map(|()| counter.add())
        });
        counter.add();
        counter.add();
        other.join().expect("no thread panics");
        assert_eq!(counter.value(), 4);
    });
}

#[test]
fn who_does_not_wait_gets_it_only_if_nobody_has_it() {
    static REFUSED: Seen = Seen::new();
    static TAKEN: Seen = Seen::new();
    explore(Some(3), || {
        let counter = Arc::new(Counter::new());
        let other = thread::spawn({
            let counter = Arc::clone(&counter);
            move || counter.add()
        });
        let taken = counter.lock.try_lock();
        if taken {
            counter.add_and_unlock();
        }
        REFUSED.count(!taken);
        TAKEN.count(taken);
        other.join().expect("no thread panics");
        assert_eq!(counter.value(), 1 + u32::from(taken));
    });
    assert!(REFUSED.times() > 0 && TAKEN.times() > 0);
}
