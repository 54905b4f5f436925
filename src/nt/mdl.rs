//! Memory descriptor lists: chains of the client's, and the few of our own.

use core::{
    iter,
    ptr::{self, NonNull},
    slice,
};

use rxce_engine::Error;
use wdk_sys::{
    _MEMORY_CACHING_TYPE::MmCached, _MM_PAGE_PRIORITY::NormalPagePriority, MDL,
    MDL_MAPPED_TO_SYSTEM_VA, MDL_PARTIAL_HAS_BEEN_MAPPED, MDL_SOURCE_IS_NONPAGED_POOL, PMDL, PVOID,
    ntddk,
};

use super::event::KERNEL_MODE;

/// The elements of a chain that a client handed in.
///
/// # Safety
///
/// The chain stays valid while the iterator is used. It may be endless.
pub(crate) unsafe fn elements(chain: PMDL) -> impl Iterator<Item = NonNull<MDL>> {
    iter::successors(NonNull::new(chain), |element| {
        // SAFETY: Forwarded: the element is valid.
        NonNull::new(unsafe { (*element.as_ptr()).Next })
    })
}

/// How many bytes an element describes.
///
/// # Safety
///
/// The element is valid.
pub(crate) unsafe fn byte_count(element: NonNull<MDL>) -> u32 {
    // SAFETY: Forwarded.
    unsafe { (*element.as_ptr()).ByteCount }
}

/// More elements than any honest chain has.
const MOST_ELEMENTS: usize = 0x1_0000;

/// How many of `wanted` bytes a chain can take.
///
/// # Safety
///
/// The chain is valid or NULL.
pub(crate) unsafe fn length_up_to(chain: PMDL, wanted: u32) -> u32 {
    let mut total = 0_u32;
    // SAFETY: Forwarded.
    for element in unsafe { elements(chain) }.take(MOST_ELEMENTS) {
        // SAFETY: The iterator yields valid elements.
        total = total.saturating_add(unsafe { byte_count(element) });
        if total >= wanted {
            return wanted;
        }
    }
    total
}

/// The element that holds byte `offset` of a chain, and the offset inside it.
///
/// # Safety
///
/// The chain is valid and describes more than `offset` bytes.
pub(crate) unsafe fn locate(chain: PMDL, offset: u32) -> Option<(NonNull<MDL>, u32)> {
    let mut left = offset;
    // SAFETY: Forwarded.
    for element in unsafe { elements(chain) } {
        // SAFETY: The iterator yields valid elements.
        let length = unsafe { byte_count(element) };
        if left < length {
            return Some((element, left));
        }
        left = left.saturating_sub(length);
    }
    None
}

/// Copies `source` to byte `offset` of a chain.
///
/// # Errors
///
/// [`Error::InsufficientResources`] if an element cannot be mapped; a part may have been copied.
///
/// # Safety
///
/// The chain is valid, locked or nonpaged, and describes at least `offset + source.len()` bytes.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn copy_into(chain: PMDL, offset: u32, source: &[u8]) -> Result<(), Error> {
    let mut rest = source;
    let mut at = offset;
    while !rest.is_empty() {
        // SAFETY: Forwarded.
        let (element, inside) = unsafe { locate(chain, at) }.ok_or(Error::InvalidParameter)?;
        // SAFETY: The element is valid.
        let room = unsafe { byte_count(element) }.saturating_sub(inside);
        let (now, later) = rest.split_at_checked(room as usize).unwrap_or((rest, &[]));
        // SAFETY: Forwarded.
        let base = unsafe { system_address(element) }.ok_or(Error::InsufficientResources)?;
        // SAFETY: The element describes `inside + now.len()` bytes at least.
        let target = unsafe { base.as_ptr().add(inside as usize) };
        // SAFETY: As above; the client's buffer and our source do not overlap.
        unsafe { ptr::copy_nonoverlapping(now.as_ptr(), target, now.len()) };
        at = at.saturating_add(u32::try_from(now.len()).unwrap_or(u32::MAX));
        rest = later;
    }
    Ok(())
}

/// `MdlMappingNoExecute`: code integrity demands it. Kernels before Windows 8 do not know it.
const NO_EXECUTE: u32 = if cfg!(feature = "legacy") {
    0
} else {
    0x4000_0000
};

/// `MmGetSystemAddressForMdlSafe`.
///
/// # Safety
///
/// The element is valid, and its pages are locked or nonpaged.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn system_address(element: NonNull<MDL>) -> Option<NonNull<u8>> {
    // SAFETY: Forwarded: the element is valid.
    let flags = unsafe { (*element.as_ptr()).MdlFlags } as u32;
    if flags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL) != 0 {
        // SAFETY: With one of these flags the member is valid.
        return NonNull::new(unsafe { (*element.as_ptr()).MappedSystemVa }.cast());
    }
    // SAFETY: The pages are locked: the client's contract for receive buffers.
    let mapped = unsafe {
        ntddk::MmMapLockedPagesSpecifyCache(
            element.as_ptr(),
            KERNEL_MODE,
            MmCached,
            ptr::null_mut(),
            0,
            NormalPagePriority | NO_EXECUTE,
        )
    };
    NonNull::new(mapped.cast())
}

