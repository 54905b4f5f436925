//! Packets: their end, and synchronous requests as the I/O manager sends them for opens and closes.

use core::{ffi::c_void, ptr};

use wdk_sys::{
    _EVENT_TYPE::NotificationEvent, FILE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, KEVENT,
    NTSTATUS, PDEVICE_OBJECT, PIRP, PVOID, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_MORE_PROCESSING_REQUIRED, ntddk,
};

/// SL_INVOKE_ON_CANCEL, _ON_SUCCESS, _ON_ERROR.
const INVOKE_ALWAYS: u8 = 0x20 | 0x40 | 0x80;

/// `IoGetNextIrpStackLocation`.
unsafe fn next(irp: PIRP) -> *mut IO_STACK_LOCATION {
    // SAFETY: Forwarded: the packet is ours.
    let tail = unsafe { &(*irp).Tail };
    // SAFETY: The form that is valid while a packet is in use.
    let overlay = unsafe { &tail.Overlay };
    // SAFETY: As above.
    let current = unsafe {
        overlay
            .__bindgen_anon_2
            .__bindgen_anon_1
            .CurrentStackLocation
    };
    current.wrapping_sub(1)
}

/// Sends a request of `major` for `file` to the top of its stack, and waits for its end. `buffer` becomes the system buffer, `fill`
/// adds the parameters.
///
/// # Safety
///
/// `device` takes the requests of `file`; what the request refers to outlives the call.
pub(crate) unsafe fn send(
    device: PDEVICE_OBJECT,
    file: *mut FILE_OBJECT,
    major: u32,
    buffer: PVOID,
    fill: impl FnOnce(&mut IO_STACK_LOCATION),
) -> Result<IO_STATUS_BLOCK, NTSTATUS> {
    // SAFETY: Forwarded.
    let locations = unsafe { (*device).StackSize };
    // SAFETY: No requirements.
    let irp = unsafe { ntddk::IoAllocateIrp(locations, 0) };
    if irp.is_null() {
        return Err(STATUS_INSUFFICIENT_RESOURCES);
    }
    let mut done = KEVENT::default();
    // SAFETY: A new event.
    unsafe { ntddk::KeInitializeEvent(&raw mut done, NotificationEvent, 0) };
    // SAFETY: The packet is ours, and new.
    let packet = unsafe { &mut *irp };
    packet.AssociatedIrp.SystemBuffer = buffer;
    // SAFETY: The form that is valid while a packet is in use.
    let overlay = unsafe { &mut packet.Tail.Overlay };
    // SAFETY: A current thread there always is.
    overlay.Thread = unsafe { ntddk::PsGetCurrentThread() };
    overlay.OriginalFileObject = file;
    // SAFETY: As above.
    let location = unsafe { next(irp) };
    // SAFETY: As above: a new packet has a location.
    let location = unsafe { &mut *location };
    location.MajorFunction = u8::try_from(major).unwrap_or(u8::MAX);
    location.FileObject = file;
    location.DeviceObject = device;
    location.Control = INVOKE_ALWAYS;
    location.CompletionRoutine = Some(completed);
    location.Context = (&raw mut done).cast();
    fill(location);
    // SAFETY: A request for this device.
    let _ = unsafe { ntddk::IofCallDriver(device, irp) };
    // SAFETY: The event is set by the completion routine, once.
    let _ =
        unsafe { ntddk::KeWaitForSingleObject((&raw mut done).cast(), 0, 0, 0, ptr::null_mut()) };
    // SAFETY: The completion routine kept the packet, which is ours again.
    let result = unsafe { (*irp).IoStatus };
    // SAFETY: Freed once.
    unsafe { ntddk::IoFreeIrp(irp) };
    Ok(result)
}

unsafe extern "C" fn completed(_: PDEVICE_OBJECT, _: PIRP, done: *mut c_void) -> NTSTATUS {
    // SAFETY: The sender waits for it.
    unsafe { ntddk::KeSetEvent(done.cast(), 0, 0) };
    STATUS_MORE_PROCESSING_REQUIRED
}

/// Wine frees the MDLs that a packet refers to along with it. They are the business of whoever put them there ("IoFreeIrp
/// function": it releases the packet).
#[unsafe(no_mangle)]
unsafe extern "C" fn shim_IoFreeIrp(irp: PIRP) {
    // SAFETY: The caller's packet.
    unsafe { (*irp).MdlAddress = ptr::null_mut() };
    // SAFETY: Forwarded.
    unsafe { ntddk::IoFreeIrp(irp) };
}
