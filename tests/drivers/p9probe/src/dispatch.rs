//! IRPs: who may open the device, the lengths of a request, and the hand-over to a system worker thread.

use wdk_sys::{
    _WORK_QUEUE_TYPE::DelayedWorkQueue,
    NTSTATUS, PDEVICE_OBJECT, PIO_WORKITEM, PIRP, PVOID, SECURITY_SUBJECT_CONTEXT,
    STATUS_ACCESS_DENIED, STATUS_INSUFFICIENT_RESOURCES, STATUS_PENDING, STATUS_SUCCESS,
    ntddk::{
        IoAllocateWorkItem, IoFreeWorkItem, IoQueueWorkItem, SeCaptureSubjectContext,
        SeReleaseSubjectContext, SeTokenIsAdmin,
    },
};

use crate::{
    command::{self, Output},
    driver::Device,
    nt::{irp::Irp, pool::Bytes},
    status::Result,
};

/// A dispatch routine.
pub(crate) type Routine = unsafe extern "C" fn(PDEVICE_OBJECT, PIRP) -> NTSTATUS;

/// `IRP_MJ_CREATE`: administrators only.
///
/// `IoCreateDeviceSecure` would say the same in a security descriptor, but it is no export of the kernel.
pub(crate) unsafe extern "C" fn create(_device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The I/O manager hands the request over.
    let irp = unsafe { Irp::from_raw(irp) };
    let refused = irp.is_from_user() && !caller_is_administrator();
    irp.complete(
        if refused {
            STATUS_ACCESS_DENIED
        } else {
            STATUS_SUCCESS
        },
        0,
    )
}

fn caller_is_administrator() -> bool {
    let mut context = SECURITY_SUBJECT_CONTEXT::default();
    // SAFETY: Fills the structure; released below.
    unsafe { SeCaptureSubjectContext(&raw mut context) };
    let token = if context.ClientToken.is_null() {
        context.PrimaryToken
    } else {
        context.ClientToken
    };
    // SAFETY: The captured context keeps the token alive.
    let administrator = unsafe { SeTokenIsAdmin(token) } != 0;
    // SAFETY: Captured above.
    unsafe { SeReleaseSubjectContext(&raw mut context) };
    administrator
}

/// `IRP_MJ_CLEANUP` and `IRP_MJ_CLOSE`. The session belongs to the device, not to a handle.
pub(crate) unsafe extern "C" fn succeed(_device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The I/O manager hands the request over.
    unsafe { Irp::from_raw(irp) }.complete(STATUS_SUCCESS, 0)
}

/// `IRP_MJ_DEVICE_CONTROL`: checks the lengths, then leaves the work to a system worker thread, because it waits for
/// the network and the engine's routines want such a thread.
pub(crate) unsafe extern "C" fn device_control(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The I/O manager hands the request over.
    let mut irp = unsafe { Irp::from_raw(irp) };
    // SAFETY: It is a device-control request.
    let control = unsafe { irp.control() };
    if let Err(status) = command::check_lengths(control.code, control.input, control.output) {
        return irp.complete(status, 0);
    }
    // SAFETY: Our device.
    let item = unsafe { IoAllocateWorkItem(device) };
    if item.is_null() {
        return irp.complete(STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    *irp.driver_context() = item.cast();
    irp.mark_pending();
    // SAFETY: Queued once; `work` frees it and owns the request from here on.
    unsafe { IoQueueWorkItem(item, Some(work), DelayedWorkQueue, irp.into_raw().cast()) };
    STATUS_PENDING
}

/// Carries a request out, in a system worker thread.
unsafe extern "C" fn work(device: PDEVICE_OBJECT, context: PVOID) {
    // SAFETY: `device_control` handed the request over.
    let mut irp = unsafe { Irp::from_raw(context.cast()) };
    let item: PIO_WORKITEM = irp.driver_context().cast();
    // SAFETY: It left the queue before this routine was called, and the system keeps the device until it returns.
    unsafe { IoFreeWorkItem(item) };
    // SAFETY: A device-control request with checked lengths, and our device.
    match unsafe { carry_out(device, &irp) } {
        Ok(length) => irp.complete(STATUS_SUCCESS, length),
        Err(status) => irp.complete(status, 0),
    };
}

/// # Safety
///
/// A device-control request, checked by [`command::check_lengths`], and our device.
unsafe fn carry_out(device: PDEVICE_OBJECT, irp: &Irp) -> Result<usize> {
    // SAFETY: Forwarded from this function's `# Safety` section.
    let control = unsafe { irp.control() };
    // Input and output share the system buffer: the input is copied away first.
    let mut input = Bytes::try_new(control.input)?;
    if control.input > 0 {
        // SAFETY: The I/O manager put `input` bytes there (METHOD_BUFFERED).
        let bytes = unsafe { core::slice::from_raw_parts(control.buffer, control.input) };
        input.copy_from_slice(bytes);
    }
    // SAFETY: The system buffer has room for `output` bytes, is nonpaged pool, and belongs to the request.
    let output = unsafe { Output::new(control.buffer, control.output) };
    // SAFETY: Forwarded from this function's `# Safety` section.
    command::execute(unsafe { Device::of(device) }, control.code, &input, output)
}
