//! The driver's one device: its own control device, or the one that RDBSS has made for it.

use core::{
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use rxce_engine::Error;
#[cfg(feature = "redirector")]
use wdk_sys::PDEVICE_OBJECT;
use wdk_sys::{
    DEVICE_OBJECT, IO_NO_INCREMENT, NTSTATUS, PIRP, STATUS_DEVICE_NOT_READY, UNICODE_STRING, ntddk,
};
#[cfg(not(feature = "redirector"))]
use wdk_sys::{
    DRIVER_OBJECT, FILE_DEVICE_SECURE_OPEN, FILE_DEVICE_UNKNOWN, IRP_MJ_CLEANUP, IRP_MJ_CLOSE,
    IRP_MJ_CREATE, IRP_MJ_INTERNAL_DEVICE_CONTROL, PDEVICE_OBJECT, PDRIVER_DISPATCH,
    STATUS_ACCESS_DENIED, STATUS_SUCCESS,
};

#[cfg(not(feature = "redirector"))]
use super::event::KERNEL_MODE;
use super::{file::File, irp};

/// `\Device\Rxce`, with a NUL behind it.
const NAME: &[u16] = &{
    let bytes = b"\\Device\\Rxce";
    let mut name = [0_u16; 13];
    let mut at = 0;
    while at < bytes.len() {
        name[at] = bytes[at] as u16;
        at += 1;
    }
    name
};

/// The device, while the driver runs as a service.
static DEVICE: AtomicPtr<DEVICE_OBJECT> = AtomicPtr::new(ptr::null_mut());

/// The bytes of the name.
const NAME_LENGTH: u16 = 24;

const _: () = assert!(size_of_val(NAME) == NAME_LENGTH as usize + size_of::<u16>());

/// The device's name.
pub(crate) const fn name() -> UNICODE_STRING {
    UNICODE_STRING {
        Length: NAME_LENGTH,
        MaximumLength: NAME_LENGTH + 2,
        Buffer: NAME.as_ptr().cast_mut(),
    }
}

/// Takes the device that RDBSS has created for the driver.
#[cfg(feature = "redirector")]
pub(crate) fn adopt(device: PDEVICE_OBJECT) {
    DEVICE.store(device, Ordering::Release);
}

/// Gives it up again, before RDBSS deletes it.
#[cfg(feature = "redirector")]
pub(crate) fn disown() {
    DEVICE.store(ptr::null_mut(), Ordering::Release);
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
#[cfg(not(feature = "redirector"))]
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
    for (major, routine) in [
        (IRP_MJ_CREATE, Some(open as Routine)),
        (IRP_MJ_CLEANUP, Some(succeed)),
        (IRP_MJ_CLOSE, Some(succeed)),
        (IRP_MJ_INTERNAL_DEVICE_CONTROL, internal),
    ] {
        if let Some(slot) = driver.MajorFunction.get_mut(major as usize) {
            *slot = routine;
        }
    }
    DEVICE.store(device, Ordering::Release);
    Ok(())
}

/// Deletes the device, if there is one.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`
#[cfg(not(feature = "redirector"))]
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

/// Opens the device for the service itself, also where the image was loaded for its exports: a started redirector is not
/// unloaded.
///
/// # Errors
///
/// The status of the open.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, special kernel APCs enabled
#[cfg(feature = "redirector")]
pub(crate) fn keep_service(file: &File) -> Result<(), Error> {
    file.open(&name(), &mut [])
}

/// `IO_NO_INCREMENT`, in the type that the completion takes.
const NO_INCREMENT: i8 = {
    assert!(IO_NO_INCREMENT == 0);
    0
};

/// A dispatch routine.
#[cfg(not(feature = "redirector"))]
type Routine = unsafe extern "C" fn(PDEVICE_OBJECT, PIRP) -> NTSTATUS;

/// Opens succeed for drivers. There is nothing here for a program, whoever runs it: all that its handle could do is to keep
/// the driver from being unloaded.
#[cfg(not(feature = "redirector"))]
unsafe extern "C" fn open(_device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The I/O manager hands the packet over.
    let status = if unsafe { (*irp).RequestorMode } == KERNEL_MODE {
        STATUS_SUCCESS
    } else {
        STATUS_ACCESS_DENIED
    };
    // SAFETY: Forwarded.
    unsafe { complete(irp, status) }
}

/// A handle on the device only keeps the driver.
#[cfg(not(feature = "redirector"))]
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

/// The code of such a request.
///
/// # Safety
///
/// As [`answer_internal`].
#[cfg(feature = "redirector")]
pub(crate) unsafe fn internal_code(irp: PIRP) -> u32 {
    // SAFETY: Forwarded.
    unsafe { irp::control_parameters(irp) }.code
}

/// Completes a packet without a result.
///
/// # Safety
///
/// The I/O manager has handed the packet to this driver, which does not touch it again.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn complete(irp: PIRP, status: NTSTATUS) -> NTSTATUS {
    // SAFETY: Forwarded.
    let packet = unsafe { &mut *irp };
    packet.IoStatus.__bindgen_anon_1.Status = status;
    packet.IoStatus.Information = 0;
    // SAFETY: As above; the packet is not touched afterwards.
    unsafe { ntddk::IofCompleteRequest(irp, NO_INCREMENT) };
    status
}
