//! The kernel's routines and memory, without their safety contracts: to break them is what this driver is for. It runs
//! where a broken contract stops the machine, and nothing else depends on it.

use core::ffi::c_void;

use wdk_sys::{
    KEVENT, NTSTATUS, OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES, POOL_FLAG_NON_PAGED, UNICODE_STRING,
};

/// The tag of everything allocated here.
pub(crate) const TAG: u32 = u32::from_le_bytes(*b"Brkr");
/// `KernelMode`.
const KERNEL_MODE: i8 = 0;
/// No special kernel APCs.
pub(crate) const APC: u8 = 1;
/// No waits.
pub(crate) const DISPATCH: u8 = 2;
/// Above what nearly every routine allows.
pub(crate) const DEVICE: u8 = 3;

/// Calls a kernel routine. Its status may be ignored: that of a rule that is broken means nothing.
macro_rules! nt {
    ($routine:ident($($argument:expr),* $(,)?)) => {
        $crate::nt::returned(
            // SAFETY: None where a rule is being broken: see the module's comment. Elsewhere the caller's.
            unsafe { wdk_sys::ntddk::$routine($($argument),*) },
        )
    };
}
pub(crate) use nt;

/// What a routine returned.
pub(crate) fn returned<T>(value: T) -> T {
    value
}

unsafe extern "C" {
    /// The kernel's export, which Driver Verifier watches; compilers use it for copies of blocks that do not overlap.
    pub(crate) fn memcpy(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void;
    /// Gone from newer headers, not from the kernel.
    pub(crate) fn ExAllocatePoolWithTag(kind: i32, bytes: usize, tag: u32) -> *mut c_void;
}

/// A zeroed block of nonpaged pool.
pub(crate) fn pool(bytes: usize) -> *mut c_void {
    nt!(ExAllocatePool2(POOL_FLAG_NON_PAGED, bytes as u64, TAG))
}

/// Frees a block.
pub(crate) fn free<T>(block: *mut T) {
    nt!(ExFreePoolWithTag(block.cast(), TAG));
}

/// A zeroed block for a structure.
pub(crate) fn new<T>() -> *mut T {
    pool(size_of::<T>()).cast()
}

/// Runs something with a block for a structure.
pub(crate) fn with<T, R>(run: impl FnOnce(*mut T) -> R) -> R {
    let block = new();
    let result = run(block);
    free(block);
    result
}

/// Writes memory.
pub(crate) fn poke<T>(address: *mut T, value: T) {
    // SAFETY: None where a rule is being broken: see the module's comment. Elsewhere the caller's.
    unsafe { address.write_volatile(value) };
}

/// Reads memory.
pub(crate) fn peek<T: Copy>(address: *const T) -> T {
    // SAFETY: As in `poke`.
    unsafe { address.read_volatile() }
}

/// The byte at an offset.
pub(crate) fn byte(block: *mut c_void, offset: isize) -> *mut u8 {
    block.cast::<u8>().wrapping_offset(offset)
}

/// Raises the IRQL, runs, and goes back.
pub(crate) fn at<R>(level: u8, run: impl FnOnce() -> R) -> R {
    let old = nt!(KfRaiseIrql(level));
    let result = run();
    nt!(KeLowerIrql(old));
    result
}

/// A notification event that is not set.
pub(crate) fn event() -> *mut KEVENT {
    let event = new();
    nt!(KeInitializeEvent(event, 0, 0));
    event
}

/// Sets an event.
pub(crate) fn set(event: *mut KEVENT) {
    nt!(KeSetEvent(event, 0, 0));
}

/// Waits for a dispatcher object.
pub(crate) fn wait<T>(object: *mut T) {
    nt!(KeWaitForSingleObject(
        object.cast(),
        0,
        KERNEL_MODE,
        0,
        core::ptr::null_mut()
    ));
}

/// Waits for an object for some milliseconds.
pub(crate) fn wait_for<T>(object: *mut T, milliseconds: i64) -> NTSTATUS {
    let mut limit = milliseconds_from_now(milliseconds);
    nt!(KeWaitForSingleObject(
        object.cast(),
        0,
        KERNEL_MODE,
        0,
        &raw mut limit
    ))
}

/// Sleeps.
pub(crate) fn sleep(milliseconds: i64) {
    let mut limit = milliseconds_from_now(milliseconds);
    nt!(KeDelayExecutionThread(KERNEL_MODE, 0, &raw mut limit));
}

/// Sleeps until no other thread has anything to do: simulated time jumps when all threads wait, and takes a minute before that.
pub(crate) fn settle() {
    sleep(60_000);
}

/// A relative time.
pub(crate) fn milliseconds_from_now(milliseconds: i64) -> wdk_sys::LARGE_INTEGER {
    wdk_sys::LARGE_INTEGER {
        QuadPart: milliseconds.wrapping_mul(-10_000),
    }
}

/// Attributes of a kernel handle to a named object; null for no name.
pub(crate) fn attributes(name: *mut UNICODE_STRING) -> OBJECT_ATTRIBUTES {
    OBJECT_ATTRIBUTES {
        Length: 0x30,
        ObjectName: name,
        Attributes: OBJ_KERNEL_HANDLE,
        ..OBJECT_ATTRIBUTES::default()
    }
}
