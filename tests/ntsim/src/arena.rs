//! Driver-visible memory: one high range of addresses that stands for system space.
//!
//! Everything a driver sees (images, pool, stacks, packets, thread objects) lies at or above [`SYSTEM_RANGE_START`], and
//! the buffers of simulated user programs below it ([`map_user`]), so that the rules about user addresses can be checked.
//! Addresses are handed out once and never again: whatever was freed stays inaccessible for the life of the process.

use crate::stop;
use core::sync::atomic::{AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// First address of system space (`MmSystemRangeStart`).
pub const SYSTEM_RANGE_START: usize = 0x6000_0000_0000;
/// First address after system space.
pub const SYSTEM_RANGE_END: usize = 0x7000_0000_0000;
/// Where buffers of simulated user programs begin.
const USER_START: usize = 0x1000_0000_0000;
/// First address after them.
const USER_END: usize = 0x2000_0000_0000;
/// Bytes of a page.
pub const PAGE: usize = 4096;

/// What a region of system space is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A mapped driver image.
    Image,
    /// Import thunks.
    Thunks,
    /// A driver stack.
    Stack,
    /// A processor control region.
    ControlRegion,
    /// A kernel object (thread, device, driver, file …).
    Object,
    /// Exported kernel variables.
    Data,
    /// Pool memory.
    Pool,
    /// An I/O request packet.
    Irp,
    /// A mapping of locked pages.
    Mapping,
    /// A user buffer (below system space).
    User,
}

/// A mapped range.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// First address.
    pub base: usize,
    /// Length.
    pub bytes: usize,
}

/// What is known about an address.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) base: usize,
    pub(crate) bytes: usize,
    pub(crate) kind: Kind,
    pub(crate) live: bool,
    /// Thread id for stacks.
    pub(crate) owner: u32,
}

static NEXT: AtomicUsize = AtomicUsize::new(SYSTEM_RANGE_START + 0x10_0000);
static NEXT_USER: AtomicUsize = AtomicUsize::new(USER_START);
/// Small blocks of [`alloc`]: address to length. Larger regions by base.
static REGIONS: Mutex<BTreeMap<usize, Known>> = Mutex::new(BTreeMap::new());

/// Whether the address lies in system space.
#[must_use]
pub const fn is_system(address: usize) -> bool {
    address >= SYSTEM_RANGE_START && address < SYSTEM_RANGE_END
}

/// Whether the address lies in the user space of a simulated program.
#[must_use]
pub const fn is_user(address: usize) -> bool {
    address < SYSTEM_RANGE_START
}

/// Rounds up to whole pages.
#[must_use]
pub const fn pages(bytes: usize) -> usize {
    bytes.div_ceil(PAGE) * PAGE
}

/// Reserves the address ranges; once, before anything is mapped.
pub(crate) fn initialise() {
    for (start, end) in [
        (SYSTEM_RANGE_START, SYSTEM_RANGE_END),
        (USER_START, USER_END),
    ] {
        let flags = libc::MAP_PRIVATE
            | libc::MAP_ANONYMOUS
            | libc::MAP_NORESERVE
            | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: A fixed mapping that refuses to replace anything touches no memory that is in use.
        let at = unsafe { libc::mmap(start as *mut _, end - start, libc::PROT_NONE, flags, -1, 0) };
        if at as usize != start {
            stop::host_failure(&format!(
                "cannot reserve system space at 0x{start:X}: {}",
                std::io::Error::last_os_error()
            ));
        }
    }
}

/// Takes `bytes` of fresh, inaccessible address space, followed and preceded by at least one inaccessible page.
pub(crate) fn reserve(bytes: usize) -> usize {
    let size = pages(bytes) + PAGE;
    let base = NEXT.fetch_add(size, Ordering::Relaxed);
    if base + size >= SYSTEM_RANGE_END {
        stop::host_failure("system space is used up");
    }
    base
}

/// Makes whole pages of reserved space accessible.
pub(crate) fn protect(base: usize, bytes: usize, protection: i32) {
    // SAFETY: The range was handed out by `reserve` and belongs to the caller; only driver-visible memory changes.
    let result = unsafe { libc::mprotect(base as *mut _, bytes, protection) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        stop::host_failure(&format!(
            "mprotect of 0x{base:X}, {bytes} bytes: {error} (is vm.max_map_count too low?)"
        ));
    }
}

/// Makes whole pages inaccessible again and gives their memory back to the host.
pub(crate) fn retire(base: usize, bytes: usize) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    // SAFETY: The range was handed out by `reserve`, and whoever owned it has given it up.
    let at = unsafe { libc::mmap(base as *mut _, bytes, libc::PROT_NONE, flags, -1, 0) };
    if at as usize != base {
        stop::host_failure(&format!(
            "cannot retire 0x{base:X}: {}",
            std::io::Error::last_os_error()
        ));
    }
}

/// Maps zeroed, writable pages.
pub fn map(bytes: usize, kind: Kind) -> usize {
    map_for(bytes, kind, 0)
}

