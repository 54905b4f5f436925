//! The interrupt request level: asking for it, and holding a raised one.

use wdk_sys::ntddk;

/// Thread may block and use handles.
pub(crate) const PASSIVE: u8 = 0;
/// Special kernel APCs are held off.
pub(crate) const APC: u8 = 1;
/// No waits, no paged memory.
pub(crate) const DISPATCH: u8 = 2;

/// The level of the current processor.
pub(crate) fn current() -> u8 {
    // SAFETY: Callable at any level.
    unsafe { ntddk::KeGetCurrentIrql() }
}

/// Whether special kernel APCs are disabled for the current thread (by level or by a guarded region).
pub(crate) fn all_apcs_disabled() -> bool {
    // SAFETY: Callable at or below DISPATCH_LEVEL, where the transport runs.
    unsafe { ntddk::KeAreAllApcsDisabled() != 0 }
}

/// Runs `body` at `level`, then goes back. At or above the current level only.
pub(crate) fn at<R>(level: u8, body: impl FnOnce() -> R) -> R {
    if level <= current() {
        return body();
    }
    // SAFETY: `level` is above the current one.
    let old = unsafe { ntddk::KfRaiseIrql(level) };
    let result = body();
    // SAFETY: `old` is the level before the raise.
    unsafe { ntddk::KeLowerIrql(old) };
    result
}

/// Runs `body` in a guarded region: PASSIVE_LEVEL with all APCs disabled.
pub(crate) fn guarded<R>(body: impl FnOnce() -> R) -> R {
    // SAFETY: Callable at or below APC_LEVEL; left below.
    unsafe { ntddk::KeEnterGuardedRegion() };
    let result = body();
    // SAFETY: Entered above, on the same thread.
    unsafe { ntddk::KeLeaveGuardedRegion() };
    result
}
