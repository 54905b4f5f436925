//! Packets by hand.
//!
//! A packet has a stack location more than the transport needs: the sender's own, where it keeps what its completion routine
//! wants to know.

use core::{
    cell::UnsafeCell,
    ptr::{self, NonNull},
};

use client_nt::{
    event::Event,
    status::{Result, check},
};
use wdk_sys::{
    IO_STACK_LOCATION, IRP, IRP_MJ_INTERNAL_DEVICE_CONTROL, NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL,
    PVOID, SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_MORE_PROCESSING_REQUIRED, STATUS_SUCCESS,
    ntddk::{IoAllocateIrp, IoFreeIrp, IofCallDriver},
};

use super::file::File;

pub(super) const ASSOCIATE_ADDRESS: u8 = 1;
pub(super) const CONNECT: u8 = 3;
pub(super) const DISCONNECT: u8 = 6;
pub(super) const SEND: u8 = 7;
pub(super) const SET_EVENT_HANDLER: u8 = 0xB;

/// `TDI_DISCONNECT_ABORT`.
pub(super) const ABORT: usize = 2;
/// `TDI_DISCONNECT_RELEASE`.
pub(super) const RELEASE: usize = 4;

#[expect(clippy::cast_possible_truncation, reason = "the constant is 15")]
const INTERNAL: u8 = IRP_MJ_INTERNAL_DEVICE_CONTROL as u8;
#[expect(clippy::cast_possible_truncation, reason = "the constants are 0xE0")]
const ALWAYS: u8 = (SL_INVOKE_ON_CANCEL | SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR) as u8;

/// A completion routine.
pub(super) type Routine = unsafe extern "C" fn(PDEVICE_OBJECT, PIRP, PVOID) -> NTSTATUS;

/// A packet that was not sent yet. Whoever sends it frees it in the completion routine.
pub(super) struct Request(NonNull<IRP>);

/// The member that says which location is the current one.
fn current(irp: NonNull<IRP>) -> *mut *mut IO_STACK_LOCATION {
    // SAFETY: The packet is the caller's.
    let tail = unsafe { &raw mut (*irp.as_ptr()).Tail };
    // SAFETY: As above: this computes an address.
    let overlay = unsafe { &raw mut (*tail).Overlay.__bindgen_anon_2 };
    // SAFETY: As above; the union has this meaning while a driver has the packet.
    unsafe { &raw mut (*overlay).__bindgen_anon_1.CurrentStackLocation }
}

impl Request {
    /// Allocates a packet for the file's device, whose own location holds `notes`.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    pub(super) fn new(file: &File, notes: [PVOID; 2]) -> Result<Self> {
        // SAFETY: The file keeps its device.
        let stack_size = unsafe { (*file.device()).StackSize };
        // SAFETY: IoAllocateIrp has no requirements beyond the level.
        let irp = unsafe { IoAllocateIrp(stack_size.saturating_add(1), 0) };
        let irp = NonNull::new(irp).ok_or(STATUS_INSUFFICIENT_RESOURCES)?;
        let request = Self(irp);
        let own = request.next();
        // IoSetNextIrpStackLocation.
        // SAFETY: The packet is ours.
        let location = unsafe { &mut (*irp.as_ptr()).CurrentLocation };
        *location = location.wrapping_sub(1);
        // SAFETY: As above.
        unsafe { current(irp).write(own) };
        // SAFETY: Our own location.
        let parameters = unsafe { &raw mut (*own).Parameters };
        // SAFETY: The parameters have room for four pointers.
        unsafe { parameters.cast::<[PVOID; 2]>().write(notes) };
        Ok(request)
    }

    fn next(&self) -> *mut IO_STACK_LOCATION {
        // SAFETY: The packet is ours.
        unsafe { current(self.0).read() }.wrapping_sub(1)
    }

    /// Sends it.
    ///
    /// # Safety
    ///
    /// What the parameters and the MDL point to stays until the completion routine runs, and so does the file.
    pub(super) unsafe fn send(
        self,
        file: &File,
        minor: u8,
        parameters: [usize; 4],
        mdl: PMDL,
        routine: Routine,
    ) {
        // SAFETY: Forwarded.
        unsafe {
            prepare(
                self.0,
                file,
                (minor, parameters),
                mdl,
                (routine, ptr::null_mut()),
            );
        }
        // SAFETY: Prepared above.
        unsafe { call(file.device(), self.0) };
    }
}

