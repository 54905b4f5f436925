//! Routines by name: first those of this image, then Wine's.

use core::ffi::{CStr, c_char, c_void};

use wdk_sys::{PUNICODE_STRING, PVOID, ntddk};

use crate::device;

#[link(name = "kernel32", kind = "raw-dylib")]
unsafe extern "C" {
    fn GetModuleHandleA(name: *const c_char) -> *mut c_void;
    fn GetProcAddress(module: *mut c_void, name: *const c_char) -> PVOID;
}

const NAME: &CStr = c"ntosshim.sys";
/// Longer than the name of a routine.
const LENGTH: usize = 96;

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_MmGetSystemRoutineAddress(name: PUNICODE_STRING) -> PVOID {
    let mut ascii = [0_u8; LENGTH];
    // SAFETY: The caller's string.
    let given = unsafe { &*name };
    // SAFETY: As above.
    let units = unsafe { device::units(given) };
    for (to, from) in ascii.iter_mut().take(LENGTH - 1).zip(units) {
        *to = u8::try_from(*from).unwrap_or(b'?');
    }
    // SAFETY: A constant name.
    let module = unsafe { GetModuleHandleA(NAME.as_ptr()) };
    // SAFETY: This very image; the name ends with a zero.
    let own = unsafe { GetProcAddress(module, ascii.as_ptr().cast()) };
    if own.is_null() {
        // SAFETY: Forwarded.
        unsafe { ntddk::MmGetSystemRoutineAddress(name) }
    } else {
        own
    }
}
