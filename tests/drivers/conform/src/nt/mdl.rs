//! Memory descriptor lists over nonpaged memory.

use alloc::vec::Vec;
use core::ptr::{self, NonNull};

use wdk_sys::{MDL, PMDL, ntddk};

/// Mapped into system space already, or nonpaged pool (tdi.md §1): the data can be read at `MappedSystemVa`.
const MAPPED: i32 = 0x1 | 0x4;
/// Locked, or nonpaged pool: what a transport may be given (tdi.md §12).
const RESIDENT: i32 = 0x2 | 0x4;

/// A nonpaged buffer with the MDL that describes it.
pub(crate) struct Buffer {
    data: Vec<u8>,
    mdl: NonNull<MDL>,
    locked: bool,
}

// SAFETY: Plain memory; used by one side at a time, by the rules of the requests it travels in.
unsafe impl Send for Buffer {}
// SAFETY: As above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer that holds `data`.
    pub(crate) fn new(data: &[u8]) -> Option<Self> {
        let buffer = Self::described(data)?;
        // SAFETY: The MDL describes nonpaged pool.
        unsafe { ntddk::MmBuildMdlForNonPagedPool(buffer.mdl()) };
        Some(buffer)
    }

    /// A buffer that holds `data`, locked as one of a user's would be: whoever touches it has to map it first.
    pub(crate) fn locked(data: &[u8]) -> Option<Self> {
        let mut buffer = Self::described(data)?;
        // SAFETY: The pages exist and are resident; 0 = KernelMode, 2 = IoModifyAccess.
        unsafe { ntddk::MmProbeAndLockPages(buffer.mdl(), 0, 2) };
        buffer.locked = true;
        Some(buffer)
    }

    fn described(data: &[u8]) -> Option<Self> {
        let mut data = data.to_vec();
        let length = u32::try_from(data.len()).ok()?;
        // SAFETY: The buffer is nonpaged (the global allocator's pool) and outlives the MDL.
        let mdl = unsafe {
            ntddk::IoAllocateMdl(data.as_mut_ptr().cast(), length, 0, 0, ptr::null_mut())
        };
        let mdl = NonNull::new(mdl)?;
        let locked = false;
        Some(Self { data, mdl, locked })
    }

    /// The MDL.
    pub(crate) const fn mdl(&self) -> PMDL {
        self.mdl.as_ptr()
    }

    /// The first byte.
    pub(crate) fn start(&self) -> *mut u8 {
        self.data.as_ptr().cast_mut()
    }

    /// Number of bytes.
    pub(crate) fn length(&self) -> u32 {
        u32::try_from(self.data.len()).unwrap_or(u32::MAX)
    }

    /// The bytes now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        (0..self.data.len())
            // SAFETY: Inside the buffer; volatile because a transport writes through the MDL.
            .map(|offset| unsafe { self.data.as_ptr().wrapping_add(offset).read_volatile() })
            .collect()
    }

    /// Links `next` behind this buffer's MDL; null unlinks.
    pub(crate) fn chain(&self, next: PMDL) {
        // SAFETY: The MDL is ours.
        unsafe { (*self.mdl.as_ptr()).Next = next };
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.locked {
            // SAFETY: Locked in `locked`, unlocked once; a mapping goes with it ("MmUnlockPages function").
            unsafe { ntddk::MmUnlockPages(self.mdl.as_ptr()) };
        }
        // SAFETY: Allocated in `described`, freed once; nobody uses it past the test that owns it.
        unsafe { ntddk::IoFreeMdl(self.mdl.as_ptr()) };
    }
}

/// What a transport sees of a chain.
pub(crate) struct View {
    /// Sum of the byte counts.
    pub(crate) length: u64,
    /// Every element is locked or nonpaged.
    pub(crate) resident: bool,
}

/// Looks at a chain (at most 64 elements).
///
/// # Safety
///
/// `chain` is null or a valid chain.
pub(crate) unsafe fn view(chain: PMDL) -> View {
    let mut view = View {
        length: 0,
        resident: true,
    };
    let mut next = chain;
    for _ in 0..64 {
        let Some(element) = NonNull::new(next) else {
            break;
        };
        // SAFETY: Valid by this function's contract.
        let element = unsafe { element.as_ref() };
        view.length = view.length.saturating_add(u64::from(element.ByteCount));
        view.resident &= i32::from(element.MdlFlags) & RESIDENT != 0;
        next = element.Next;
    }
    view
}

/// Copies `data` into a chain from its start, as far as both go; tells how many bytes.
///
/// # Safety
///
/// `chain` is null or a valid chain whose elements are mapped.
pub(crate) unsafe fn fill(chain: PMDL, data: &[u8]) -> usize {
    let mut rest = data;
    let copy = |start: *mut u8, length: usize| {
        let (now, later) = rest.split_at(length.min(rest.len()));
        for (offset, &byte) in now.iter().enumerate() {
            // SAFETY: `walk` gives the bounds of one mapped element.
            unsafe { start.wrapping_add(offset).write_volatile(byte) };
        }
        rest = later;
    };
    // SAFETY: Forwarded from this function's contract.
    unsafe { walk(chain, copy) };
    data.len().saturating_sub(rest.len())
}

/// Reads up to `out.len()` bytes from a chain's start; tells how many.
///
/// # Safety
///
/// As for [`fill`].
pub(crate) unsafe fn take(chain: PMDL, out: &mut [u8]) -> usize {
    let mut done = 0_usize;
    let copy = |start: *mut u8, length: usize| {
        for offset in 0..length {
            let Some(to) = out.get_mut(done) else { return };
            // SAFETY: `walk` gives the bounds of one mapped element.
            *to = unsafe { start.wrapping_add(offset).read_volatile() };
            done = done.saturating_add(1);
        }
    };
    // SAFETY: Forwarded from this function's contract.
    unsafe { walk(chain, copy) };
    done
}

/// # Safety
///
/// As for [`fill`].
unsafe fn walk(chain: PMDL, mut element_at: impl FnMut(*mut u8, usize)) {
    let mut next = chain;
    for _ in 0..64 {
        let Some(element) = NonNull::new(next) else {
            return;
        };
        // SAFETY: Valid by this function's contract.
        let element = unsafe { element.as_ref() };
        if i32::from(element.MdlFlags) & MAPPED != 0 {
            element_at(element.MappedSystemVa.cast(), element.ByteCount as usize);
        }
        next = element.Next;
    }
}
