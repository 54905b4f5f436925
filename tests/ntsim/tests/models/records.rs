//! Records by address, which are looked up without a lock.

use crate::list::List;
use crate::sync::AtomicPtr;
use crate::{Seen, explore};
use core::ptr;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// A record of which the checker knows who made it, and whether who reads it must have seen that.
struct Record(UnsafeCell<u32>);

// SAFETY: Nobody writes it.
unsafe impl Sync for Record {}

impl Default for Record {
    fn default() -> Self {
        Self(UnsafeCell::new(7))
    }
}

impl Record {
    fn check(&self) {
        // SAFETY: Nobody writes it.
        assert_eq!(self.0.with(|value| unsafe { *value }), 7);
    }
}

fn list() -> Arc<List<Record>> {
    Arc::new(List(AtomicPtr::new(ptr::null_mut())))
}

#[test]
fn an_address_has_one_record_whoever_asks_first() {
    explore(Some(3), || {
        let list = list();
        let ask = |addresses: [usize; 2]| {
            let list = Arc::clone(&list);
            move || {
                addresses.map(|address| {
                    let record = list.at(address);
                    record.check();
                    ptr::from_ref(record) as usize
                })
            }
        };
        let other = thread::spawn(ask([1, 2]));
        let [own_second, own_first] = ask([2, 1])();
        let [first, second] = other.join().expect("no thread panics");
        assert_eq!((own_first, own_second), (first, second));
        assert_ne!(first, second);
        assert_eq!(list.all().count(), 2);
    });
}

#[test]
fn a_record_that_is_found_is_whole() {
    static FOUND: Seen = Seen::new();
    static MISSED: Seen = Seen::new();
    explore(Some(3), || {
        let list = list();
        let others = [1, 2].map(|address| {
            let list = Arc::clone(&list);
            thread::spawn(move || list.at(address).check())
        });
        let found = list.find(1);
        found.inspect(|record| record.check());
        FOUND.count(found.is_some());
        MISSED.count(found.is_none());
        for (_, record) in list.all() {
            record.check();
        }
        for other in others {
            other.join().expect("no thread panics");
        }
        assert!(list.find(1).is_some() && list.find(3).is_none());
    });
    assert!(FOUND.times() > 0 && MISSED.times() > 0);
}
