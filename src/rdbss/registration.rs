//! Registration with RDBSS, and its end.

use core::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use rxce_engine::Error;
use wdk_sys::{
    DRIVER_OBJECT, FILE_DEVICE_NETWORK_FILE_SYSTEM, FILE_DEVICE_SECURE_OPEN, FILE_REMOTE_DEVICE,
    IRP_MJ_INTERNAL_DEVICE_CONTROL, NTSTATUS, PCUNICODE_STRING, PDEVICE_OBJECT, PDRIVER_DISPATCH,
    PIRP, STATUS_INVALID_DEVICE_REQUEST, STATUS_OBJECT_NAME_COLLISION, STATUS_SUCCESS,
    STATUS_UNSUCCESSFUL, ntddk,
};

use super::{
    abi::{MinirdrDispatch, RdbssDeviceObject},
    imports::{RxRegisterMinirdr, RxpUnregisterMinirdr},
    parameters,
};
use crate::nt::{device, security};

/// `RX_REGISTERMINI_FLAG_DONT_PROVIDE_UNCS`.
const DONT_PROVIDE_UNCS: u32 = 0x1;
/// `RX_REGISTERMINI_FLAG_DONT_PROVIDE_MAILSLOTS`.
const DONT_PROVIDE_MAILSLOTS: u32 = 0x2;

/// `RDBSS_DEVICE_OBJECT.RDBSSDeviceObject`, behind a `DEVICE_OBJECT` of 0x150 bytes.
const RDBSS_DEVICE_OBJECT: usize = 0x160;

/// What RDBSS has put in the driver's table for internal device controls.
struct Saved(UnsafeCell<PDRIVER_DISPATCH>);

// SAFETY: It is written by `register`, before any request can come, and only read afterwards.
unsafe impl Sync for Saved {}

static SAVED: Saved = Saved(UnsafeCell::new(None));

/// RDBSS's device object, while the driver is registered.
static DEVICE: AtomicPtr<RdbssDeviceObject> = AtomicPtr::new(ptr::null_mut());

/// RDBSS's device object; NULL unless the driver is registered.
pub(super) fn device_object() -> *mut RdbssDeviceObject {
    DEVICE.load(Ordering::Acquire)
}

/// Registers the driver with a table that stays where it is; `internal` takes the requests of other drivers, before RDBSS does.
///
/// # Errors
///
/// RDBSS's status; nothing is left of the attempt.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, in `DriverEntry`
pub(super) fn register(
    driver: &mut DRIVER_OBJECT,
    registry_path: PCUNICODE_STRING,
    table: *mut MinirdrDispatch,
    internal: PDRIVER_DISPATCH,
) -> Result<(), Error> {
    // SAFETY: The I/O manager has handed the path in.
    unsafe { parameters::remember(registry_path) }?;
    start_library(driver, registry_path).inspect_err(|_| parameters::forget())?;
    let controls = if parameters::provide_unc() {
        DONT_PROVIDE_MAILSLOTS
    } else {
        DONT_PROVIDE_UNCS | DONT_PROVIDE_MAILSLOTS
    };
    let mut name = device::name();
    let mut object: *mut RdbssDeviceObject = ptr::null_mut();
    // SAFETY: The driver object is the one DriverEntry was given; name and table are static.
    let status = unsafe {
        RxRegisterMinirdr(
            &raw mut object,
            driver,
            table,
            controls,
            &raw mut name,
            0,
            FILE_DEVICE_NETWORK_FILE_SYSTEM,
            FILE_REMOTE_DEVICE | FILE_DEVICE_SECURE_OPEN,
        )
    };
    if status != STATUS_SUCCESS || object.is_null() {
        end_library(driver);
        parameters::forget();
        return Err(Error::Transport(refusal(status)));
    }
    DEVICE.store(object, Ordering::Release);
    // SAFETY: The device was made just now, and goes with the registration.
    if let Err(error) = unsafe { security::restrict(object.cast()) } {
        unregister(driver);
        return Err(error);
    }
    device::adopt(object.cast());
    // The other requests of the device are RDBSS's.
    if let Some(slot) = driver
        .MajorFunction
        .get_mut(IRP_MJ_INTERNAL_DEVICE_CONTROL as usize)
    {
        // SAFETY: Nobody can send a request before DriverEntry has returned.
        unsafe { *SAVED.0.get() = *slot };
        *slot = internal;
    }
    Ok(())
}

