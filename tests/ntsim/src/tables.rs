//! Host tables by address that threads use at once without waiting for each other.

mod list;

use crate::short_lock::ShortLock;
use crate::sync::AtomicPtr;
use core::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use core::ptr;
use list::List;
use std::collections::HashMap;

/// An odd number near 2⁶⁴ divided by the golden ratio: its multiples are spread evenly.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash for addresses and other numbers that nobody chooses to annoy us: one multiplication each.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(SPREAD);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_usize(value.cast_unsigned());
    }

    fn finish(&self) -> u64 {
        // The low bits of a product depend on few of the factor's.
        self.0 ^ (self.0 >> 32)
    }
}

/// A map by numbers.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// Parts of a [`Sharded`].
const PARTS: usize = 64;

/// A map in parts, each with a lock of its own: who uses different keys seldom meets.
pub(crate) struct Sharded<K, V> {
    parts: [Part<K, V>; PARTS],
}

/// On a cache line of its own.
#[repr(align(64))]
struct Part<K, V>(ShortLock<Map<K, V>>);

impl<K: Hash + Eq, V> Sharded<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            parts: [const { Part(ShortLock::new(Map::with_hasher(BuildHasherDefault::new()))) };
                PARTS],
        }
    }

    /// Runs something with the part of the map that has this key.
    pub(crate) fn with<R>(&self, key: &K, run: impl FnOnce(&mut Map<K, V>) -> R) -> R {
        let hash = BuildHasherDefault::<Spread>::default().hash_one(key);
        // Other bits than those that choose the place in the part.
        let part = self.parts.get((hash >> 40) as usize % PARTS);
        let Part(part) = part.expect("a remainder is the number of a part");
        run(&mut part.lock())
    }

    /// Goes through all entries, part by part.
    pub(crate) fn for_each(&self, mut run: impl FnMut(&K, &V)) {
        for Part(part) in &self.parts {
            for (key, value) in part.lock().iter() {
                run(key, value);
            }
        }
    }
}

/// Records by address that are made once and stay for ever, so that look-ups need no lock. A record itself says whether what
/// was at its address is still there.
pub(crate) struct Places<T: 'static, const BUCKETS: usize> {
    buckets: [List<T>; BUCKETS],
}

impl<T: Default + Send + Sync, const BUCKETS: usize> Places<T, BUCKETS> {
    pub(crate) const fn new() -> Self {
        assert!(BUCKETS.is_power_of_two() && BUCKETS > 1);
        Self {
            buckets: [const { List(AtomicPtr::new(ptr::null_mut())) }; BUCKETS],
        }
    }

    fn bucket(&self, address: usize) -> &List<T> {
        let spread = (address as u64 >> 4).wrapping_mul(SPREAD);
        let index = spread >> (64 - BUCKETS.trailing_zeros());
        self.buckets
            .get(index as usize)
            .expect("the upper bits of a number are the number of a bucket")
    }

    /// The record of an address, if there ever was something.
    pub(crate) fn find(&self, address: usize) -> Option<&'static T> {
        self.bucket(address).find(address)
    }

    /// The record of an address.
    pub(crate) fn at(&self, address: usize) -> &'static T {
        self.bucket(address).at(address)
    }

    /// All records.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &'static T)> {
        self.buckets.iter().flat_map(List::all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Barrier;

    #[test]
    fn a_place_has_one_record_whoever_asks_first() {
        const THREADS: usize = 4;
        // Few lists, so that new records meet at a head.
        static PLACES: Places<AtomicUsize, 2> = Places::new();
        let start = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for address in (0x1000..0x3000).step_by(16) {
                        start.wait();
                        PLACES.at(address).fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(PLACES.all().count(), 0x200);
        let mut records = PLACES.all();
        assert!(records.all(|(_, record)| record.load(Ordering::Relaxed) == THREADS));
        assert!(PLACES.find(0x1010).is_some_and(|record| {
            ptr::eq(record, PLACES.at(0x1010)) && !ptr::eq(record, PLACES.at(0x1020))
        }));
        assert!(PLACES.find(0x3000).is_none());
    }

    #[test]
    fn a_map_in_parts_has_each_key_once() {
        static MAP: Sharded<(u8, usize), usize> = Sharded::new();
        for number in 0..1_000 {
            let key = (1, number * 16);
            MAP.with(&key, |part| part.insert(key, number));
            MAP.with(&key, |part| part.insert(key, number + 1));
        }
        let (mut entries, mut sum) = (0, 0);
        MAP.for_each(|_, value| {
            entries += 1;
            sum += value;
        });
        assert_eq!((entries, sum), (1_000, 500_500));
        assert_eq!(MAP.with(&(2, 16), |part| part.get(&(2, 16)).copied()), None);
    }
}
