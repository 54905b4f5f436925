//! I/O request packets that the driver allocates itself.
//!
//! They are not associated with a thread: nothing of theirs needs an APC, so they may be waited for at `APC_LEVEL`. Once
//! sent, a packet belongs to the driver below until the completion routine runs.

use core::ptr::NonNull;

use rxce_engine::Error;
use wdk_sys::{
    IO_STACK_LOCATION, IRP, IRP_MJ_INTERNAL_DEVICE_CONTROL, NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL,
    PVOID, SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS, STATUS_SUCCESS, ntddk,
};

use super::target::{Device, Target};

/// A completion routine; it returns `STATUS_MORE_PROCESSING_REQUIRED`, since the packet stays the driver's.
pub(crate) type CompletionRoutine = unsafe extern "C" fn(PDEVICE_OBJECT, PIRP, PVOID) -> NTSTATUS;

/// Where `Tail.Overlay.CurrentStackLocation` is in an `IRP`, on every 64-bit Windows. The member lies in anonymous
/// unions, whose generated names depend on the headers.
const CURRENT_STACK_LOCATION: usize = 0xB8;

/// `IRP_MJ_INTERNAL_DEVICE_CONTROL`, in the type of the stack location's member.
const INTERNAL_DEVICE_CONTROL: u8 = {
    assert!(IRP_MJ_INTERNAL_DEVICE_CONTROL == 0x0F);
    0x0F
};

/// All three invoke flags, in the type of the stack location's member.
const INVOKE_ALWAYS: u8 = {
    assert!(SL_INVOKE_ON_CANCEL | SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR == 0xE0);
    0xE0
};

/// The request itself: `Parameters` of the stack location, 32 bytes whose meaning the minor function gives.
pub(crate) struct Call {
    /// The minor function code.
    pub(crate) minor: u8,
    /// The parameters.
    pub(crate) parameters: [usize; 4],
}

/// An allocated packet, freed when it is dropped.
pub(crate) struct Irp(NonNull<IRP>);

// SAFETY: A packet that is not in flight is plain memory of its owner; of one that is, only the pointer moves.
unsafe impl Send for Irp {}
// SAFETY: As above.
unsafe impl Sync for Irp {}

impl Irp {
    /// Allocates a packet for a device stack.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) fn new(stack_size: i8) -> Result<Self, Error> {
        // SAFETY: IoAllocateIrp has no requirements beyond the level.
        let irp = unsafe { ntddk::IoAllocateIrp(stack_size, 0) };
        NonNull::new(irp)
            .map(Self)
            .ok_or(Error::InsufficientResources)
    }

    /// The packet for routines of the system.
    pub(crate) const fn as_ptr(&self) -> PIRP {
        self.0.as_ptr()
    }

    /// How many stack locations it has.
    pub(crate) fn stack_count(&self) -> i8 {
        // SAFETY: The member never changes after the allocation.
        unsafe { (*self.as_ptr()).StackCount }
    }

    /// Makes a completed packet ready for another request.
    ///
    /// # Safety
    ///
    /// The packet is not in flight.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn reuse(&self) {
        // SAFETY: Forwarded.
        unsafe { ntddk::IoReuseIrp(self.as_ptr(), STATUS_SUCCESS) };
    }

    /// Says in the next stack location where the packet will go.
    ///
    /// # Safety
    ///
    /// The packet is not in flight and has as many locations as the target's stack needs.
    pub(crate) unsafe fn aim(&self, target: &Target) {
        // SAFETY: An idle packet has a next location, which nobody else uses.
        let location = unsafe { &mut *self.next_location() };
        location.DeviceObject = target.device.as_ptr();
        location.FileObject = target.file;
    }

    /// The device that the packet was aimed at.
    ///
    /// # Safety
    ///
    /// [`Self::aim`] was called, and the packet was not handed over since.
    pub(crate) unsafe fn aimed_at(&self) -> Device {
        // SAFETY: Forwarded: the location is ours.
        Device::new(unsafe { (*self.next_location()).DeviceObject })
    }

    /// Fills the next stack location of a packet that was aimed, as the `TdiBuildXxx` macros do.
    ///
    /// # Safety
    ///
    /// The packet is not in flight. `context` and everything the parameters point to live until `routine` has run.
    pub(crate) unsafe fn fill(
        &self,
        call: &Call,
        mdl: PMDL,
        routine: CompletionRoutine,
        context: PVOID,
    ) {
        // SAFETY: The packet is ours.
        unsafe { (*self.as_ptr()).MdlAddress = mdl };
        // SAFETY: An idle packet has a next location, which nobody else uses.
        let location = unsafe { &mut *self.next_location() };
        location.MajorFunction = INTERNAL_DEVICE_CONTROL;
        location.MinorFunction = call.minor;
        location.Flags = 0;
        location.Control = INVOKE_ALWAYS;
        location.CompletionRoutine = Some(routine);
        location.Context = context;
        let parameters = (&raw mut location.Parameters).cast::<[usize; 4]>();
        // SAFETY: `Parameters` is 32 bytes long and aligned to pointers.
        unsafe { parameters.write(call.parameters) };
    }

    /// Aims and fills the next stack location.
    ///
    /// # Safety
    ///
    /// As [`Self::aim`] and [`Self::fill`].
    pub(crate) unsafe fn prepare(
        &self,
        target: &Target,
        call: &Call,
        mdl: PMDL,
        routine: CompletionRoutine,
        context: PVOID,
    ) {
        // SAFETY: Forwarded.
        unsafe { self.aim(target) };
        // SAFETY: Forwarded.
        unsafe { self.fill(call, mdl, routine, context) };
    }

    /// Status and information that the packet was completed with.
    ///
    /// # Safety
    ///
    /// The packet was completed, and is ours.
    pub(crate) unsafe fn result(&self) -> (NTSTATUS, usize) {
        // SAFETY: Forwarded.
        unsafe { result(self.as_ptr()) }
    }

    /// Sends a prepared packet down. It belongs to the driver below from now on.
    ///
    /// # Safety
    ///
    /// The packet was prepared for `device` and is not in flight; no spin lock is held. Whoever owns this value keeps it
    /// until the completion routine has run.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn call(irp: PIRP, device: Device) {
        // SAFETY: Forwarded. The status needs no handling: the completion routine has run or will.
        let _ = unsafe { ntddk::IofCallDriver(device.as_ptr(), irp) };
    }

    /// Advances a prepared packet as `IoCallDriver` would, for a transport that takes it from an event handler
    /// (`IoSetNextIrpStackLocation`).
    ///
    /// # Safety
    ///
    /// The packet was prepared and is not in flight; it is handed to the transport next.
    pub(crate) unsafe fn advance(&self) {
        let next = self.next_location();
        let irp = self.as_ptr();
        // SAFETY: The packet is ours.
        let location = unsafe { &mut (*irp).CurrentLocation };
        *location = location.wrapping_sub(1);
        // SAFETY: The member lies inside the packet.
        let current = unsafe { irp.byte_add(CURRENT_STACK_LOCATION) };
        // SAFETY: As above; it holds the current location.
        unsafe { current.cast::<*mut IO_STACK_LOCATION>().write(next) };
    }

    /// Cancels a packet that may be in flight.
    ///
    /// # Safety
    ///
    /// Somebody makes sure that the packet is not freed or reused before this returns.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn cancel(&self) {
        // SAFETY: Forwarded.
        unsafe { ntddk::IoCancelIrp(self.as_ptr()) };
    }

    fn next_location(&self) -> *mut IO_STACK_LOCATION {
        // SAFETY: The member lies inside the packet.
        let current = unsafe { self.as_ptr().byte_add(CURRENT_STACK_LOCATION) };
        // SAFETY: As above; it holds the current location.
        let location = unsafe { current.cast::<*mut IO_STACK_LOCATION>().read() };
        location.wrapping_sub(1)
    }
}

