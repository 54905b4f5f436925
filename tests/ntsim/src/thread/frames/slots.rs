//! The slots of border crossings: one thread enters and leaves them, others read.
//!
//! Each crossing has a serial number that no other crossing of the thread has. Who writes a slot makes the number in it 0
//! first, and writes the new one last; leaving a crossing changes nothing in its slot. A reader takes, from the outermost
//! inwards, each slot's number and then its words; it looks at `top` again, and then once more at each number. A slot that is
//! below that `top` and had the same number both times, not 0, was not written in between: its words belong to that number.
//! At the moment of the second look at `top` the slot was in use, with that number. So all such slots up to the first other
//! one are what the thread was in at that moment, from the outermost on. What is further in has changed meanwhile.
//!
//! The release fences and stores of the writer and the acquire fences and loads of the reader keep the order; on x86-64 all
//! of them are plain moves.

use crate::sync::{AtomicU64, AtomicUsize, Ordering, fence};

/// A place for a crossing of so many words.
#[repr(C)]
pub(crate) struct Slot<const WORDS: usize> {
    /// The number of the crossing; 0 while it is written.
    pub(crate) serial: AtomicU64,
    pub(crate) words: [AtomicU64; WORDS],
}

impl<const WORDS: usize> Slot<WORDS> {
    /// From here on nobody takes the slot for anything.
    pub(crate) fn begin(&self) {
        self.serial.store(0, Ordering::Relaxed);
        // What is written from here on is not seen without the 0.
        fence(Ordering::Release);
    }

    fn copy(&self) -> (u64, [u64; WORDS]) {
        let serial = self.serial.load(Ordering::Acquire);
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed);
        (serial, self.words.each_ref().map(word))
    }
}

/// Which slots are in use: those from the first one up to `top`.
pub(crate) struct InUse {
    /// Address of the first free slot; only the thread itself changes it.
    pub(crate) top: AtomicUsize,
    /// The number of the last crossing; the thread's own.
    pub(crate) serial: AtomicU64,
    /// Address of the first slot.
    pub(crate) first: usize,
}

impl InUse {
    /// Address of the first free slot, for the thread itself.
    pub(crate) fn top(&self) -> usize {
        self.top.load(Ordering::Relaxed)
    }

    /// Enters a crossing, whose words are in the first free slot.
    pub(crate) fn enter<const WORDS: usize>(&self, slot: &Slot<WORDS>) {
        let serial = self.serial.load(Ordering::Relaxed) + 1;
        self.serial.store(serial, Ordering::Relaxed);
        slot.serial.store(serial, Ordering::Release);
        self.leave(self.top() + size_of::<Slot<WORDS>>());
    }

    /// Leaves the crossings from this slot on.
    pub(crate) fn leave(&self, top: usize) {
        self.top.store(top, Ordering::Release);
    }

    /// How many crossings are in progress.
    pub(crate) fn depth<const WORDS: usize>(&self) -> usize {
        (self.top.load(Ordering::Acquire) - self.first) / size_of::<Slot<WORDS>>()
    }

    /// The words of the crossings in progress, outermost first.
    pub(crate) fn read<const WORDS: usize>(&self, slots: &[Slot<WORDS>]) -> Vec<[u64; WORDS]> {
        let seen = slots.iter().take(self.depth::<WORDS>()).map(Slot::copy);
        let seen: Vec<(u64, [u64; WORDS])> = seen.collect();
        // The words come before the second look at `top`, and that before the second one at the numbers.
        fence(Ordering::Acquire);
        let in_use = self.depth::<WORDS>();
        slots
            .iter()
            .take(in_use)
            .zip(seen)
            .take_while(|(slot, (serial, _))| {
                *serial != 0 && slot.serial.load(Ordering::Relaxed) == *serial
            })
            .map(|(_, (_, words))| words)
            .collect()
    }
}
