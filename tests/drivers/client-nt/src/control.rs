//! The device of a driver that programs control: who may open it, the lengths of a request, and the hand-over of each
//! request to a system worker thread, because it waits for the network and the engine's routines want such a thread.

use core::{ops::RangeInclusive, ptr};

use wdk_sys::{
    _WORK_QUEUE_TYPE::DelayedWorkQueue,
    BOOLEAN, DEVICE_OBJECT, DRIVER_OBJECT, FILE_DEVICE_SECURE_OPEN, FILE_DEVICE_UNKNOWN,
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, NTSTATUS, PDEVICE_OBJECT,
    PIO_WORKITEM, PIRP, PVOID, STATUS_ACCESS_DENIED, STATUS_BUFFER_TOO_SMALL,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
    STATUS_PENDING, STATUS_SUCCESS, ULONG, UNICODE_STRING,
    ntddk::{
        IoAllocateWorkItem, IoCreateDevice, IoCreateSymbolicLink, IoDeleteDevice, IoFreeWorkItem,
        IoQueueWorkItem,
    },
};

use crate::{
    access,
    irp::Irp,
    pool::Bytes,
    status::{Result, check},
};

/// Pool tag of the copies of requests' input.
const TAG_INPUT: ULONG = ULONG::from_le_bytes(*b"ClIn");

/// What a driver does with the requests for its device.
pub trait Commands {
    /// The lengths of input that a control code takes, and the least room for its output; nothing for a code that is not
    /// one. They are checked before anything is done for a request.
    fn lengths(code: u32) -> Option<(RangeInclusive<usize>, usize)>;

    /// A handle is opened.
    ///
    /// # Errors
    ///
    /// The status that the open fails with.
    ///
    /// # Safety
    ///
    /// `device` is the driver's own, `irp` an `IRP_MJ_CREATE`.
    unsafe fn open(_device: PDEVICE_OBJECT, _irp: &Irp) -> Result {
        Ok(())
    }

    /// The last request for a handle has ended, and the handle goes.
    ///
    /// # Safety
    ///
    /// `device` is the driver's own, `irp` an `IRP_MJ_CLOSE`.
    unsafe fn close(_device: PDEVICE_OBJECT, _irp: &Irp) {}

    /// Carries a request out in a system worker thread; returns the length of the output.
    ///
    /// # Errors
    ///
    /// The status for the caller; nothing was written then.
    ///
    /// # Safety
    ///
    /// `device` is the driver's own, `irp` a device-control request with these parts, whose lengths are those of
    /// [`Self::lengths`].
    unsafe fn execute(
        device: PDEVICE_OBJECT,
        irp: &Irp,
        code: u32,
        input: &[u8],
        output: Output,
    ) -> Result<usize>;
}

/// Checks a request against the lengths that its code has.
///
/// # Errors
///
/// `STATUS_INVALID_DEVICE_REQUEST` for a code without any, `STATUS_INVALID_PARAMETER` for an input of another length,
/// `STATUS_BUFFER_TOO_SMALL` for too little room.
pub fn check_lengths(
    lengths: Option<(RangeInclusive<usize>, usize)>,
    input: usize,
    output: usize,
) -> Result {
    let (inputs, least_output) = lengths.ok_or(STATUS_INVALID_DEVICE_REQUEST)?;
    if !inputs.contains(&input) {
        return Err(STATUS_INVALID_PARAMETER);
    }
    if output < least_output {
        return Err(STATUS_BUFFER_TOO_SMALL);
    }
    Ok(())
}

/// A request's system buffer, for the output.
pub struct Output {
    start: *mut u8,
    len: usize,
}

impl Output {
    /// Takes the buffer.
    ///
    /// # Safety
    ///
    /// `start` points to `len` bytes of nonpaged pool, used by nobody else as long as the value lives; it may be null
    /// if `len` is 0.
    const unsafe fn new(start: *mut u8, len: usize) -> Self {
        Self { start, len }
    }

    /// Its first byte.
    #[must_use]
    pub const fn start(&self) -> *mut u8 {
        self.start
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.len
    }

