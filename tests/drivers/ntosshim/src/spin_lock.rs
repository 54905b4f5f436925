//! Spin locks are Wine's; the level that goes with them is kept here.

use wdk_sys::{BOOLEAN, KIRQL, PIRP, PKIRQL, PKSPIN_LOCK, ntddk};

use crate::irql::{DISPATCH_LEVEL, set_level};

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_KeAcquireSpinLockRaiseToDpc(lock: PKSPIN_LOCK) -> KIRQL {
    let old = set_level(DISPATCH_LEVEL);
    // SAFETY: Forwarded.
    unsafe { ntddk::KeAcquireSpinLockAtDpcLevel(lock) };
    old
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_KeReleaseSpinLock(lock: PKSPIN_LOCK, old: KIRQL) {
    // SAFETY: Forwarded.
    unsafe { ntddk::KeReleaseSpinLockFromDpcLevel(lock) };
    set_level(old);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_KeAcquireSpinLockAtDpcLevel(lock: PKSPIN_LOCK) {
    // SAFETY: Forwarded.
    unsafe { ntddk::KeAcquireSpinLockAtDpcLevel(lock) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_KeReleaseSpinLockFromDpcLevel(lock: PKSPIN_LOCK) {
    // SAFETY: Forwarded.
    unsafe { ntddk::KeReleaseSpinLockFromDpcLevel(lock) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_IoAcquireCancelSpinLock(old: PKIRQL) {
    let mut wines = 0;
    // SAFETY: The level goes to a local.
    unsafe { ntddk::IoAcquireCancelSpinLock(&raw mut wines) };
    let level = set_level(DISPATCH_LEVEL);
    // SAFETY: The caller's variable.
    unsafe { old.write(level) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_IoReleaseCancelSpinLock(old: KIRQL) {
    // SAFETY: Forwarded; Wine ignores the level.
    unsafe { ntddk::IoReleaseCancelSpinLock(old) };
    set_level(old);
}

/// Wine calls the cancel routine with its lock held, which is at `DISPATCH_LEVEL`. The level that it puts into the packet is 0.
#[unsafe(no_mangle)]
unsafe extern "C" fn shim_IoCancelIrp(irp: PIRP) -> BOOLEAN {
    let old = set_level(DISPATCH_LEVEL);
    // SAFETY: Forwarded.
    let cancelled = unsafe { ntddk::IoCancelIrp(irp) };
    set_level(old);
    cancelled
}
