//! What can be found: blocks that begin with a [`Header`], and references to them (rxce.md §3.6).

use core::{
    cell::{Cell, UnsafeCell},
    ops::Deref,
    ptr::{self, NonNull},
};

use wdk_sys::{
    EX_RUNDOWN_REF,
    ntddk::{
        ExAcquireRundownProtection, ExInitializeRundownProtection, ExReleaseRundownProtection,
        ExWaitForRundownProtectionRelease,
    },
};

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connection,
    Circuit,
}

/// What every block begins with.
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Address of the client's structure.
    pub(super) key: usize,
    /// The next block of the same chain; under the shard's lock.
    pub(super) next: Cell<*const Self>,
    /// Whether a look-up finds it, which a reservation does not let; under the shard's lock.
    pub(super) usable: Cell<bool>,
    references: UnsafeCell<EX_RUNDOWN_REF>,
}

impl Header {
    /// The header of a block that nobody can find. [`Self::initialise`] must follow.
    pub(super) const fn new(kind: Kind, key: usize) -> Self {
        Self {
            kind,
            key,
            next: Cell::new(ptr::null()),
            usable: Cell::new(false),
            // SAFETY: An integer or a pointer; `initialise` gives it a meaning.
            references: UnsafeCell::new(unsafe { core::mem::zeroed() }),
        }
    }

    /// # Safety
    ///
    /// It is in its place for good, and nobody uses it yet.
    pub(super) unsafe fn initialise(&self) {
        // SAFETY: Forwarded.
        unsafe { ExInitializeRundownProtection(self.references.get()) };
    }

    /// Takes a reference; false once the run-down has begun.
    #[inline]
    pub(super) fn acquire(&self) -> bool {
        // SAFETY: Initialised before the block could be found.
        unsafe { ExAcquireRundownProtection(self.references.get()) != 0 }
    }
}

/// A block in nonpaged memory that begins with a [`Header`].
///
/// # Safety
///
/// The type is `repr(C)` with the header as its first member, and every block with this kind is of this type.
pub(super) unsafe trait Block {
    /// The kind in the header.
    const KIND: Kind;

    /// The header.
    fn header(&self) -> &Header;
}

/// A block with a reference.
pub(super) struct Ref<T: Block>(NonNull<T>);

impl<T: Block> Ref<T> {
    /// # Safety
    ///
    /// The block lives, and a reference to it is the caller's and has no other guard.
    pub(super) const unsafe fn from_raw(block: NonNull<T>) -> Self {
        Self(block)
    }

    /// The block.
    pub(super) const fn as_non_null(&self) -> NonNull<T> {
        self.0
    }

    /// Gives up the guard but not the reference.
    pub(super) const fn into_raw(self) -> NonNull<T> {
        let block = self.0;
        core::mem::forget(self);
        block
    }

    /// Another reference; `None` once the run-down has begun.
    pub(super) fn again(&self) -> Option<Self> {
        self.header().acquire().then_some(Self(self.0))
    }

    /// Gives the reference up and waits until nobody has one.
    ///
    /// # Safety
    ///
    /// The caller has claimed the block, or is the only one who knows it: there is one run-down.
    pub(super) unsafe fn run_down(self) -> NonNull<T> {
        let block = self.0;
        drop(self);
        // SAFETY: Only who runs a block down frees it, and that is the caller.
        let references = unsafe { block.as_ref() }.header().references.get();
        // SAFETY: Initialised before the block could be found.
        unsafe { ExWaitForRundownProtectionRelease(references) };
        block
    }
}

impl<T: Block> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The reference keeps the block.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Block> Drop for Ref<T> {
    fn drop(&mut self) {
        let references = self.header().references.get();
        // SAFETY: The reference is given up here, once; the block is not touched afterwards.
        unsafe { ExReleaseRundownProtection(references) };
    }
}