    /// The bytes.
    pub const fn as_mut(&mut self) -> &mut [u8] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: The contract of `new`.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

/// Creates the driver's device with its link and dispatch routines; `prepare` gets the zeroed extension, in nonpaged
/// memory, before anybody can open the device.
///
/// # Errors
///
/// The system's status; there is no device then.
pub fn create_device<C: Commands>(
    driver: &mut DRIVER_OBJECT,
    extension: u32,
    mut name: UNICODE_STRING,
    mut link: UNICODE_STRING,
    prepare: impl FnOnce(PVOID),
) -> Result {
    let mut device: *mut DEVICE_OBJECT = ptr::null_mut();
    // SAFETY: The name is copied; the extension is zeroed nonpaged memory.
    check(unsafe {
        IoCreateDevice(
            driver,
            extension,
            &raw mut name,
            FILE_DEVICE_UNKNOWN,
            FILE_DEVICE_SECURE_OPEN,
            BOOLEAN::from(false),
            &raw mut device,
        )
    })?;
    // SAFETY: Just created.
    prepare(unsafe { (*device).DeviceExtension });
    // SAFETY: Both names are copied.
    let linked = check(unsafe { IoCreateSymbolicLink(&raw mut link, &raw mut name) });
    if let Err(status) = linked {
        // SAFETY: Ours, and nobody has opened it.
        unsafe { IoDeleteDevice(device) };
        return Err(status);
    }
    for (major, routine) in [
        (IRP_MJ_CREATE, create::<C> as Routine),
        (IRP_MJ_CLEANUP, succeed),
        (IRP_MJ_CLOSE, close::<C>),
        (IRP_MJ_DEVICE_CONTROL, device_control::<C>),
    ] {
        if let Some(slot) = driver.MajorFunction.get_mut(major as usize) {
            *slot = Some(routine);
        }
    }
    Ok(())
}

/// A dispatch routine.
type Routine = unsafe extern "C" fn(PDEVICE_OBJECT, PIRP) -> NTSTATUS;

/// `IRP_MJ_CREATE`: administrators only.
unsafe extern "C" fn create<C: Commands>(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The I/O manager hands the request over, in the thread that opens.
    let refused = unsafe { access::is_refused(irp) };
    // SAFETY: As above.
    let irp = unsafe { Irp::from_raw(irp) };
    if refused {
        return irp.complete(STATUS_ACCESS_DENIED, 0);
    }
    // SAFETY: As the I/O manager calls this routine.
    let opened = unsafe { C::open(device, &irp) };
    irp.complete(opened.err().unwrap_or(STATUS_SUCCESS), 0)
}

/// `IRP_MJ_CLEANUP`.
unsafe extern "C" fn succeed(_device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The I/O manager hands the request over.
    unsafe { Irp::from_raw(irp) }.complete(STATUS_SUCCESS, 0)
}

/// `IRP_MJ_CLOSE`.
unsafe extern "C" fn close<C: Commands>(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The I/O manager hands the request over.
    let irp = unsafe { Irp::from_raw(irp) };
    // SAFETY: As the I/O manager calls this routine.
    unsafe { C::close(device, &irp) };
    irp.complete(STATUS_SUCCESS, 0)
}

/// `IRP_MJ_DEVICE_CONTROL`: checks the lengths, then leaves the work to a system worker thread.
unsafe extern "C" fn device_control<C: Commands>(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The I/O manager hands the request over.
    let mut irp = unsafe { Irp::from_raw(irp) };
    // SAFETY: It is a device-control request.
    let control = unsafe { irp.control() };
    if let Err(status) = check_lengths(C::lengths(control.code), control.input, control.output) {
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
    unsafe {
        IoQueueWorkItem(
            item,
            Some(work::<C>),
            DelayedWorkQueue,
            irp.into_raw().cast(),
        )
    };
    STATUS_PENDING
}

/// Carries a request out, in a system worker thread.
unsafe extern "C" fn work<C: Commands>(device: PDEVICE_OBJECT, context: PVOID) {
    // SAFETY: `device_control` handed the request over.
    let mut irp = unsafe { Irp::from_raw(context.cast()) };
    let item: PIO_WORKITEM = irp.driver_context().cast();
    // SAFETY: It left the queue before this routine was called, and the system keeps the device until it returns.
    unsafe { IoFreeWorkItem(item) };
    // SAFETY: A device-control request with checked lengths, and our device.
    match unsafe { carry_out::<C>(device, &irp) } {
        Ok(length) => irp.complete(STATUS_SUCCESS, length),
        Err(status) => irp.complete(status, 0),
    };
}

/// # Safety
///
/// A device-control request with checked lengths, and our device.
unsafe fn carry_out<C: Commands>(device: PDEVICE_OBJECT, irp: &Irp) -> Result<usize> {
    // SAFETY: Forwarded from this function's `# Safety` section.
    let control = unsafe { irp.control() };
    // Input and output share the system buffer: the input is copied away first.
    let mut input = Bytes::try_new(control.input, TAG_INPUT)?;
    if control.input > 0 {
        // SAFETY: The I/O manager put `input` bytes there (METHOD_BUFFERED).
        let bytes = unsafe { core::slice::from_raw_parts(control.buffer, control.input) };
        input.copy_from_slice(bytes);
    }
    // SAFETY: The system buffer has room for `output` bytes, is nonpaged pool, and belongs to the request.
    let output = unsafe { Output::new(control.buffer, control.output) };
    // SAFETY: Forwarded from this function's `# Safety` section.
    unsafe { C::execute(device, irp, control.code, &input, output) }
}
