//! Entry, unload, and the control device.

use core::{ffi::c_void, ptr};

use breaker_ioctl::Twin;
use wdk_sys::{
    DEVICE_OBJECT, DRIVER_OBJECT, FILE_DEVICE_UNKNOWN, IRP_MJ_DEVICE_CONTROL, NTSTATUS,
    PCUNICODE_STRING, PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP, STATUS_INVALID_DEVICE_REQUEST,
    STATUS_OBJECT_NAME_COLLISION, STATUS_REVISION_MISMATCH, STATUS_SUCCESS, UNICODE_STRING,
};

use crate::{
    below,
    nt::nt,
    request::{complete, current, system_buffer},
    rules,
    unicode::unicode,
};

/// Entry of the driver. The first copy has the control device, a second one the device below.
///
/// # Safety
///
/// Called by the system once, with our driver object.
#[unsafe(export_name = "DriverEntry")]
pub(crate) unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: Ours alone until this routine returns.
    let object: &mut DRIVER_OBJECT = unsafe { &mut *driver };
    object.DriverUnload = Some(unload);
    match create_device(driver, unicode!(breaker_ioctl::DEVICE_NAME)) {
        Ok(_) => {
            for routine in &mut object.MajorFunction {
                *routine = Some(dispatch);
            }
            STATUS_SUCCESS
        }
        Err(STATUS_OBJECT_NAME_COLLISION) => {
            // The last function keeps the kernel's routine.
            for routine in object.MajorFunction.iter_mut().take(below::UNSUPPORTED) {
                *routine = Some(below::dispatch);
            }
            match create_device(driver, unicode!(breaker_ioctl::BELOW_NAME)) {
                Ok(_) => STATUS_SUCCESS,
                Err(status) => status,
            }
        }
        Err(status) => status,
    }
}

/// Creates a device.
pub(crate) fn create_device(
    driver: PDRIVER_OBJECT,
    mut name: UNICODE_STRING,
) -> Result<*mut DEVICE_OBJECT, NTSTATUS> {
    let mut device: *mut DEVICE_OBJECT = ptr::null_mut();
    let status = nt!(IoCreateDevice(
        driver,
        0,
        &raw mut name,
        FILE_DEVICE_UNKNOWN,
        0,
        0,
        &raw mut device
    ));
    if status < 0 {
        return Err(status);
    }
    // SAFETY: Just created, and used by nobody else.
    unsafe { (*device).Flags &= !wdk_sys::DO_DEVICE_INITIALIZING };
    Ok(device)
}

unsafe extern "C" fn unload(driver: PDRIVER_OBJECT) {
    if rules::at_unload(driver) {
        return;
    }
    delete_devices(driver);
}

/// Deletes all devices.
pub(crate) fn delete_devices(driver: PDRIVER_OBJECT) {
    loop {
        // SAFETY: The system passes our driver object.
        let device = unsafe { (*driver).DeviceObject };
        if device.is_null() {
            return;
        }
        nt!(IoDeleteDevice(device));
    }
}

/// Requests for the control device: opens and closes, and the control codes.
unsafe extern "C" fn dispatch(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    let stack = current(irp);
    if u32::from(stack.MajorFunction) != IRP_MJ_DEVICE_CONTROL {
        // SAFETY: The same request.
        return unsafe { below::dispatch(device, irp) };
    }
    // SAFETY: A device control request.
    let control = unsafe { stack.Parameters.DeviceIoControl };
    let known = breaker_ioctl::rule_of(control.IoControlCode).filter(|(rule, _)| {
        // The input is the rule's name: numbers change from version to version.
        system_buffer(irp, control.InputBufferLength) == rule.name.as_bytes()
    });
    let Some((rule, twin)) = known else {
        return complete(irp, STATUS_REVISION_MISMATCH);
    };
    let Some(routine) = rules::find(rule.name) else {
        return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
    };
    routine(&Bench { device, twin });
    complete(irp, STATUS_SUCCESS)
}

/// What a rule's routine gets.
pub(crate) struct Bench {
    /// The control device.
    pub(crate) device: PDEVICE_OBJECT,
    /// Whether to break the rule.
    pub(crate) twin: Twin,
}

impl Bench {
    /// Whether to break the rule.
    pub(crate) fn guilty(&self) -> bool {
        self.twin == Twin::Guilty
    }

    /// One value for the guilty, another for the innocent.
    pub(crate) fn either<T>(&self, guilty: T, innocent: T) -> T {
        if self.guilty() { guilty } else { innocent }
    }

    /// Runs something if guilty.
    pub(crate) fn if_guilty<R>(&self, run: impl FnOnce() -> R) {
        if self.guilty() {
            let _ = run();
        }
    }

    /// The device as an object.
    pub(crate) fn object(&self) -> *mut c_void {
        self.device.cast()
    }
}
