//! MDLs. All of Wine's memory lies in one address space, so a mapping is the address itself; only the flags tell states apart.

use wdk_sys::{
    KPROCESSOR_MODE, LOCK_OPERATION, MDL, MDL_MAPPED_TO_SYSTEM_VA, MDL_PAGES_LOCKED, MDL_PARTIAL,
    MDL_PARTIAL_HAS_BEEN_MAPPED, MDL_SOURCE_IS_NONPAGED_POOL, MEMORY_CACHING_TYPE, PMDL, PVOID,
    ULONG, ntddk,
};

/// Where drivers take system space to begin. Pool and images of Wine lie above; what a test takes for an address of user space (1 MiB
/// at most) lies below.
#[unsafe(no_mangle)]
static shim_MmSystemRangeStart: usize = 0x11_0000;

const PAGE_MASK: usize = 0xFFF;

/// `MmGetMdlVirtualAddress`.
fn start(mdl: &MDL) -> PVOID {
    mdl.StartVa.wrapping_byte_add(mdl.ByteOffset as usize)
}

/// Flags in the type that an MDL has for them.
fn bits(flags: u32) -> i16 {
    i16::try_from(flags).unwrap_or_default()
}

fn set(mdl: &mut MDL, flags: u32) {
    mdl.MdlFlags |= bits(flags);
}

fn clear(mdl: &mut MDL, flags: u32) {
    mdl.MdlFlags &= !bits(flags);
}

fn has(mdl: &MDL, flags: u32) -> bool {
    mdl.MdlFlags & bits(flags) != 0
}

/// A count of bytes in the type that an MDL has for it.
fn count(bytes: usize) -> ULONG {
    ULONG::try_from(bytes).unwrap_or_default()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_MmBuildMdlForNonPagedPool(mdl: PMDL) {
    // SAFETY: The caller's MDL.
    let mdl = unsafe { &mut *mdl };
    mdl.MappedSystemVa = start(mdl);
    set(mdl, MDL_SOURCE_IS_NONPAGED_POOL);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_MmProbeAndLockPages(mdl: PMDL, _: KPROCESSOR_MODE, _: LOCK_OPERATION) {
    // SAFETY: The caller's MDL.
    set(unsafe { &mut *mdl }, MDL_PAGES_LOCKED);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_MmUnlockPages(mdl: PMDL) {
    // SAFETY: The caller's MDL. A mapping goes with the lock.
    clear(
        unsafe { &mut *mdl },
        MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA,
    );
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_MmMapLockedPagesSpecifyCache(
    mdl: PMDL,
    _: KPROCESSOR_MODE,
    _: MEMORY_CACHING_TYPE,
    _: PVOID,
    _: ULONG,
    _: ULONG,
) -> PVOID {
    // SAFETY: The caller's MDL.
    let mdl = unsafe { &mut *mdl };
    mdl.MappedSystemVa = start(mdl);
    set(mdl, MDL_MAPPED_TO_SYSTEM_VA);
    if has(mdl, MDL_PARTIAL) {
        set(mdl, MDL_PARTIAL_HAS_BEEN_MAPPED);
    }
    mdl.MappedSystemVa
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_MmUnmapLockedPages(_: PVOID, mdl: PMDL) {
    // SAFETY: The caller's MDL.
    clear(
        unsafe { &mut *mdl },
        MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED,
    );
}

/// A part of a nonpaged or mapped element is mapped itself; one of an element that is only locked has to be mapped.
#[unsafe(no_mangle)]
unsafe extern "C" fn shim_IoBuildPartialMdl(
    source: PMDL,
    target: PMDL,
    address: PVOID,
    length: ULONG,
) {
    // SAFETY: The caller's MDL.
    let source = unsafe { &*source };
    // SAFETY: As above; another one.
    let target = unsafe { &mut *target };
    let offset = address.addr().wrapping_sub(start(source).addr());
    let rest = (source.ByteCount as usize).wrapping_sub(offset);
    if length as usize > rest {
        // SAFETY: The documented end of a driver that does this (TARGET_MDL_TOO_SMALL is the nearest code).
        unsafe { ntddk::KeBugCheckEx(0x40, 0, 0, 0, 0) };
    }
    target.StartVa = address.map_addr(|address| address & !PAGE_MASK);
    target.ByteOffset = count(address.addr() & PAGE_MASK);
    target.ByteCount = if length == 0 { count(rest) } else { length };
    target.Process = source.Process;
    clear(
        target,
        MDL_SOURCE_IS_NONPAGED_POOL | MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED,
    );
    set(target, MDL_PARTIAL);
    if has(source, MDL_SOURCE_IS_NONPAGED_POOL) {
        set(target, MDL_SOURCE_IS_NONPAGED_POOL);
    } else if has(source, MDL_MAPPED_TO_SYSTEM_VA) {
        set(target, MDL_MAPPED_TO_SYSTEM_VA);
    }
    target.MappedSystemVa = source.MappedSystemVa.wrapping_byte_add(offset);
}