/// An MDL of ours.
pub(crate) struct Mdl(NonNull<MDL>);

// SAFETY: An MDL that no transport has is plain memory of its owner.
unsafe impl Send for Mdl {}

impl Mdl {
    /// Describes bytes in nonpaged pool.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # Safety
    ///
    /// The bytes are nonpaged pool and outlive the MDL.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn of_pool(start: *mut u8, length: u32) -> Result<Self, Error> {
        let mdl = Self::new(start.cast(), length)?;
        // SAFETY: The MDL is new and describes nonpaged pool.
        unsafe { ntddk::MmBuildMdlForNonPagedPool(mdl.as_ptr()) };
        Ok(mdl)
    }

    fn new(address: PVOID, length: u32) -> Result<Self, Error> {
        // SAFETY: IoAllocateMdl only computes with the address; no packet is given.
        let mdl = unsafe { ntddk::IoAllocateMdl(address, length, 0, 0, ptr::null_mut()) };
        NonNull::new(mdl)
            .map(Self)
            .ok_or(Error::InsufficientResources)
    }

    /// An MDL with room for a part of any element of a chain, up to byte `length` of it.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # Safety
    ///
    /// The chain is valid and describes at least `length` bytes, at least one.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn for_parts_of(chain: PMDL, length: u32) -> Result<Self, Error> {
        let mut covered = 0_u32;
        let mut widest = None;
        // SAFETY: Forwarded.
        for element in unsafe { elements(chain) } {
            if covered >= length {
                break;
            }
            // SAFETY: The iterator yields valid elements.
            covered = covered.saturating_add(unsafe { byte_count(element) });
            // SAFETY: As above.
            let pages = unsafe { pages(element) };
            if widest.is_none_or(|(most, _)| pages > most) {
                widest = Some((pages, element));
            }
        }
        let (_, element) = widest.ok_or(Error::InvalidParameter)?;
        // SAFETY: The element is valid.
        Self::new(unsafe { virtual_address(element) }, unsafe {
            byte_count(element)
        })
    }

    /// Describes `length` bytes from `offset` of an element (`IoBuildPartialMdl`).
    ///
    /// # Safety
    ///
    /// The element is one of the chain that this MDL was made for, describes `offset + length` bytes at least, and
    /// `length` is not zero; no transport has this MDL.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn describe_part(&self, element: NonNull<MDL>, offset: u32, length: u32) {
        // SAFETY: Nobody else has this MDL.
        unsafe { self.unmap() };
        // SAFETY: Forwarded: the element is valid.
        let base = unsafe { virtual_address(element) };
        let start = base.wrapping_byte_add(offset as usize);
        // SAFETY: Forwarded; the target has room for any part of any element of its chain.
        unsafe { ntddk::IoBuildPartialMdl(element.as_ptr(), self.as_ptr(), start, length) };
    }

    /// `MmPrepareMdlForReuse`.
    unsafe fn unmap(&self) {
        // SAFETY: Forwarded: the MDL is ours.
        let mdl = unsafe { &*self.as_ptr() };
        if mdl.MdlFlags as u32 & MDL_PARTIAL_HAS_BEEN_MAPPED != 0 {
            // SAFETY: The flag says that the partial MDL has a mapping of its own.
            unsafe { ntddk::MmUnmapLockedPages(mdl.MappedSystemVa, self.as_ptr()) };
        }
    }

    /// The MDL for routines of the system.
    pub(crate) const fn as_ptr(&self) -> PMDL {
        self.0.as_ptr()
    }
}

impl Drop for Mdl {
    fn drop(&mut self) {
        // SAFETY: No transport has the MDL. IoFreeMdl unmaps a mapped partial MDL ("IoFreeMdl function").
        unsafe { ntddk::IoFreeMdl(self.as_ptr()) };
    }
}

/// `MmGetMdlVirtualAddress`.
unsafe fn virtual_address(element: NonNull<MDL>) -> PVOID {
    // SAFETY: Forwarded: the element is valid.
    let mdl = unsafe { element.as_ref() };
    mdl.StartVa.wrapping_byte_add(mdl.ByteOffset as usize)
}

const PAGE_SIZE: u32 = 0x1000;

/// `ADDRESS_AND_SIZE_TO_SPAN_PAGES` of an element.
unsafe fn pages(element: NonNull<MDL>) -> u32 {
    // SAFETY: Forwarded: the element is valid.
    let mdl = unsafe { element.as_ref() };
    mdl.ByteOffset
        .saturating_add(mdl.ByteCount)
        .div_ceil(PAGE_SIZE)
}

/// The bytes that a transport indicates.
///
/// # Safety
///
/// `start` is valid for reads of `length` bytes for as long as the result is used, or `length` is zero.
pub(crate) const unsafe fn indicated<'a>(start: *const u8, length: usize) -> &'a [u8] {
    if length == 0 || start.is_null() {
        return &[];
    }
    // SAFETY: Forwarded.
    unsafe { slice::from_raw_parts(start, length) }
}
