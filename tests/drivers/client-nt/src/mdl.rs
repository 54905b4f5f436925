//! Memory descriptor lists over nonpaged memory.

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::{
    BOOLEAN, MDL, PMDL, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    ntddk::{IoAllocateMdl, IoBuildPartialMdl, IoFreeMdl, MmBuildMdlForNonPagedPool},
};

use crate::status::Result;

/// An MDL and the run of nonpaged memory it may describe.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub struct Mdl {
    mdl: NonNull<MDL>,
    start: *mut u8,
    len: usize,
}

// SAFETY: An MDL belongs to no thread; `Mdl` is its one owner.
unsafe impl Send for Mdl {}

impl Mdl {
    fn allocate(start: *mut u8, len: usize) -> Result<Self> {
        let length = u32::try_from(len).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let no = BOOLEAN::from(false);
        // SAFETY: Only computes the size from address and length; no IRP is given.
        let mdl = unsafe { IoAllocateMdl(start.cast(), length, no, no, ptr::null_mut()) };
        Ok(Self {
            mdl: NonNull::new(mdl).ok_or(STATUS_INSUFFICIENT_RESOURCES)?,
            start,
            len,
        })
    }

    /// Describes nonpaged memory.
    ///
    /// # Safety
    ///
    /// `start` points to `len` bytes of nonpaged pool which outlive the MDL.
    pub unsafe fn over(start: *mut u8, len: usize) -> Result<Self> {
        let this = Self::allocate(start, len)?;
        // SAFETY: The memory is nonpaged pool, by this function's contract.
        unsafe { MmBuildMdlForNonPagedPool(this.mdl.as_ptr()) };
        Ok(this)
    }

    /// Room for a part of what this one describes; see [`Self::describe`].
    pub fn for_a_part(&self) -> Result<Self> {
        Self::allocate(self.start, self.len)
    }

    /// Makes `self` describe `len` bytes of `whole` from `offset` on. To be used once.
    pub fn describe(&mut self, whole: &Self, offset: usize, len: usize) -> Result<PMDL> {
        let end = offset.checked_add(len).ok_or(STATUS_INVALID_PARAMETER)?;
        if len == 0 || end > whole.len {
            return Err(STATUS_INVALID_PARAMETER);
        }
        let length = u32::try_from(len).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let start: *mut c_void = whole.start.wrapping_add(offset).cast();
        // SAFETY: `whole` describes nonpaged pool; `self` was allocated for the whole range, so it has room for a part.
        unsafe { IoBuildPartialMdl(whole.mdl.as_ptr(), self.mdl.as_ptr(), start, length) };
        Ok(self.mdl.as_ptr())
    }

    /// The MDL, for as long as `self` lives.
    pub const fn as_ptr(&self) -> PMDL {
        self.mdl.as_ptr()
    }
}

impl Drop for Mdl {
    fn drop(&mut self) {
        // SAFETY: Came from `IoAllocateMdl`; the owner has it back from whoever used it.
        unsafe { IoFreeMdl(self.mdl.as_ptr()) };
    }
}
