//! A request that a dispatch routine was given, until it is completed.

use wdk_sys::{
    IO_NO_INCREMENT, IO_STACK_LOCATION, NTSTATUS, PFILE_OBJECT, PIRP, PVOID, SL_PENDING_RETURNED,
    ntddk::IofCompleteRequest,
};

#[expect(clippy::cast_possible_truncation, reason = "the constant is 1")]
const PENDING_RETURNED: u8 = SL_PENDING_RETURNED as u8;
#[expect(clippy::cast_possible_truncation, reason = "the constant is 0")]
const NO_INCREMENT: i8 = IO_NO_INCREMENT as i8;

/// A request that belongs to this driver.
///
/// # Invariants
///
/// The IRP was handed to this driver and was neither completed nor given away.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
#[must_use = "a request must be completed"]
pub struct Irp(PIRP);

/// The parts of a device-control request (METHOD_BUFFERED).
pub struct Control {
    /// The control code.
    pub code: u32,
    /// Bytes of input.
    pub input: usize,
    /// Room for the output.
    pub output: usize,
    /// Input and output; null if both lengths are 0.
    pub buffer: *mut u8,
}

impl Irp {
    /// Takes a request over.
    ///
    /// # Safety
    ///
    /// What the invariant says.
    pub const unsafe fn from_raw(irp: PIRP) -> Self {
        Self(irp)
    }

    /// Gives the request to someone who calls [`Self::from_raw`] again.
    pub const fn into_raw(self) -> PIRP {
        self.0
    }

    /// `IoGetCurrentIrpStackLocation`, an inline function of wdm.h.
    const fn stack(&self) -> *mut IO_STACK_LOCATION {
        // SAFETY: Ours, by the invariant.
        let tail = unsafe { &(*self.0).Tail };
        // SAFETY: The union has this meaning while a driver has the request.
        let overlay = unsafe { &tail.Overlay };
        // SAFETY: As above.
        unsafe {
            overlay
                .__bindgen_anon_2
                .__bindgen_anon_1
                .CurrentStackLocation
        }
    }

    /// The parts of a device-control request.
    ///
    /// # Safety
    ///
    /// It is one.
    pub unsafe fn control(&self) -> Control {
        // SAFETY: The request's own stack location.
        let stack = unsafe { &*self.stack() };
        // SAFETY: The member for device control.
        let parameters = unsafe { stack.Parameters.DeviceIoControl };
        // SAFETY: Ours, by the invariant.
        let associated = unsafe { (*self.0).AssociatedIrp };
        // SAFETY: METHOD_BUFFERED: the member in use is the system buffer.
        let buffer = unsafe { associated.SystemBuffer };
        Control {
            code: parameters.IoControlCode,
            input: parameters.InputBufferLength as usize,
            output: parameters.OutputBufferLength as usize,
            buffer: buffer.cast(),
        }
    }

    /// The file object that the request is for; null where there is none.
    pub fn file(&self) -> PFILE_OBJECT {
        // SAFETY: The request's own stack location.
        unsafe { (*self.stack()).FileObject }
    }

    /// `IoMarkIrpPending`, an inline function of wdm.h.
    pub fn mark_pending(&mut self) {
        // SAFETY: The request's own stack location, of which no other reference exists.
        let stack = unsafe { &mut *self.stack() };
        stack.Control |= PENDING_RETURNED;
    }

    /// A place in the request for a pointer of the driver that has it (`DriverContext`).
    pub fn driver_context(&mut self) -> &mut PVOID {
        // SAFETY: Ours, by the invariant.
        let tail = unsafe { &mut (*self.0).Tail };
        // SAFETY: The union has this meaning while a driver has the request.
        let overlay = unsafe { &mut tail.Overlay };
        // SAFETY: As above; it is not in a device queue.
        let [first, ..] = unsafe { &mut overlay.__bindgen_anon_1.__bindgen_anon_1.DriverContext };
        first
    }

    /// Completes the request and returns its status.
    pub fn complete(self, status: NTSTATUS, information: usize) -> NTSTATUS {
        // SAFETY: Ours, by the invariant.
        let block = unsafe { &mut (*self.0).IoStatus };
        block.__bindgen_anon_1.Status = status;
        block.Information = information as u64;
        // SAFETY: Ours, and given back here.
        unsafe { IofCompleteRequest(self.0, NO_INCREMENT) };
        status
    }
}
