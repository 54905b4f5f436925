//! Which fid numbers of a session are free.

use crate::NOFID;

/// How many numbers that were given back are remembered.
const REMEMBERED: usize = 64;

/// Hands fid numbers out, each to one owner at a time.
#[derive(Clone, Debug)]
pub struct FidPool {
    /// No number from here on was ever handed out.
    next: u32,
    free: Numbers,
    /// What the server still has to be told of.
    kept: Numbers,
}

/// Some numbers.
#[derive(Clone, Debug)]
struct Numbers {
    numbers: [u32; REMEMBERED],
    count: usize,
}

impl Numbers {
    const fn new() -> Self {
        Self {
            numbers: [0; REMEMBERED],
            count: 0,
        }
    }

    fn push(&mut self, fid: u32) {
        if let Some(slot) = self.numbers.get_mut(self.count) {
            *slot = fid;
            self.count = self.count.saturating_add(1);
        }
    }

    fn pop(&mut self) -> Option<u32> {
        let last = self.count.checked_sub(1)?;
        self.count = last;
        self.numbers.get(last).copied()
    }
}

impl FidPool {
    /// All numbers are free.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            next: 0,
            free: Numbers::new(),
            kept: Numbers::new(),
        }
    }

    /// A free number; `None` once all have been used.
    pub fn take(&mut self) -> Option<u32> {
        let given_back = self.free.pop();
        if given_back.is_some() {
            return given_back;
        }
        if self.next == NOFID {
            return None;
        }
        let fid = self.next;
        self.next = self.next.saturating_add(1);
        Some(fid)
    }

    /// Takes a number back. One too many to be remembered is not used again.
    pub fn give_back(&mut self, fid: u32) {
        self.free.push(fid);
    }

    /// Keeps a number that its owner does not need, and the server could not be told so. One too many to be remembered stays
    /// the server's until the session ends.
    pub fn keep(&mut self, fid: u32) {
        self.kept.push(fid);
    }

    /// A number that was kept: the server is to be told now.
    pub fn take_kept(&mut self) -> Option<u32> {
        self.kept.pop()
    }
}

impl Default for FidPool {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::collections::BTreeSet;

    #[test]
    fn no_number_has_two_owners() {
        let mut pool = FidPool::new();
        let mut owned: BTreeSet<u32> = (0..200).filter_map(|_| pool.take()).collect();
        assert_eq!(owned.len(), 200);
        for fid in 0..100 {
            assert!(owned.remove(&fid));
            pool.give_back(fid);
        }
        for _ in 0..300 {
            assert!(owned.insert(pool.take().unwrap_or(NOFID)));
        }
    }

    #[test]
    fn a_kept_number_is_handed_out_only_after_it_was_given_back() {
        let mut pool = FidPool::new();
        assert_eq!((pool.take(), pool.take()), (Some(0), Some(1)));
        pool.keep(0);
        assert_eq!(pool.take(), Some(2));
        assert_eq!(pool.take_kept(), Some(0));
        assert_eq!(pool.take_kept(), None);
        pool.give_back(0);
        assert_eq!(pool.take(), Some(0));
    }

    #[test]
    fn the_last_number_is_not_handed_out() {
        let mut pool = FidPool {
            next: NOFID - 1,
            ..FidPool::new()
        };
        assert_eq!(pool.take(), Some(NOFID - 1));
        assert_eq!(pool.take(), None);
        pool.give_back(7);
        assert_eq!(pool.take(), Some(7));
        assert_eq!(pool.take(), None);
    }
}
