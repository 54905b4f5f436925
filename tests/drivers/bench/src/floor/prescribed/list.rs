//! Intrusive lists. A list belongs to whoever holds the lock around it, and so do the links of its nodes.

use core::{cell::Cell, ptr};

/// The links of a node.
pub(super) struct Links<T> {
    next: Cell<*const T>,
    previous: Cell<*const T>,
}

impl<T> Links<T> {
    pub(super) const fn new() -> Self {
        Self {
            next: Cell::new(ptr::null()),
            previous: Cell::new(ptr::null()),
        }
    }
}

/// A type with links inside.
pub(super) trait Linked: Sized {
    fn links(&self) -> &Links<Self>;
}

/// A list of nodes that somebody else owns.
pub(super) struct List<T> {
    first: *const T,
}

impl<T: Linked> List<T> {
    pub(super) const fn new() -> Self {
        Self { first: ptr::null() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Links a node at the front.
    ///
    /// # Safety
    ///
    /// The node is in no list, and lives until it is removed.
    pub(super) unsafe fn insert(&mut self, node: &T) {
        // SAFETY: A linked node lives.
        if let Some(second) = unsafe { self.first.as_ref() } {
            second.links().previous.set(node);
        }
        let links = node.links();
        links.previous.set(ptr::null());
        links.next.set(self.first);
        self.first = node;
    }

    /// Unlinks a node, if it is linked.
    ///
    /// # Safety
    ///
    /// The node is in this list, or was never in one.
    pub(super) unsafe fn remove(&mut self, node: &T) {
        let links = node.links();
        let (previous, next) = (links.previous.get(), links.next.get());
        // SAFETY: A linked node lives.
        match unsafe { previous.as_ref() } {
            Some(previous) => previous.links().next.set(next),
            None if ptr::eq(self.first, node) => self.first = next,
            None => return,
        }
        // SAFETY: As above.
        if let Some(next) = unsafe { next.as_ref() } {
            next.links().previous.set(previous);
        }
    }
}
