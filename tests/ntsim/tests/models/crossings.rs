//! Border crossings of a thread that another one reads meanwhile.

use crate::slots::{InUse, Slot};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::{Seen, explore};
use loom::sync::Arc;
use loom::thread;

const SLOTS: usize = 3;
const WORDS: usize = 2;

struct Crossings {
    in_use: InUse,
    slots: Box<[Slot<WORDS>]>,
}

impl Crossings {
    fn new() -> Self {
        let slot = || Slot {
            serial: AtomicU64::new(0),
            words: [0; WORDS].map(AtomicU64::new),
        };
        let slots: Box<[_]> = (0..SLOTS).map(|_| slot()).collect();
        let first = slots.as_ptr() as usize;
        let in_use = InUse {
            top: AtomicUsize::new(first),
            serial: AtomicU64::new(0),
            first,
        };
        Self { in_use, slots }
    }

    /// Enters the crossing of this number, the last digit of which is how many there are around it.
    fn enter(&self, number: u64) {
        let slot = &self.slots[(number % 10) as usize];
        slot.begin();
        let [first, second] = &slot.words;
        first.store(number, Ordering::Relaxed);
        second.store(number * 1000, Ordering::Relaxed);
        self.in_use.enter(slot);
    }

    fn leave(&self, depth: usize) {
        let slot = &self.slots[depth];
        self.in_use.leave(core::ptr::from_ref(slot) as usize);
    }

    fn read(&self) -> Vec<u64> {
        let numbers = self.in_use.read(&self.slots).into_iter();
        numbers
            .map(|[first, second]| {
                assert_eq!(first * 1000, second, "the words of different crossings");
                first
            })
            .collect()
    }
}

#[test]
fn a_reader_gets_what_was_there_at_one_moment() {
    /// What the thread is in, one after the other.
    const MOMENTS: [&[u64]; 6] = [&[], &[10], &[10, 21], &[10], &[], &[30]];
    static SEEN: [Seen; MOMENTS.len()] = [const { Seen::new() }; MOMENTS.len()];
    explore(Some(3), || {
        let crossings = Arc::new(Crossings::new());
        let thread = thread::spawn({
            let crossings = Arc::clone(&crossings);
            move || {
                crossings.enter(10);
                crossings.enter(21);
                crossings.leave(1);
                crossings.leave(0);
                crossings.enter(30);
                crossings.enter(41);
            }
        });
        let read = crossings.read();
        for (moment, seen) in MOMENTS.iter().zip(&SEEN) {
            seen.count(*moment == read);
        }
        assert!(
            MOMENTS.contains(&read.as_slice()) || read == [30, 41],
            "{read:?}"
        );
        thread.join().expect("no thread panics");
        assert_eq!(crossings.read(), [30, 41]);
    });
    assert!(SEEN.iter().all(|seen| seen.times() > 0));
}
