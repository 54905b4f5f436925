//! What the compiler expects of a C runtime.

use core::{
    ffi::{c_char, c_void},
    panic::PanicInfo,
};

use windows_sys::Win32::System::Threading::ExitProcess;

use crate::stream::Stream;

/// What the process returns after a panic, as a Rust program with the standard library does.
const PANICKED: u32 = 101;

// The compiler calls these by name, and so does `core`; no code here does. ntdll exports them. Where `core` is built with
// routines of its own, the linker takes either.
#[expect(dead_code, reason = "what is declared here is what the linker finds")]
#[link(name = "ntdll.dll", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    fn memcpy(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void;
    fn memmove(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void;
    fn memset(to: *mut c_void, value: i32, bytes: usize) -> *mut c_void;
    fn memcmp(one: *const c_void, other: *const c_void, bytes: usize) -> i32;
    fn strlen(text: *const c_char) -> usize;
    fn __chkstk();
}

/// Linkers want it of an image that uses floating point.
#[unsafe(no_mangle)]
static _fltused: i32 = 0;

/// The unwinder's routine that `core` was compiled to name. Panics abort, so nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn __CxxFrameHandler3() -> ! {
    // SAFETY: No requirements.
    unsafe { ExitProcess(PANICKED) }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // The error stream may be what failed: then nobody can be told.
    let _ = Stream::error().write(&alloc::format!("rxcectl: {info}\n"));
    // SAFETY: No requirements.
    unsafe { ExitProcess(PANICKED) }
}
