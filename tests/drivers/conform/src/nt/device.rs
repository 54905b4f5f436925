//! Another driver's device, opened by name, and the requests that only drivers send.

use core::{ffi::c_void, ptr};

use wdk_sys::{
    FILE_OBJECT, FILE_OPEN, FILE_SHARE_READ, FILE_SHARE_WRITE, GENERIC_READ, HANDLE,
    IO_STATUS_BLOCK, NTSTATUS, OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES,
    PDEVICE_OBJECT, PIRP, PVOID, SYNCHRONIZE, ntddk,
};

use super::{event::Event, irp as irps, status, time, unicode::Unicode};

/// An open file object of a device, referenced.
pub(crate) struct Device(*mut FILE_OBJECT);

/// What the completion routine tells the sender.
struct Sent {
    done: Event,
}

impl Device {
    /// Opens the device; the file object stays referenced, the handle is closed.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`.
    pub(crate) fn open(name: &str) -> Result<Self, NTSTATUS> {
        let name = Unicode::new(name);
        let mut name = name.borrow();
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: u32::try_from(size_of::<OBJECT_ATTRIBUTES>()).unwrap_or_default(),
            ObjectName: name.as_mut_ptr(),
            Attributes: OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
            ..OBJECT_ATTRIBUTES::default()
        };
        let mut handle: HANDLE = ptr::null_mut();
        let mut result = IO_STATUS_BLOCK::default();
        // SAFETY: All pointers live across the call.
        let opened = unsafe {
            ntddk::ZwCreateFile(
                &raw mut handle,
                GENERIC_READ | SYNCHRONIZE,
                &raw mut attributes,
                &raw mut result,
                ptr::null_mut(),
                0,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                FILE_OPEN,
                0,
                ptr::null_mut(),
                0,
            )
        };
        if opened < 0 {
            return Err(opened);
        }
        let mut object: PVOID = ptr::null_mut();
        // SAFETY: The handle is ours; 0 = KernelMode.
        let referenced = unsafe {
            ntddk::ObReferenceObjectByHandle(
                handle,
                0,
                ptr::null_mut(),
                0,
                &raw mut object,
                ptr::null_mut(),
            )
        };
        // SAFETY: Opened above, closed once.
        let _ = unsafe { ntddk::ZwClose(handle) };
        if referenced < 0 {
            return Err(referenced);
        }
        Ok(Self(object.cast()))
    }

    /// Sends an IRP_MJ_INTERNAL_DEVICE_CONTROL with an output buffer of the sender's, and waits for its end.
    ///
    /// # Safety
    ///
    /// `output` is what the device expects for `code`.
    pub(crate) unsafe fn internal_control(
        &self,
        code: u32,
        output: *mut c_void,
        length: u32,
    ) -> NTSTATUS {
        // SAFETY: The file object is referenced.
        let device: PDEVICE_OBJECT = unsafe { ntddk::IoGetRelatedDeviceObject(self.0) };
        // SAFETY: As above.
        let stack_size = unsafe { (*device).StackSize };
        // SAFETY: No requirements beyond the level.
        let irp = unsafe { ntddk::IoAllocateIrp(stack_size, 0) };
        if irp.is_null() {
            return status::INSUFFICIENT_RESOURCES;
        }
        let sent = Sent { done: Event::new() };
        // SAFETY: A new packet, which is ours.
        let current = unsafe { irps::current(irp) };
        // SAFETY: IoGetNextIrpStackLocation: the packet has a location at least.
        let next = unsafe { current.sub(1) };
        // SAFETY: As above.
        let location = unsafe { &mut *next };
        location.MajorFunction = 0x0F;
        location.FileObject = self.0;
        location.DeviceObject = device;
        // SL_INVOKE_ON_CANCEL, _ON_SUCCESS, _ON_ERROR.
        location.Control = 0x20 | 0x40 | 0x80;
        location.CompletionRoutine = Some(on_completion);
        location.Context = (&raw const sent).cast_mut().cast();
        location.Parameters.DeviceIoControl.IoControlCode = code;
        location.Parameters.DeviceIoControl.OutputBufferLength = length;
        // SAFETY: The packet is ours.
        unsafe { (*irp).UserBuffer = output };
        // SAFETY: Built above for this device.
        let _ = unsafe { ntddk::IofCallDriver(device, irp) };
        sent.done.wait(time::PATIENCE);
        // SAFETY: The completion routine kept the packet, which is ours again.
        let result = unsafe { (*irp).IoStatus };
        // SAFETY: Freed once.
        unsafe { ntddk::IoFreeIrp(irp) };
        // SAFETY: The completion wrote the status.
        unsafe { result.__bindgen_anon_1.Status }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: Referenced once, in `open`.
        unsafe { ntddk::ObfDereferenceObject(self.0.cast()) };
    }
}

unsafe extern "C" fn on_completion(
    _device: PDEVICE_OBJECT,
    _irp: PIRP,
    context: *mut c_void,
) -> NTSTATUS {
    // SAFETY: The sender waits for the event.
    unsafe { &*context.cast::<Sent>() }.done.set();
    status::MORE_PROCESSING_REQUIRED
}
