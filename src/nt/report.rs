//! Messages for the kernel debugger about callers that break a contract.

use core::ffi::CStr;

use wdk_sys::ntddk;

/// Reports that `routine` was called above the level it allows.
///
/// # IRQL
///
/// any
pub(crate) fn irql_too_high(routine: &CStr, irql: u8) {
    // SAFETY: The format takes one string and one integer, which follow.
    unsafe {
        ntddk::DbgPrint(
            c"rxce: %s called at IRQL %u\n".as_ptr(),
            routine.as_ptr(),
            u32::from(irql),
        )
    };
}

/// Reports a broken rule of `routine`'s contract; debug builds only.
///
/// # IRQL
///
/// any
#[cfg(debug_assertions)]
pub(crate) fn misuse(routine: &CStr, what: &CStr) {
    // SAFETY: The format takes two strings, which follow.
    unsafe { ntddk::DbgPrint(c"rxce: %s: %s\n".as_ptr(), routine.as_ptr(), what.as_ptr()) };
}

/// Release builds do not look.
#[cfg(not(debug_assertions))]
pub(crate) const fn misuse(_: &CStr, _: &CStr) {}
