//! I/O requests to the device below.

use core::{
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use wdk_sys::{
    DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP_MJ_INTERNAL_DEVICE_CONTROL, KEVENT,
    NTSTATUS, PDRIVER_CANCEL, PFILE_OBJECT, PIO_COMPLETION_ROUTINE, PIRP, PVOID,
    STATUS_MORE_PROCESSING_REQUIRED, UNICODE_STRING,
};

use crate::{
    nt::{event, free, nt, peek, poke, set, wait},
    unicode::unicode,
};

/// SL_PENDING_RETURNED.
const PENDING_RETURNED: u8 = 0x01;
/// SL_INVOKE_ON_SUCCESS, _ERROR and _CANCEL.
const INVOKE_ALWAYS: u8 = 0xE0;

fn stack_pointer(irp: PIRP) -> *mut *mut IO_STACK_LOCATION {
    // SAFETY: Only the member's address is taken.
    unsafe {
        &raw mut (*irp)
            .Tail
            .Overlay
            .__bindgen_anon_2
            .__bindgen_anon_1
            .CurrentStackLocation
    }
}

/// IoGetCurrentIrpStackLocation.
pub(crate) fn current<'a>(irp: PIRP) -> &'a mut IO_STACK_LOCATION {
    let stack = peek(stack_pointer(irp));
    // SAFETY: A dispatch routine is called for a location that is its own.
    unsafe { &mut *stack }
}

/// The input of a buffered control code.
pub(crate) fn system_buffer<'a>(irp: PIRP, bytes: u32) -> &'a [u8] {
    // SAFETY: The request is ours.
    let associated = unsafe { (*irp).AssociatedIrp };
    // SAFETY: The form that buffered requests use.
    let buffer = unsafe { associated.SystemBuffer }.cast::<u8>();
    if buffer.is_null() {
        return &[];
    }
    // SAFETY: The system's buffer holds the input, and is ours until the request is completed.
    unsafe { core::slice::from_raw_parts(buffer, bytes as usize) }
}

/// IoGetNextIrpStackLocation.
pub(crate) fn next<'a>(irp: PIRP) -> &'a mut IO_STACK_LOCATION {
    let stack = peek(stack_pointer(irp));
    // SAFETY: The IRP is ours and has a location left.
    unsafe { &mut *stack.wrapping_sub(1) }
}

/// Sets the minor function of the next stack location.
pub(crate) fn set_minor(irp: PIRP, minor: u8) {
    next(irp).MinorFunction = minor;
}

/// IoMarkIrpPending.
pub(crate) fn mark_pending(irp: PIRP) {
    current(irp).Control |= PENDING_RETURNED;
}

/// IoSetCancelRoutine; whether there was one.
pub(crate) fn set_cancel_routine(irp: PIRP, routine: PDRIVER_CANCEL) -> bool {
    let new = routine.map_or(ptr::null_mut(), |routine| routine as *mut c_void);
    // SAFETY: Only the member's address is taken.
    let slot = unsafe { &raw mut (*irp).CancelRoutine };
    // SAFETY: An aligned pointer that everyone exchanges atomically.
    let slot = unsafe { AtomicPtr::from_ptr(slot.cast::<*mut c_void>()) };
    !slot.swap(new, Ordering::SeqCst).is_null()
}

/// Completes a request with a status, and returns it.
pub(crate) fn complete(irp: PIRP, status: NTSTATUS) -> NTSTATUS {
    // SAFETY: The request is ours.
    let block = unsafe { &mut (*irp).IoStatus };
    block.__bindgen_anon_1.Status = status;
    block.Information = 0;
    finish(irp);
    status
}

/// IoCompleteRequest.
pub(crate) fn finish(irp: PIRP) {
    nt!(IofCompleteRequest(irp, 0));
}

/// The device below, opened.
pub(crate) struct Below {
    file: PFILE_OBJECT,
    pub(crate) device: *mut DEVICE_OBJECT,
}

impl Below {
    /// Opens it.
    pub(crate) fn open() -> Self {
        Self::open_named(unicode!(breaker_ioctl::BELOW_NAME))
    }

    /// Opens a device by its name.
    pub(crate) fn open_named(mut name: UNICODE_STRING) -> Self {
        let (mut file, mut device) = (ptr::null_mut::<FILE_OBJECT>(), ptr::null_mut());
        nt!(IoGetDeviceObjectPointer(
            &raw mut name,
            wdk_sys::FILE_READ_DATA,
            &raw mut file,
            &raw mut device
        ));
        Self { file, device }
    }

    /// The device of a file object, of which it takes a reference over.
    pub(crate) fn of(file: PFILE_OBJECT) -> Self {
        Self {
            file,
            device: nt!(IoGetRelatedDeviceObject(file)),
        }
    }

    /// Its file object.
    pub(crate) fn file(&self) -> PFILE_OBJECT {
        self.file
    }

    /// A request of our own for it, with room for some stack locations.
    pub(crate) fn request(&self, locations: i8) -> Request {
        Request {
            irp: nt!(IoAllocateIrp(locations, 0)),
            device: self.device,
            done: event(),
        }
    }

    /// Sends a request with this minor function, and waits for it.
    pub(crate) fn ask(&self, minor: u8) {
        let request = self.request(1);
        request.send(minor);
        request.free();
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        nt!(ObfDereferenceObject(self.file.cast()));
    }
}

/// A request of our own.
pub(crate) struct Request {
    pub(crate) irp: PIRP,
    device: *mut DEVICE_OBJECT,
    done: *mut KEVENT,
}

impl Request {
    /// Prepares the next stack location: internal control, kept by its completion routine.
    pub(crate) fn prepare(&self, minor: u8) {
        self.prepare_with(minor, Some(keep));
    }

    /// The same with another completion routine.
    pub(crate) fn prepare_with(&self, minor: u8, routine: PIO_COMPLETION_ROUTINE) {
        let stack = next(self.irp);
        *stack = IO_STACK_LOCATION::default();
        #[expect(clippy::cast_possible_truncation, reason = "it is 15")]
        let major = IRP_MJ_INTERNAL_DEVICE_CONTROL as u8;
        stack.MajorFunction = major;
        stack.MinorFunction = minor;
        stack.Control = INVOKE_ALWAYS;
        stack.CompletionRoutine = routine;
        stack.Context = self.done.cast();
    }

    /// IoSetNextIrpStackLocation: uses up a location.
    pub(crate) fn set_next(&self) {
        let pointer = stack_pointer(self.irp);
        poke(pointer, peek(pointer).wrapping_sub(1));
        // SAFETY: Ours.
        let irp = unsafe { &mut *self.irp };
        irp.CurrentLocation = irp.CurrentLocation.wrapping_sub(1);
    }

    /// Makes it a request of another kind.
    pub(crate) fn set_major(&self, major: u8) {
        next(self.irp).MajorFunction = major;
    }

    /// IoCallDriver.
    pub(crate) fn call(&self) -> NTSTATUS {
        nt!(IofCallDriver(self.device, self.irp))
    }

    /// IoCallDriver, to another device.
    pub(crate) fn call_to(&self, device: *mut DEVICE_OBJECT) -> NTSTATUS {
        nt!(IofCallDriver(device, self.irp))
    }

    /// Waits until it is back.
    pub(crate) fn wait(&self) {
        wait(self.done);
    }

    /// Sends it with this minor function, and waits.
    pub(crate) fn send(&self, minor: u8) {
        self.prepare(minor);
        self.call();
        self.wait();
    }

    /// Frees the IRP and the event.
    pub(crate) fn free(self) {
        nt!(IoFreeIrp(self.irp));
        free(self.done);
    }

    /// Frees the event only.
    pub(crate) fn forget_irp(self) {
        free(self.done);
    }
}

/// A completion routine that keeps the request for its owner.
unsafe extern "C" fn keep(_device: *mut DEVICE_OBJECT, _irp: PIRP, context: PVOID) -> NTSTATUS {
    set(context.cast());
    STATUS_MORE_PROCESSING_REQUIRED
}
