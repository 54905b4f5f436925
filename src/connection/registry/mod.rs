//! Everything the engine has built, found by the client's pointer or by the id that a transport hands back.
//!
//! A pointer that is not registered is never dereferenced. Whoever finds a block gets a rundown reference taken under
//! the shard's lock, so a block that was found cannot go away; a block whose run-down has begun is not found.

pub(crate) mod ids;
pub(crate) mod pointers;
mod segments;

use core::{cell::Cell, ffi::c_void, mem::offset_of, ops::Deref, ptr::NonNull};

use rxce_engine::Error;

use crate::{
    abi::Client,
    nt::{irql::Pageable, rundown::Rundown},
};

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Transport,
    Address,
    Connection,
    Circuit,
    /// A place for a circuit or a connection of which nobody knows yet which block will be there.
    Placeholder,
}

/// The most that the tables take for each block of a large number: a bucket's head and a slot, in segments that double.
pub(crate) const MOST_BYTES_PER_BLOCK: usize = 2 * (size_of::<*mut Header>() + ids::SLOT_BYTES);

/// What every block begins with.
pub(crate) struct Header {
    kind: Kind,
    /// The client's structure, whose address is the key.
    structure: Client<c_void>,
    /// Next block of the same bucket; under the shard's lock.
    next: Cell<*mut Header>,
    /// Whether a look-up by pointer may find it; under the shard's lock.
    usable: Cell<bool>,
    rundown: Rundown,
}

impl Header {
    /// Where its members are, for debuggers.
    pub(super) const KIND: usize = offset_of!(Self, kind);
    pub(super) const KEY: usize = offset_of!(Self, structure);
    pub(super) const NEXT: usize = offset_of!(Self, next);
    pub(super) const USABLE: usize = offset_of!(Self, usable);

    /// The header of a block that is not registered yet.
    pub(crate) const fn new<P>(kind: Kind, structure: Client<P>) -> Self {
        Self {
            kind,
            structure: structure.cast(),
            next: Cell::new(core::ptr::null_mut()),
            usable: Cell::new(false),
            rundown: Rundown::uninit(),
        }
    }

    fn key(&self) -> usize {
        self.structure.address()
    }

    /// The client's structure, of the type that belongs to the kind of the block.
    pub(crate) const fn structure<P>(&self) -> Client<P> {
        self.structure.cast()
    }

    /// The block's references.
    pub(crate) const fn rundown(&self) -> &Rundown {
        &self.rundown
    }
}

/// A block in nonpaged pool that begins with a [`Header`].
///
/// # Safety
///
/// The type is `repr(C)` with the header as its first member, and every block with this kind is of this type.
pub(crate) unsafe trait Block {
    /// The kind in the header.
    const KIND: Kind;

    /// The header.
    fn header(&self) -> &Header;
}

/// A block with a rundown reference.
pub(crate) struct Ref<T: Block>(NonNull<T>);

// SAFETY: The reference keeps the block, which may be shared.
unsafe impl<T: Block + Sync> Send for Ref<T> {}
// SAFETY: As above.
unsafe impl<T: Block + Sync> Sync for Ref<T> {}

impl<T: Block> Ref<T> {
    /// Takes another reference; `None` once the run-down has begun.
    pub(crate) fn again(&self) -> Option<Self> {
        self.header().rundown.acquire().then(|| Self(self.0))
    }

    /// Gives up the guard but not the reference.
    pub(crate) const fn into_raw(self) -> NonNull<T> {
        let block = self.0;
        core::mem::forget(self);
        block
    }

    /// Makes a guard of a reference.
    ///
    /// # Safety
    ///
    /// The reference is the caller's, and has no other guard.
    pub(crate) const unsafe fn from_raw(block: NonNull<T>) -> Self {
        Self(block)
    }

    /// The reference alone.
    pub(crate) const fn erase(self) -> AnyRef {
        AnyRef(self.into_raw().cast())
    }

    /// The block.
    pub(crate) const fn as_ptr(&self) -> NonNull<T> {
        self.0
    }

    /// Gives the reference up and waits until nobody else has one.
    ///
    /// The block is the caller's alone afterwards: he has claimed it, or built it and not published it.
    pub(crate) fn run_down(self, at: &Pageable) -> NonNull<T> {
        let block = self.0;
        drop(self);
        // SAFETY: Only the claimant frees the block, and that is the caller.
        unsafe { block.as_ref() }.header().rundown.wait(at);
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
        // SAFETY: The reference keeps the block until the call below.
        let rundown = unsafe { self.0.as_ref() }.header().rundown();
        // SAFETY: The reference is ours to give up; the block is not touched afterwards.
        unsafe { rundown.release() };
    }
}

/// A rundown reference to a block of whatever kind.
pub(crate) struct AnyRef(NonNull<Header>);

impl AnyRef {
    /// Gives up the guard but not the reference.
    pub(crate) const fn leave(self) {
        core::mem::forget(self);
    }

    /// Takes a reference back.
    ///
    /// # Safety
    ///
    /// A reference to this block was given up with [`Self::leave`], once.
    pub(crate) const unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Self(header)
    }
}

impl Drop for AnyRef {
    fn drop(&mut self) {
        // SAFETY: The reference keeps the block until the call below.
        let rundown = unsafe { self.0.as_ref() }.rundown();
        // SAFETY: The reference is ours to give up; the block is not touched afterwards.
        unsafe { rundown.release() };
    }
}

/// What a pointer stands for.
pub(crate) enum Found<T: Block> {
    /// Nothing that a look-up may see.
    Nothing,
    /// A block of another kind.
    Other,
    /// The block.
    Block(Ref<T>),
}

impl<T: Block> Found<T> {
    /// The block, if it is one of the right kind.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`].
    pub(crate) fn required(self) -> Result<Ref<T>, Error> {
        match self {
            Self::Block(block) => Ok(block),
            Self::Nothing | Self::Other => Err(Error::InvalidParameter),
        }
    }
}

/// Takes a reference on a header found under its shard's lock.
///
/// # Safety
///
/// `header` is registered, and the lock that protects its registration is held.
unsafe fn take<T: Block>(header: NonNull<Header>) -> Found<T> {
    // SAFETY: Forwarded: a registered block exists.
    let found = unsafe { header.as_ref() };
    if !found.rundown.acquire() {
        return Found::Nothing;
    }
    if found.kind == T::KIND {
        return Found::Block(Ref(header.cast()));
    }
    // SAFETY: The reference was taken above; the lock keeps the block.
    unsafe { found.rundown.release() };
    Found::Other
}
