//! conform.sys: the acceptance vectors of the connection engine, as a driver, with the scripted TDI transport that
//! they need. It runs on any NT kernel; what only a simulated kernel offers it looks up by name, and says "not
//! possible here" without it.
//!
//! `control` takes an IOCTL per vector, `runner` runs the vector in a system thread and checks that nothing is left,
//! `vectors` holds them. They call the engine through `engine`, build with `fixture` and
//! `race`, watch through `client` (the
//! callbacks) and `transport` (the requests). `storm` has a client and a transport of its own; `fuzz` calls
//! everything with arguments that a fuzzer writes; `sweep` makes one chosen thing fail. `nt` wraps kernel objects;
//! `outcome` is how everything reports.

#![no_std]

extern crate alloc;

mod client;
mod control;
mod duel;
mod engine;
mod fixture;
mod fuzz;
mod nt;
mod outcome;
mod race;
mod runner;
mod storm;
mod sweep;
mod transport;
mod vectors;

use client_nt::access;
// Linked for its panic handler.
use wdk_panic as _;
use wdk_sys::{
    DRIVER_OBJECT, IRP_MJ_CREATE, NTSTATUS, PCUNICODE_STRING, PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP,
    ntddk,
};

use crate::nt::status;

#[cfg(feature = "legacy")]
#[global_allocator]
static ALLOCATOR: legacy_nt::Allocator = legacy_nt::Allocator;

#[cfg(not(feature = "legacy"))]
#[global_allocator]
static ALLOCATOR: wdk_alloc::WdkAllocator = wdk_alloc::WdkAllocator;

/// Creates the devices.
///
/// # Safety
///
/// Called by the I/O manager, once, with this driver's object.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: The I/O manager's object for this driver, ours to fill in now.
    let object: &mut DRIVER_OBJECT = unsafe { &mut *driver };
    object.DriverUnload = Some(unload);
    for routine in &mut object.MajorFunction {
        *routine = Some(dispatch);
    }
    let created = transport::create_devices(driver)
        .and_then(|()| storm::create_device(driver))
        .and_then(|()| control::create_device(driver));
    match created {
        Ok(()) => status::SUCCESS,
        Err(failure) => {
            // SAFETY: The devices created so far; nobody has opened them.
            unsafe { delete_devices(driver) };
            failure
        }
    }
}

unsafe extern "C" fn unload(driver: PDRIVER_OBJECT) {
    control::delete_link();
    // SAFETY: No handle is open, so nobody uses the devices.
    unsafe { delete_devices(driver) };
}

/// # Safety
///
/// `driver` is this driver's object; its devices are not in use.
unsafe fn delete_devices(driver: PDRIVER_OBJECT) {
    loop {
        // SAFETY: By this function's contract.
        let device = unsafe { (*driver).DeviceObject };
        if device.is_null() {
            return;
        }
        // SAFETY: By this function's contract; it leaves the driver's list.
        unsafe { ntddk::IoDeleteDevice(device) };
    }
}

unsafe extern "C" fn dispatch(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The request is ours now.
    let stack = unsafe { nt::irp::current(irp) };
    // SAFETY: As above.
    let major = u32::from(unsafe { (*stack).MajorFunction });
    // SAFETY: A create request, in the thread that opens.
    if major == IRP_MJ_CREATE && unsafe { access::is_refused(irp) } {
        // SAFETY: Ours, completed once.
        unsafe { nt::irp::complete(irp, status::ACCESS_DENIED, 0) };
        return status::ACCESS_DENIED;
    }
    // SAFETY: A device of this driver.
    if unsafe { storm::is_device(device) } {
        // SAFETY: Called by the I/O manager.
        return unsafe { storm::dispatch(device, irp) };
    }
    // SAFETY: A device of this driver.
    match unsafe { transport::personality(device) } {
        // SAFETY: Called by the I/O manager.
        Some(personality) => unsafe { transport::dispatch(personality, device, irp) },
        // SAFETY: As above; only the control device is left.
        None => unsafe { control::dispatch(irp) },
    }
}
