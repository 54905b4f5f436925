//! Intrusive doubly linked lists. A list belongs to whoever holds the lock around it; a node is in one list at most.

use core::ptr::{self, NonNull};

/// The links of a node.
pub(crate) struct Links<T> {
    next: *mut T,
    previous: *mut T,
}

impl<T> Links<T> {
    pub(crate) const fn new() -> Self {
        Self {
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
        }
    }
}

/// A type with links inside.
///
/// # Safety
///
/// `links` points into the node, and only lists use it.
pub(crate) unsafe trait Linked: Sized {
    fn links(node: NonNull<Self>) -> *mut Links<Self>;
}

/// A list of nodes that somebody else owns.
pub(crate) struct List<T: Linked> {
    first: *mut T,
}

// SAFETY: The nodes are reached only by whoever has the list.
unsafe impl<T: Linked> Send for List<T> {}

impl<T: Linked> List<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: ptr::null_mut(),
        }
    }

    pub(crate) const fn first(&self) -> Option<NonNull<T>> {
        NonNull::new(self.first)
    }

    /// Links a node at the front.
    ///
    /// # Safety
    ///
    /// The node is in no list, and lives until it is removed.
    pub(crate) unsafe fn insert(&mut self, node: NonNull<T>) {
        // SAFETY: Forwarded: the links are this list's from now on.
        unsafe {
            *T::links(node) = Links {
                next: self.first,
                previous: ptr::null_mut(),
            }
        };
        if let Some(second) = self.first() {
            // SAFETY: A linked node lives.
            unsafe { (*T::links(second)).previous = node.as_ptr() };
        }
        self.first = node.as_ptr();
    }

    /// Unlinks a node; `false` if it is in no list, or the first of another one.
    ///
    /// # Safety
    ///
    /// The node is in this list, or in none, or the first of another one under the same lock.
    pub(crate) unsafe fn remove(&mut self, node: NonNull<T>) -> bool {
        // SAFETY: Forwarded: the node lives.
        let Links { next, previous } = unsafe { T::links(node).read() };
        match NonNull::new(previous) {
            // SAFETY: A linked node lives.
            Some(previous) => unsafe { (*T::links(previous)).next = next },
            None if self.first == node.as_ptr() => self.first = next,
            None => return false,
        }
        if let Some(next) = NonNull::new(next) {
            // SAFETY: A linked node lives.
            unsafe { (*T::links(next)).previous = previous };
        }
        // SAFETY: The node lives, and is in no list any more.
        unsafe { *T::links(node) = Links::new() };
        true
    }

    /// The node after another one of this list.
    ///
    /// # Safety
    ///
    /// `node` is in this list.
    pub(crate) unsafe fn after(&self, node: NonNull<T>) -> Option<NonNull<T>> {
        // SAFETY: Forwarded.
        NonNull::new(unsafe { (*T::links(node)).next })
    }
}