impl Drop for Irp {
    fn drop(&mut self) {
        // SAFETY: The packet is not in flight: whoever sends one keeps it until its completion routine has run.
        unsafe { ntddk::IoFreeIrp(self.as_ptr()) };
    }
}

/// Status and information of a packet, and its MDL taken off it.
///
/// # Safety
///
/// Called in the packet's completion routine.
pub(crate) unsafe fn take_result(irp: PIRP) -> (NTSTATUS, usize) {
    // SAFETY: The packet is ours again.
    unsafe { (*irp).MdlAddress = core::ptr::null_mut() };
    // SAFETY: As above.
    unsafe { result(irp) }
}

/// # Safety
///
/// The packet was completed, and is ours.
unsafe fn result(irp: PIRP) -> (NTSTATUS, usize) {
    // SAFETY: Forwarded.
    let result = unsafe { (*irp).IoStatus };
    // SAFETY: The completion wrote the status member of the union.
    let status = unsafe { result.__bindgen_anon_1.Status };
    (status, usize::try_from(result.Information).unwrap_or(0))
}

/// What a device control request carries whose buffers are the caller's (`METHOD_NEITHER`).
pub(crate) struct ControlParameters {
    pub(crate) code: u32,
    pub(crate) output: PVOID,
    pub(crate) output_length: u32,
}

/// Reads them from the current location of a packet that this driver was given.
///
/// # Safety
///
/// `irp` is a device control request that the I/O manager has handed to this driver.
pub(crate) unsafe fn control_parameters(irp: PIRP) -> ControlParameters {
    // SAFETY: The member lies inside the packet.
    let current = unsafe { irp.byte_add(CURRENT_STACK_LOCATION) };
    // SAFETY: As above; it holds the current location.
    let location = unsafe { current.cast::<*mut IO_STACK_LOCATION>().read() };
    // SAFETY: The current location of a packet that is ours now.
    let location = unsafe { &*location };
    // SAFETY: The form that such requests use.
    let parameters = unsafe { location.Parameters.DeviceIoControl };
    ControlParameters {
        code: parameters.IoControlCode,
        // SAFETY: The packet is ours now.
        output: unsafe { (*irp).UserBuffer },
        output_length: parameters.OutputBufferLength,
    }
}