fn map_for(bytes: usize, kind: Kind, owner: u32) -> usize {
    let base = reserve(bytes);
    protect(base, pages(bytes), libc::PROT_READ | libc::PROT_WRITE);
    register(base, pages(bytes), kind, owner);
    base
}

/// Writes a region down, so that a fault in it can be explained.
pub(crate) fn register(base: usize, bytes: usize, kind: Kind, owner: u32) {
    REGIONS.lock().insert(
        base,
        Known {
            base,
            bytes,
            kind,
            live: true,
            owner,
        },
    );
}

/// Maps a driver stack; the pages next to it stay inaccessible.
pub(crate) fn map_stack(bytes: usize, thread: u32) -> Region {
    Region {
        base: map_for(bytes, Kind::Stack, thread),
        bytes: pages(bytes),
    }
}

/// Maps zeroed, writable pages of simulated user space: buffers of user programs.
pub fn map_user(bytes: usize) -> usize {
    let size = pages(bytes) + PAGE;
    let base = NEXT_USER.fetch_add(size, Ordering::Relaxed);
    // Shared with ourselves only, so that the pages can have a second address (`alias`).
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: The range was just taken from the reserved user range.
    let at = unsafe {
        libc::mmap(
            base as *mut _,
            pages(bytes),
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        )
    };
    if at as usize != base {
        stop::host_failure(&format!(
            "cannot map a user buffer: {}",
            std::io::Error::last_os_error()
        ));
    }
    register(base, pages(bytes), Kind::User, 0);
    base
}

/// A second address, in system space, of pages of a user buffer ([`map_user`]). Undone with [`unmap`].
pub(crate) fn alias(base: usize, bytes: usize) -> usize {
    let target = reserve(bytes);
    // SAFETY: An old size of 0 duplicates a shared mapping (mremap(2)) and leaves the old one; the target is reserved
    // address space of our own.
    let at = unsafe {
        libc::mremap(
            base as *mut _,
            0,
            bytes,
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            target as *mut libc::c_void,
        )
    };
    if at as usize != target {
        stop::host_failure(&format!(
            "cannot map user pages at 0x{base:X}: {}",
            std::io::Error::last_os_error()
        ));
    }
    register(target, bytes, Kind::Mapping, 0);
    target
}

/// Takes pages back that [`map`] or [`map_user`] gave; their addresses stay inaccessible.
pub fn unmap(base: usize, bytes: usize) {
    if let Some(known) = REGIONS.lock().get_mut(&base) {
        known.live = false;
    }
    retire(base, pages(bytes));
}

/// Driver-visible memory for a kernel object or packet: zeroed, 16-byte aligned, its end at an inaccessible page (up to
/// the alignment), and inaccessible after [`free`]. With [`crate::Rules::SPECIAL_POOL`] off: from the plain allocator.
pub fn alloc(bytes: usize, kind: Kind) -> usize {
    if !crate::Rules::SPECIAL_POOL.is_on() {
        return crate::pool::plain_object(bytes);
    }
    let bytes = bytes.max(1).next_multiple_of(16);
    let base = map(bytes, kind);
    base + pages(bytes) - bytes
}

/// Gives back what [`alloc`] gave. Returns false if nothing alive is at this address.
pub fn free(address: usize) -> bool {
    if !crate::Rules::SPECIAL_POOL.is_on() {
        return crate::pool::free_plain_object(address);
    }
    let base = address & !(PAGE - 1);
    let bytes = match REGIONS.lock().get_mut(&base) {
        Some(known) if known.live => {
            known.live = false;
            known.bytes
        }
        _ => return false,
    };
    retire(base, bytes);
    true
}

/// The region that contains an address or whose guard page does, for fault reports.
pub(crate) fn explain(address: usize) -> Option<Known> {
    let regions = REGIONS.try_lock_for(core::time::Duration::from_millis(200))?;
    let before = regions
        .range(..=address)
        .next_back()
        .map(|(_, known)| known);
    if let Some(known) = before.filter(|known| address < known.base + known.bytes) {
        return Some(known.clone());
    }
    // A guard page has two neighbours. Stacks grow down, everything else runs past its end.
    let after = regions
        .range(address..)
        .next()
        .map(|(_, known)| known)
        .filter(|known| known.base - address <= PAGE);
    after
        .filter(|known| known.kind == Kind::Stack)
        .or(before.filter(|known| address < known.base + known.bytes + PAGE))
        .or(after)
        .cloned()
}

/// Whether the page of this address is accessible now (`MmIsAddressValid`).
#[must_use]
pub fn is_mapped(address: usize) -> bool {
    read_checked(address, &mut [0])
}

/// Copies memory that may be inaccessible; false if any of it is.
#[must_use]
pub fn read_checked(address: usize, into: &mut [u8]) -> bool {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut _,
        iov_len: into.len(),
    };
    // SAFETY: `getpid` has no preconditions.
    let this = unsafe { libc::getpid() };
    // SAFETY: Copies within this process through the host's kernel, which checks the source; the destination is `into`.
    let copied =
        unsafe { libc::process_vm_readv(this, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(copied) == Ok(into.len())
}
