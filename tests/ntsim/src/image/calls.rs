//! How often an image called each kernel routine.
//!
//! A call is counted by its own thread, in a table that no other thread writes. Tables are kept for ever, with what they say:
//! a thread that leaves hands its own on to the next one that needs one.

use super::{Image, MAX_IMAGES};
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};
use parking_lot::Mutex;

/// Counts by index in the table of entries.
type Table = [AtomicU32];

/// The tables of an image.
#[derive(Default)]
pub(super) struct Calls(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    all: Vec<&'static Table>,
    /// Those of threads that have left.
    idle: Vec<&'static Table>,
}

thread_local! {
    /// The current thread's tables, by number of the image.
    static MINE: [Cell<Option<&'static Table>>; MAX_IMAGES] =
        const { [const { Cell::new(None) }; MAX_IMAGES] };
}

impl Calls {
    fn claim(&self) -> &'static Table {
        let mut tables = self.0.lock();
        tables.idle.pop().unwrap_or_else(|| {
            let table = (0..crate::gate::kernel_routine_count()).map(|_| AtomicU32::new(0));
            let table: &'static Table = Box::leak(table.collect());
            tables.all.push(table);
            table
        })
    }

    fn sum(&self, entry: usize) -> u64 {
        let tables = self.0.lock();
        let counts = tables.all.iter().filter_map(|table| table.get(entry));
        counts
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
            .sum()
    }
}

impl Image {
    /// How often the image called the kernel routine of this name.
    #[must_use]
    pub fn call_count(&self, routine: &str) -> u64 {
        let index = crate::gate::index_of(routine);
        index.map_or(0, |index| self.calls.sum(index as usize))
    }

    /// Counts a call by the current thread.
    pub(crate) fn count_call(&self, entry: u32) {
        MINE.with(|mine| {
            let Some(mine) = mine.get(self.id as usize) else {
                return;
            };
            let table = mine.get().unwrap_or_else(|| {
                let table = self.calls.claim();
                mine.set(Some(table));
                table
            });
            if let Some(count) = table.get(entry as usize) {
                // Only this thread writes it.
                let calls = count.load(Ordering::Relaxed);
                count.store(calls.wrapping_add(1), Ordering::Relaxed);
            }
        });
    }
}

/// The current thread leaves.
pub(crate) fn hand_on() {
    MINE.with(|mine| {
        for (table, image) in mine.iter().zip(super::slots()) {
            if let Some(table) = table.take() {
                image.calls.0.lock().idle.push(table);
            }
        }
    });
}
