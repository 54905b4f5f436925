//! Nonpaged pool, tagged and fallible.

use core::{
    mem,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use rxce_engine::Error;
use wdk_sys::ntddk;

/// A pool tag, as `!poolused` shows it.
#[derive(Clone, Copy)]
pub(crate) struct Tag(u32);

impl Tag {
    /// The tag with these four characters.
    pub(crate) const fn new(characters: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(characters))
    }
}

/// What is allocated one by one, each kind under its own tag.
pub(crate) trait Pooled {
    /// The tag.
    const TAG: Tag;
}

/// Allocates zeroed nonpaged memory, aligned to 16 bytes.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn allocate(bytes: usize, tag: Tag) -> Option<NonNull<u8>> {
    if bytes == 0 {
        // A block of no bytes is a bug check under Driver Verifier.
        return None;
    }
    #[cfg(feature = "legacy")]
    let block = legacy_nt::allocate(bytes, tag.0);
    // SAFETY: ExAllocatePool2 may be called at this level for nonpaged pool; size and tag are not zero.
    #[cfg(not(feature = "legacy"))]
    let block =
        unsafe { ntddk::ExAllocatePool2(wdk_sys::POOL_FLAG_NON_PAGED, bytes as u64, tag.0) };
    NonNull::new(block.cast())
}

/// Frees a block.
///
/// # Safety
///
/// The block came from [`allocate`] with this tag and nobody uses it any more.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn free(block: NonNull<u8>, tag: Tag) {
    // SAFETY: Forwarded from this function's contract.
    unsafe { ntddk::ExFreePoolWithTag(block.as_ptr().cast(), tag.0) };
}

/// A type of which all zeroes are a value.
///
/// # Safety
///
/// They are.
pub(crate) unsafe trait Zeroed {}

/// One owned value in nonpaged pool, which does not move.
pub(crate) struct PoolBox<T: Pooled>(NonNull<T>);

// SAFETY: The box owns its value.
unsafe impl<T: Pooled + Send> Send for PoolBox<T> {}
// SAFETY: As above.
unsafe impl<T: Pooled + Sync> Sync for PoolBox<T> {}

impl<T: Pooled> PoolBox<T> {
    /// Moves `value` into pool.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(crate) fn new(value: T) -> Result<Self, Error> {
        let block = Self::place()?;
        // SAFETY: The block is new, large enough and aligned.
        unsafe { block.write(value) };
        Ok(Self(block))
    }

    /// Makes a value in pool: a large one need not be moved there.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`]; the value was not made then.
    pub(crate) fn with(make: impl FnOnce() -> T) -> Result<Self, Error> {
        let block = Self::place()?;
        // SAFETY: The block is new, large enough and aligned.
        unsafe { block.write(make()) };
        Ok(Self(block))
    }

    /// Memory for a value, all zero.
    fn place() -> Result<NonNull<T>, Error> {
        const { assert!(align_of::<T>() <= 16, "pool is aligned to 16 bytes") };
        let block = allocate(size_of::<T>(), T::TAG).ok_or(Error::InsufficientResources)?;
        Ok(block.cast())
    }

    /// Allocates a value of zeroes.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(crate) fn zeroed() -> Result<Self, Error>
    where
        T: Zeroed,
    {
        Self::place().map(Self)
    }

    /// Gives the ownership up.
    pub(crate) const fn into_raw(self) -> NonNull<T> {
        let block = self.0;
        core::mem::forget(self);
        block
    }

    /// Takes the ownership back.
    ///
    /// # Safety
    ///
    /// `block` came from [`Self::into_raw`], once, and nobody else uses it any more.
    pub(crate) const unsafe fn from_raw(block: NonNull<T>) -> Self {
        Self(block)
    }

    /// Moves the value out and frees its block.
    pub(crate) fn into_inner(self) -> T {
        let block = self.into_raw();
        // SAFETY: The box owned an initialised value, which is moved out once.
        let value = unsafe { block.read() };
        // SAFETY: The block came from `allocate` with this tag; its value is gone.
        unsafe { free(block.cast(), T::TAG) };
        value
    }

    /// The address of the value, which stays the same for its whole life.
    pub(crate) const fn as_ptr(&self) -> NonNull<T> {
        self.0
    }
}

impl<T: Pooled> Deref for PoolBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The box owns an initialised value.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Pooled> DerefMut for PoolBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The box owns an initialised value, and is borrowed exclusively.
        unsafe { self.0.as_mut() }
    }
}

impl<T: Pooled> Drop for PoolBox<T> {
    fn drop(&mut self) {
        // SAFETY: The box owns an initialised value, which nobody sees after this.
        unsafe { self.0.drop_in_place() };
        // SAFETY: The block came from `allocate` with this tag; its value is gone.
        unsafe { free(self.0.cast(), T::TAG) };
    }
}

/// Owned bytes in nonpaged pool, zeroed at first.
pub(crate) struct Bytes {
    block: NonNull<u8>,
    length: usize,
    tag: Tag,
}

// SAFETY: The bytes are owned.
unsafe impl Send for Bytes {}
// SAFETY: As above.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// Where the address of the bytes is, for debuggers.
    pub(crate) const BLOCK: usize = mem::offset_of!(Self, block);

    /// Allocates `length` bytes, at least one.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(crate) fn new(length: usize, tag: Tag) -> Result<Self, Error> {
        let block = allocate(length, tag).ok_or(Error::InsufficientResources)?;
        Ok(Self { block, length, tag })
    }

    /// The address of the bytes.
    pub(crate) const fn as_ptr(&self) -> *mut u8 {
        self.block.as_ptr()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: The block is owned, initialised and `length` bytes long.
        unsafe { slice::from_raw_parts(self.block.as_ptr(), self.length) }
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: The block is owned, initialised and `length` bytes long, and is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.block.as_ptr(), self.length) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: The block came from `allocate` with this tag and is owned.
        unsafe { free(self.block, self.tag) };
    }
}
