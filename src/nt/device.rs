//! The driver's own control device.

use core::{
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use rxce_engine::Error;
use wdk_sys::{
    DEVICE_OBJECT, DRIVER_OBJECT, FILE_DEVICE_SECURE_OPEN, FILE_DEVICE_UNKNOWN, IO_NO_INCREMENT,
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_INTERNAL_DEVICE_CONTROL, NTSTATUS,
    PDEVICE_OBJECT, PDRIVER_DISPATCH, PIRP, STATUS_DEVICE_NOT_READY, STATUS_SUCCESS,
    UNICODE_STRING, ntddk,
};

use super::{file::File, irp};

/// `\Device\Rxce`.
const NAME: &[u16] = &{
    let bytes = b"\\Device\\Rxce";
    let mut name = [0_u16; 12];
    let mut at = 0;
    while at < name.len() {
        name[at] = bytes[at] as u16;
        at += 1;
    }
    name
};

/// The device, while the driver runs as a service.
static DEVICE: AtomicPtr<DEVICE_OBJECT> = AtomicPtr::new(ptr::null_mut());

/// The bytes of the name.
const NAME_LENGTH: u16 = 24;

const _: () = assert!(size_of_val(NAME) == NAME_LENGTH as usize);

const fn name() -> UNICODE_STRING {
    let length = NAME_LENGTH;
    UNICODE_STRING {
        Length: length,
        MaximumLength: length,
        Buffer: NAME.as_ptr().cast_mut(),
    }
}

/// Creates the device and its dispatch routines; `internal` takes the requests of other drivers.
///
/// # Errors
///
/// The status of the system.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`
pub(crate) fn create(driver: &mut DRIVER_OBJECT, internal: PDRIVER_DISPATCH) -> Result<(), Error> {
    let mut name = name();
    let mut device = ptr::null_mut();
    // SAFETY: The driver object is the one DriverEntry was given; the pointers live across the call.
    let status = unsafe {
        ntddk::IoCreateDevice(
            driver,
            0,
            &raw mut name,
            FILE_DEVICE_UNKNOWN,
            FILE_DEVICE_SECURE_OPEN,
            0,
            &raw mut device,
        )
    };
    if !wdk::nt_success(status) {
        return Err(Error::Transport(status));
    }
    for major in [IRP_MJ_CREATE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE] {
        if let Some(slot) = driver.MajorFunction.get_mut(major as usize) {
            *slot = Some(succeed);
        }
    }
    if let Some(slot) = driver
        .MajorFunction
        .get_mut(IRP_MJ_INTERNAL_DEVICE_CONTROL as usize)
    {
        *slot = internal;
    }
    DEVICE.store(device, Ordering::Release);
    Ok(())
}

/// Deletes the device, if there is one.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`
pub(crate) fn delete() {
    let device = DEVICE.swap(ptr::null_mut(), Ordering::AcqRel);
    if !device.is_null() {
        // SAFETY: The device was created by `create` and is deleted once.
        unsafe { ntddk::IoDeleteDevice(device) };
    }
}

/// Whether the image was loaded for its exports: its importers keep it then.
static LIBRARY: AtomicBool = AtomicBool::new(false);

/// Notes that the image was loaded for its exports.
pub(crate) fn enter_library() {
    LIBRARY.store(true, Ordering::Release);
}

/// Notes that its last importer has gone.
pub(crate) fn leave_library() {
    LIBRARY.store(false, Ordering::Release);
}

/// Whether the image was loaded for its exports.
pub(crate) fn is_library() -> bool {
    LIBRARY.load(Ordering::Acquire)
}

/// Refuses work for a service that has been stopped.
///
/// # Errors
///
/// `STATUS_DEVICE_NOT_READY`.
pub(crate) fn require_running() -> Result<(), Error> {
    if is_library() || !DEVICE.load(Ordering::Acquire).is_null() {
        Ok(())
    } else {
        Err(Error::Transport(STATUS_DEVICE_NOT_READY))
    }
}

/// Opens the device, so that the driver is not unloaded while `file` is open. Nothing is opened where the image was loaded
/// for its exports.
///
/// # Errors
///
/// The status of the open; `STATUS_DEVICE_NOT_READY` if the service has been stopped.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, special kernel APCs enabled
pub(crate) fn keep_loaded(file: &File) -> Result<(), Error> {
    require_running()?;
    if is_library() {
        return Ok(());
    }
    file.open(&name(), &mut [])
}

/// `IO_NO_INCREMENT`, in the type that the completion takes.
const NO_INCREMENT: i8 = {
    assert!(IO_NO_INCREMENT == 0);
    0
};

/// Opens and closes succeed: a handle on the device only keeps the driver.
unsafe extern "C" fn succeed(_device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: Forwarded.
    unsafe { complete(irp, STATUS_SUCCESS) }
}

/// Answers a request of another driver: `answer` is given its code, its output buffer and that buffer's length.
///
/// # Safety
///
/// `irp` is an `IRP_MJ_INTERNAL_DEVICE_CONTROL` that the I/O manager hands to this driver.
pub(crate) unsafe fn answer_internal(
    irp: PIRP,
    answer: impl FnOnce(u32, *mut c_void, u32) -> NTSTATUS,
) -> NTSTATUS {
    // SAFETY: Forwarded.
    let request = unsafe { irp::control_parameters(irp) };
    let status = answer(request.code, request.output, request.output_length);
    // SAFETY: Forwarded.
    unsafe { complete(irp, status) }
}

/// # Safety
///
/// The I/O manager has handed the packet to this driver, which does not touch it again.
unsafe fn complete(irp: PIRP, status: NTSTATUS) -> NTSTATUS {
    // SAFETY: Forwarded.
    let packet = unsafe { &mut *irp };
    packet.IoStatus.__bindgen_anon_1.Status = status;
    packet.IoStatus.Information = 0;
    // SAFETY: As above; the packet is not touched afterwards.
    unsafe { ntddk::IofCompleteRequest(irp, NO_INCREMENT) };
    status
}
