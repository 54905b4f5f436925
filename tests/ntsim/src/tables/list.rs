//! A list of records by address, which only grows, at its head.

use crate::sync::{AtomicPtr, Ordering};

/// The list; null when it is empty.
pub(crate) struct List<T: 'static>(pub(crate) AtomicPtr<Node<T>>);

/// One record, which stays for ever.
pub(crate) struct Node<T> {
    address: usize,
    next: *const Node<T>,
    record: T,
}

impl<T: Default + Send + Sync> List<T> {
    fn nodes(head: *const Node<T>) -> impl Iterator<Item = &'static Node<T>> {
        // SAFETY: Heads and the members `next` are null or leaked boxes, which were whole before they were seen.
        let node = |at: *const Node<T>| unsafe { at.as_ref::<'static>() };
        core::iter::successors(node(head), move |last| node(last.next))
    }

    /// The record of an address, if there ever was something.
    pub(crate) fn find(&self, address: usize) -> Option<&'static T> {
        Self::nodes(self.0.load(Ordering::Acquire))
            .find(|node| node.address == address)
            .map(|node| &node.record)
    }

    /// The record of an address.
    pub(crate) fn at(&self, address: usize) -> &'static T {
        let mut head = self.0.load(Ordering::Acquire);
        loop {
            if let Some(known) = Self::nodes(head).find(|node| node.address == address) {
                return &known.record;
            }
            let node = Box::into_raw(Box::new(Node {
                address,
                next: head,
                record: T::default(),
            }));
            let added = self
                .0
                .compare_exchange(head, node, Ordering::AcqRel, Ordering::Acquire);
            match added {
                // SAFETY: Never freed from here on.
                Ok(_) => return &unsafe { &*node }.record,
                Err(now) => {
                    // SAFETY: Made above, and seen by nobody.
                    drop(unsafe { Box::from_raw(node) });
                    head = now;
                }
            }
        }
    }

    /// All records.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &'static T)> {
        Self::nodes(self.0.load(Ordering::Acquire)).map(|node| (node.address, &node.record))
    }
}
