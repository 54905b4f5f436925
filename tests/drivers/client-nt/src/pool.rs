//! Nonpaged memory: one value, or a run of bytes. Allocation is tagged and may fail.

use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use wdk_sys::{
    POOL_FLAG_NON_PAGED, STATUS_INSUFFICIENT_RESOURCES, ULONG,
    ntddk::{ExAllocatePool2, ExFreePoolWithTag},
};

use crate::status::Result;

fn allocate(len: usize, tag: ULONG) -> Result<NonNull<u8>> {
    // SAFETY: Documented for IRQL <= DISPATCH_LEVEL; any length above zero will do.
    let memory = unsafe { ExAllocatePool2(POOL_FLAG_NON_PAGED, len.max(1) as u64, tag) };
    NonNull::new(memory.cast()).ok_or(STATUS_INSUFFICIENT_RESOURCES)
}

/// A value in nonpaged pool, at an address that does not change.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub struct NonPaged<T> {
    value: NonNull<T>,
    tag: ULONG,
}

impl<T> NonPaged<T> {
    const ALIGNED: () = assert!(align_of::<T>() <= 16, "pool blocks are aligned to 16 bytes");

    /// Moves a value into the pool.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    pub fn try_new(value: T, tag: ULONG) -> Result<Self> {
        const { Self::ALIGNED };
        let memory: NonNull<T> = allocate(size_of::<T>(), tag)?.cast();
        // SAFETY: Fresh memory of this size, aligned by the assertion above.
        unsafe { memory.write(value) };
        Ok(Self { value: memory, tag })
    }

    /// Gives the value to someone who calls [`Self::from_raw`].
    #[must_use = "the value lives until `from_raw` takes it back"]
    pub const fn into_raw(self) -> NonNull<T> {
        let value = self.value;
        core::mem::forget(self);
        value
    }

    /// Takes a value back.
    ///
    /// # Safety
    ///
    /// `value` comes from [`Self::into_raw`], was allocated with this tag, and is taken back once.
    pub const unsafe fn from_raw(value: NonNull<T>, tag: ULONG) -> Self {
        Self { value, tag }
    }

    /// Its address, good until it is dropped.
    pub const fn as_non_null(&self) -> NonNull<T> {
        self.value
    }

    /// Gives the memory up for good: for what an engine that refused a tear-down still knows.
    pub const fn leak(self) {
        core::mem::forget(self);
    }
}

impl<T> Deref for NonPaged<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The value lives until the drop. Those who know its address share it as `&T`.
        unsafe { self.value.as_ref() }
    }
}

impl<T> Drop for NonPaged<T> {
    fn drop(&mut self) {
        // SAFETY: The value was written by `try_new` and is dropped here only.
        unsafe { self.value.drop_in_place() };
        // SAFETY: Allocated with this tag, freed here only.
        unsafe { ExFreePoolWithTag(self.value.as_ptr().cast(), self.tag) };
    }
}

/// Zeroed bytes in nonpaged pool.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub struct Bytes {
    start: NonNull<u8>,
    len: usize,
    tag: ULONG,
}

// SAFETY: Plain memory with one owner; no thread is special to it.
unsafe impl Send for Bytes {}

impl Bytes {
    /// Allocates `len` bytes.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    pub fn try_new(len: usize, tag: ULONG) -> Result<Self> {
        Ok(Self {
            start: allocate(len, tag)?,
            len,
            tag,
        })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes (the pool zeroes them), owned by `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: As in `deref`, and `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: Allocated with this tag, freed here only.
        unsafe { ExFreePoolWithTag(self.start.as_ptr().cast(), self.tag) };
    }
}
