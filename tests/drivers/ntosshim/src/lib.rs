//! ntosshim.sys stands between test drivers and Wine's `ntoskrnl.exe`, and does what that kernel lacks.
//!
//! Its name is as long as the kernel's, so that a copy of an image can be made to import from it by changing that name. What it
//! does itself is listed in `overrides.rs`; every other name is forwarded to Wine by the loader, without code here. It belongs to the
//! tests: nothing of it is shipped, and on Windows it has no use.
//!
//! `device` keeps the names of devices, `file` opens them for drivers, `irql` and `spin_lock` keep the level of each thread, `mdl`,
//! `pool`, `rundown` and `work` do what their names say.

#![no_std]

mod clock;
mod device;
mod etw;
mod file;
mod irp;
mod irql;
mod lookup;
mod mdl;
mod pool;
mod rundown;
mod security;
mod spin_lock;
mod work;

// Linked for its panic handler.
use wdk_panic as _;
use wdk_sys::{NTSTATUS, PCUNICODE_STRING, PDRIVER_OBJECT, STATUS_NOT_SUPPORTED};

/// The image is loaded because others import from it; it is no service.
///
/// # Safety
///
/// None of its arguments is used.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "C" fn driver_entry(_: PDRIVER_OBJECT, _: PCUNICODE_STRING) -> NTSTATUS {
    STATUS_NOT_SUPPORTED
}