/// Fills a packet for whom it is sent to: minor function and parameters, and the completion routine with its context.
///
/// # Safety
///
/// The packet is the caller's and has a location left; what it points to stays until the completion routine runs.
#[inline]
pub(super) unsafe fn prepare(
    irp: NonNull<IRP>,
    file: &File,
    (minor, parameters): (u8, [usize; 4]),
    mdl: PMDL,
    (routine, context): (Routine, PVOID),
) {
    // SAFETY: Forwarded: the packet is the caller's.
    unsafe { (*irp.as_ptr()).MdlAddress = mdl };
    // SAFETY: As above.
    let next = unsafe { current(irp).read() }.wrapping_sub(1);
    // SAFETY: Forwarded: the location of whom it is sent to.
    let location = unsafe { &mut *next };
    location.MajorFunction = INTERNAL;
    location.MinorFunction = minor;
    location.Control = ALWAYS;
    location.FileObject = file.object();
    location.CompletionRoutine = Some(routine);
    location.Context = context;
    let room = (&raw mut location.Parameters).cast::<[usize; 4]>();
    // SAFETY: The parameters have room for four words.
    unsafe { room.write(parameters) };
}

/// Sends a packet. The completion routine learns the status.
///
/// # Safety
///
/// The packet was prepared, and what keeps the device stays until it is over.
#[inline]
pub(super) unsafe fn call(device: PDEVICE_OBJECT, irp: NonNull<IRP>) {
    // SAFETY: Forwarded.
    let _ = unsafe { IofCallDriver(device, irp.as_ptr()) };
}

/// How a packet ended.
///
/// # Safety
///
/// Called in its completion routine.
#[inline]
pub(super) unsafe fn status(irp: PIRP) -> NTSTATUS {
    // SAFETY: Forwarded: the packet is the caller's again.
    let result = unsafe { (*irp).IoStatus };
    // SAFETY: The completion wrote the status member of the union.
    unsafe { result.__bindgen_anon_1.Status }
}

/// What the sender has noted in a packet that has come back, and its status; the packet is freed.
///
/// # Safety
///
/// Called once, in the completion routine of a [`Request`].
pub(super) unsafe fn take(irp: PIRP) -> ([PVOID; 2], NTSTATUS) {
    let Some(packet) = NonNull::new(irp) else {
        return ([ptr::null_mut(); 2], STATUS_SUCCESS);
    };
    // SAFETY: The packet is ours again, and our own location is the current one.
    let own = unsafe { current(packet).read() };
    // SAFETY: As above.
    let parameters = unsafe { &raw const (*own).Parameters };
    // SAFETY: Written by `Request::new`.
    let notes = unsafe { parameters.cast::<[PVOID; 2]>().read() };
    // SAFETY: The packet is ours again, and was completed.
    let status = unsafe { status(irp) };
    // SAFETY: Ours, and not under way.
    unsafe { IoFreeIrp(irp) };
    (notes, status)
}

/// Where the end of a request is written that somebody waits for.
struct Outcome {
    over: Event,
    status: UnsafeCell<NTSTATUS>,
}

/// Sends a request and waits for it.
///
/// # Errors
///
/// No memory, or the transport's status.
///
/// # Safety
///
/// The parameters are valid for the request.
pub(super) unsafe fn perform(file: &File, minor: u8, parameters: [usize; 4]) -> Result {
    let outcome = Outcome {
        over: Event::uninitialised(),
        status: UnsafeCell::new(STATUS_SUCCESS),
    };
    // SAFETY: It stays where it is until the wait is over; a waiting thread's kernel stack is resident.
    unsafe { outcome.over.initialise(false) };
    let notes = [(&raw const outcome).cast_mut().cast(), ptr::null_mut()];
    let request = Request::new(file, notes)?;
    // SAFETY: Forwarded; the outcome outlives the request.
    unsafe { request.send(file, minor, parameters, ptr::null_mut(), performed) };
    outcome.over.wait();
    // SAFETY: Written before the event was set.
    check(unsafe { outcome.status.get().read() })
}

unsafe extern "C" fn performed(_device: PDEVICE_OBJECT, irp: PIRP, _context: PVOID) -> NTSTATUS {
    // SAFETY: The completion routine of `perform`.
    let ([outcome, _], status) = unsafe { take(irp) };
    // SAFETY: The waiter's stack, which stays until the event is set.
    let outcome = unsafe { &*outcome.cast::<Outcome>() };
    // SAFETY: The waiter reads only after the event is set.
    unsafe { outcome.status.get().write(status) };
    outcome.over.set();
    STATUS_MORE_PROCESSING_REQUIRED
}
