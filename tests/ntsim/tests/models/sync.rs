//! What the files of the kernel stand on here: the checker's types.
//!
//! Of the accesses to an atomic, loom 0.7 remembers the last one only: where a thread loads and then stores, its own load hides
//! that of another thread, and the order in which the other one loads later is never tried. So every access is preceded
//! here by a store to the atomic's own `turn`, which nothing hides. Nobody reads it, so that it orders nothing else.

use loom::sync::atomic as checked;

pub(crate) use loom::hint::spin_loop;
pub(crate) use loom::sync::atomic::{Ordering, fence};
pub(crate) use loom::thread::yield_now;

macro_rules! atomics {
    ($($name:ident$(<$of:ident>)?: $value:ty {
        $($method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*
    })*) => {$(
        pub(crate) struct $name$(<$of>)? {
            turn: checked::AtomicU8,
            value: checked::$name$(<$of>)?,
        }

        impl$(<$of>)? $name$(<$of>)? {
            pub(crate) fn new(value: $value) -> Self {
                Self {
                    turn: checked::AtomicU8::new(0),
                    value: checked::$name::new(value),
                }
            }

            $(pub(crate) fn $method(&self, $($argument: $type),*) $(-> $result)? {
                self.turn.store(0, Ordering::Relaxed);
                self.value.$method($($argument),*)
            })*
        }
    )*};
}

atomics! {
    AtomicBool: bool {
        load(order: Ordering) -> bool;
        store(new: bool, order: Ordering);
        compare_exchange(old: bool, new: bool, done: Ordering, not: Ordering) -> Result<bool, bool>;
    }
    AtomicPtr<T>: *mut T {
        load(order: Ordering) -> *mut T;
        compare_exchange(old: *mut T, new: *mut T, done: Ordering, not: Ordering) -> Result<*mut T, *mut T>;
    }
    AtomicU64: u64 {
        load(order: Ordering) -> u64;
        store(new: u64, order: Ordering);
        fetch_or(with: u64, order: Ordering) -> u64;
        fetch_sub(less: u64, order: Ordering) -> u64;
        compare_exchange_weak(old: u64, new: u64, done: Ordering, not: Ordering) -> Result<u64, u64>;
    }
    AtomicUsize: usize {
        load(order: Ordering) -> usize;
        store(new: usize, order: Ordering);
    }
}

impl AtomicBool {
    /// One that would change nothing does not store: loom would not know the place of its store among the others, and let
    /// loads see it for ever.
    pub(crate) fn swap(&self, new: bool, order: Ordering) -> bool {
        let swapped = self.compare_exchange(!new, new, order, Ordering::Relaxed);
        swapped.unwrap_or_else(|old| old)
    }
}

/// The checker tries both orders of a load and a load with a store, and lets the load see what is there no more.
#[test]
fn every_order_is_tried() {
    use crate::{Seen, explore};
    static SEEN: [Seen; 3] = [const { Seen::new() }; 3];
    explore(None, || {
        let value = loom::sync::Arc::new(AtomicU64::new(0));
        let other = loom::thread::spawn({
            let value = loom::sync::Arc::clone(&value);
            move || {
                for _ in 0..2 {
                    value.store(value.load(Ordering::Relaxed) + 1, Ordering::Release);
                }
            }
        });
        let seen = value.load(Ordering::Acquire);
        (0..)
            .zip(&SEEN)
            .for_each(|(number, times)| times.count(number == seen));
        other.join().expect("no thread panics");
    });
    assert!(SEEN.iter().all(|seen| seen.times() > 0));
}
