//! The life of RDBSS's objects: memory with a node header, a reference count, and the time since nobody uses it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::layout::write_header;
use crate::arena::{self, Kind};
use crate::clock;
use crate::mem::Place;

/// An object in driver-visible memory, with its extension. It is freed with this.
pub(super) struct Node {
    at: usize,
    extension: usize,
    users: AtomicU32,
    idle_since: AtomicU64,
}

impl Node {
    /// Memory for a structure, and for an extension if RDBSS manages it.
    pub(super) fn new(node_type: u16, bytes: usize, extension_bytes: Option<u32>) -> Self {
        let head = bytes.next_multiple_of(16);
        let extension_bytes = extension_bytes.unwrap_or(0) as usize;
        let at = arena::alloc(head + extension_bytes, Kind::Object);
        write_header(at, node_type, bytes);
        let node = Self {
            at,
            extension: if extension_bytes == 0 { 0 } else { at + head },
            users: AtomicU32::new(0),
            idle_since: AtomicU64::new(clock::interrupt_time()),
        };
        node.acquire();
        node
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Where the extension is, or 0.
    pub(super) const fn extension(&self) -> usize {
        self.extension
    }

    /// One more user. With the lock of the tables held.
    pub(super) fn acquire(&self) {
        let users = self.users.fetch_add(1, Ordering::AcqRel) + 1;
        self.show(users);
    }

    /// One user less; whether it was the last. With the lock of the tables held.
    pub(super) fn release(&self) -> bool {
        let users = self.users.fetch_sub(1, Ordering::AcqRel) - 1;
        self.show(users);
        self.idle_since
            .store(clock::interrupt_time(), Ordering::Release);
        users == 0
    }

    /// Users.
    pub(super) fn users(&self) -> u32 {
        self.users.load(Ordering::Acquire)
    }

    /// Whether nobody has used it since this time.
    pub(super) fn is_idle_since(&self, time: u64) -> bool {
        self.idle_since().is_some_and(|since| since <= time)
    }

    /// Since when nobody uses it.
    pub(super) fn idle_since(&self) -> Option<u64> {
        (self.users() == 0).then(|| self.idle_since.load(Ordering::Acquire))
    }

    /// NodeReferenceCount tells the users, and the table that lists it.
    fn show(&self, users: u32) {
        Place::at(self.at + 4).set(users + 1);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        arena::free(self.at);
    }
}
