//! How often something happened of late, and with how many bytes, in one word.

use core::sync::atomic::{AtomicU64, Ordering};

/// A number of times and of bytes that one locked instruction counts together. Whoever finds it half full takes both out.
#[derive(Debug)]
pub struct Recent(AtomicU64);

/// Where the bytes end and the times begin.
pub const BYTE_BITS: u32 = 44;
/// Half of what either part can hold. Whoever finds one so full empties it, and has added less than 2^32 bytes: it would take
/// two thousand threads in that moment to fill the rest.
const HALF_FULL: u64 = (1 << 63) | (1 << (BYTE_BITS - 1));

impl Recent {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts `bytes`, and one time more if they are not the rest of something; `true` if it is to be emptied.
    #[must_use]
    pub fn add(&self, once_more: bool, bytes: u32) -> bool {
        let counted = (u64::from(once_more) << BYTE_BITS) | u64::from(bytes);
        self.0.fetch_add(counted, Ordering::Relaxed) & HALF_FULL != 0
    }

    /// Empties it: times and bytes.
    pub fn take(&self) -> (u64, u64) {
        let recent = self.0.swap(0, Ordering::Relaxed);
        (recent >> BYTE_BITS, recent & ((1 << BYTE_BITS) - 1))
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts until it has to be emptied; times and bytes, and how many were counted before.
    fn until_full(bytes: u32) -> (u64, (u64, u64)) {
        let recent = Recent::new();
        let mut times = 0;
        loop {
            times += 1;
            if recent.add(true, bytes) {
                return (times, recent.take());
            }
        }
    }

    #[test]
    fn what_was_counted_comes_out_once() {
        let recent = Recent::new();
        assert!(!recent.add(true, 7));
        assert!(!recent.add(false, 5));
        assert!(!recent.add(true, 0));
        assert_eq!(recent.take(), (2, 12));
        assert_eq!(recent.take(), (0, 0));
    }

    #[test]
    fn it_is_emptied_before_the_times_overflow() {
        let (times, taken) = until_full(1);
        assert_eq!(times, (1 << 19) + 1);
        assert_eq!(taken, (times, times));
    }

    #[test]
    fn it_is_emptied_before_the_bytes_overflow() {
        let (times, taken) = until_full(u32::MAX);
        assert_eq!(times, (1 << 11) + 2);
        assert_eq!(taken, (times, times * u64::from(u32::MAX)));
    }
}
