//! Rundown protection, after the public pages: a count of references, and one waiter who forbids new ones.

use core::{
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use wdk_sys::{
    _EVENT_TYPE::NotificationEvent, BOOLEAN, EX_RUNDOWN_REF, KEVENT, PEX_RUNDOWN_REF,
    PEX_RUNDOWN_REF_CACHE_AWARE, POOL_TYPE, ULONG, ntddk,
};

use crate::pool;

/// The run-down has begun. The other bits are the address of its [`Waiter`] then, or zero when it is over.
const ACTIVE: usize = 1;
/// One reference.
const ONE: usize = 2;

/// Who waits for the references.
struct Waiter {
    left: AtomicUsize,
    event: KEVENT,
}

const TAG: ULONG = u32::from_le_bytes(*b"ShRd");

/// # Safety
///
/// `protection` points to rundown protection that outlives the result.
unsafe fn word<'a>(protection: PEX_RUNDOWN_REF) -> &'a AtomicUsize {
    // SAFETY: The structure is one word, which everyone changes interlocked.
    unsafe { AtomicUsize::from_ptr(protection.cast()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExInitializeRundownProtection(protection: PEX_RUNDOWN_REF) {
    // SAFETY: Forwarded.
    unsafe { word(protection) }.store(0, Ordering::Release);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExAcquireRundownProtection(protection: PEX_RUNDOWN_REF) -> BOOLEAN {
    let taken = |value: usize| (value & ACTIVE == 0).then(|| value.wrapping_add(ONE));
    // SAFETY: Forwarded.
    let word = unsafe { word(protection) };
    BOOLEAN::from(
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken)
            .is_ok(),
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExReleaseRundownProtection(protection: PEX_RUNDOWN_REF) {
    let given = |value: usize| (value & ACTIVE == 0).then(|| value.wrapping_sub(ONE));
    // SAFETY: Forwarded.
    let word = unsafe { word(protection) };
    let Err(value) = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, given) else {
        return;
    };
    let waiter = ptr::with_exposed_provenance_mut::<Waiter>(value & !ACTIVE);
    // SAFETY: The waiter stays until the last reference is given back.
    let left = unsafe { &(*waiter).left };
    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
        // SAFETY: As above: it leaves after this.
        let event = unsafe { &raw mut (*waiter).event };
        // SAFETY: As above; no wait follows.
        unsafe { ntddk::KeSetEvent(event, 0, 0) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExWaitForRundownProtectionRelease(protection: PEX_RUNDOWN_REF) {
    let mut waiter = Waiter {
        left: AtomicUsize::new(0),
        event: KEVENT::default(),
    };
    // SAFETY: A new event.
    unsafe { ntddk::KeInitializeEvent(&raw mut waiter.event, NotificationEvent, 0) };
    let address = (&raw mut waiter).expose_provenance();
    // SAFETY: Forwarded.
    let word = unsafe { word(protection) };
    let begun = |value: usize| {
        if value & ACTIVE != 0 {
            return None;
        }
        waiter.left.store(value / ONE, Ordering::Release);
        Some(if value == 0 { ACTIVE } else { address | ACTIVE })
    };
    if word.fetch_update(Ordering::AcqRel, Ordering::Acquire, begun) > Ok(0) {
        let event = (&raw mut waiter.event).cast();
        // SAFETY: The event lives until the wait is over.
        let _ = unsafe { ntddk::KeWaitForSingleObject(event, 0, 0, 0, ptr::null_mut()) };
        word.store(ACTIVE, Ordering::Release);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExAllocateCacheAwareRundownProtection(
    _: POOL_TYPE,
    _: ULONG,
) -> PEX_RUNDOWN_REF_CACHE_AWARE {
    // All zeros are protection without references.
    pool::zeroed::<EX_RUNDOWN_REF>(TAG).cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExFreeCacheAwareRundownProtection(
    protection: PEX_RUNDOWN_REF_CACHE_AWARE,
) {
    // SAFETY: Forwarded.
    unsafe { pool::free(protection) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExAcquireRundownProtectionCacheAware(
    protection: PEX_RUNDOWN_REF_CACHE_AWARE,
) -> BOOLEAN {
    // SAFETY: Forwarded.
    unsafe { shim_ExAcquireRundownProtection(protection.cast()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExReleaseRundownProtectionCacheAware(
    protection: PEX_RUNDOWN_REF_CACHE_AWARE,
) {
    // SAFETY: Forwarded.
    unsafe { shim_ExReleaseRundownProtection(protection.cast()) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExWaitForRundownProtectionReleaseCacheAware(
    protection: PEX_RUNDOWN_REF_CACHE_AWARE,
) {
    // SAFETY: Forwarded.
    unsafe { shim_ExWaitForRundownProtectionRelease(protection.cast()) };
}