/// A failure for what `RxRegisterMinirdr` said: one of its refusals is an informational status.
const fn refusal(status: NTSTATUS) -> NTSTATUS {
    match status {
        wdk_sys::STATUS_OBJECT_NAME_EXISTS => STATUS_OBJECT_NAME_COLLISION,
        failure if failure < 0 => failure,
        _ => STATUS_UNSUCCESSFUL,
    }
}

/// Ends the registration. The redirector is stopped: a started one keeps a handle on its device, and is not unloaded.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, in the unload routine
pub(crate) fn unregister(driver: *mut DRIVER_OBJECT) {
    device::disown();
    let object = DEVICE.swap(ptr::null_mut(), Ordering::AcqRel);
    if let Some(rdbss) = ptr::NonNull::new(object) {
        // What `RxUnregisterMinirdr` does, an inline routine of the header.
        // SAFETY: The member lies inside RDBSS's device object, which lives.
        let member = unsafe { rdbss.as_ptr().cast::<u8>().add(RDBSS_DEVICE_OBJECT) };
        // SAFETY: As above.
        let driver_of_rdbss = unsafe { member.cast::<PDEVICE_OBJECT>().read() };
        // SAFETY: The driver is registered, and no request comes any more.
        unsafe { RxpUnregisterMinirdr(rdbss.as_ptr()) };
        if !driver_of_rdbss.is_null() {
            // SAFETY: The registration had referenced it for this moment.
            unsafe { ntddk::ObfDereferenceObject(driver_of_rdbss.cast()) };
        }
    }
    end_library(driver);
    parameters::forget();
}

/// Hands an internal device control on to RDBSS.
///
/// # Safety
///
/// The I/O manager has handed the packet to this driver, which does not touch it again.
pub(crate) unsafe fn pass_on(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: Written before the first request.
    match unsafe { *SAVED.0.get() } {
        // SAFETY: Forwarded.
        Some(routine) => unsafe { routine(device, irp) },
        // SAFETY: Forwarded.
        None => unsafe { device::complete(irp, STATUS_INVALID_DEVICE_REQUEST) },
    }
}

/// RDBSS that is linked in wants to be started first.
#[cfg(feature = "rdbss-static")]
fn start_library(driver: &mut DRIVER_OBJECT, registry_path: PCUNICODE_STRING) -> Result<(), Error> {
    // SAFETY: The I/O manager has handed both in.
    let status = unsafe { super::imports::RxDriverEntry(driver, registry_path.cast_mut()) };
    // Its documented failure is a positive number.
    if status == STATUS_SUCCESS {
        Ok(())
    } else {
        Err(Error::Transport(STATUS_UNSUCCESSFUL))
    }
}

#[cfg(not(feature = "rdbss-static"))]
#[expect(clippy::unnecessary_wraps, reason = "the other form can fail")]
const fn start_library(_: &mut DRIVER_OBJECT, _: PCUNICODE_STRING) -> Result<(), Error> {
    Ok(())
}

#[cfg(feature = "rdbss-static")]
fn end_library(driver: *mut DRIVER_OBJECT) {
    // SAFETY: `start_library` has succeeded, and the registration has ended.
    unsafe { super::imports::RxUnload(driver) };
}

#[cfg(not(feature = "rdbss-static"))]
const fn end_library(_: *mut DRIVER_OBJECT) {}
