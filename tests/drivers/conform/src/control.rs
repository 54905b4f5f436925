//! The control device: lists the vectors and runs one at a time.
//!
//! One file may be open at a time, since what the vectors share (transport, recorder, engine) is one. The device is not
//! created exclusive: that would answer a second open as it answers an ordinary user, `STATUS_ACCESS_DENIED`.

use core::{
    ffi::c_void,
    ptr, slice,
    sync::atomic::{AtomicPtr, Ordering},
};

use client_nt::control::check_lengths;
use conform_ioctl::{
    DEVICE_NAME, DuelRequest, INTERFACE_VERSION, IOCTL_DUEL, IOCTL_FUZZ, IOCTL_LIST,
    IOCTL_SCENARIOS, IOCTL_STORM, IOCTL_SWEEP, LINK_NAME, ListHeader, ScenarioInfo, StormRequest,
    SweepRequest, Text, VectorInfo,
};
use wdk_sys::{DO_DEVICE_INITIALIZING, NTSTATUS, PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP, ntddk};

use crate::{
    duel, fuzz,
    nt::{irp as irps, status, unicode::Unicode},
    runner, storm, sweep, vectors,
};

/// The file object that is open; null for none.
static OWNER: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Creates the device and its link.
pub(crate) fn create_device(driver: PDRIVER_OBJECT) -> Result<(), NTSTATUS> {
    let (name, link) = (Unicode::new(DEVICE_NAME), Unicode::new(LINK_NAME));
    let mut device: PDEVICE_OBJECT = ptr::null_mut();
    // SAFETY: `driver` is this driver's object, during its DriverEntry; the name lives for the call. 0x22 is
    // FILE_DEVICE_UNKNOWN, 0x100 FILE_DEVICE_SECURE_OPEN.
    let created = unsafe {
        ntddk::IoCreateDevice(
            driver,
            0,
            name.borrow().as_mut_ptr(),
            0x22,
            0x100,
            0,
            &raw mut device,
        )
    };
    if created < 0 {
        return Err(created);
    }
    // SAFETY: Created above; nobody uses it yet.
    unsafe { (*device).Flags &= !DO_DEVICE_INITIALIZING };
    // SAFETY: Both strings live for the call.
    let linked = unsafe {
        ntddk::IoCreateSymbolicLink(link.borrow().as_mut_ptr(), name.borrow().as_mut_ptr())
    };
    if linked < 0 { Err(linked) } else { Ok(()) }
}

/// Deletes the link.
pub(crate) fn delete_link() {
    let link = Unicode::new(LINK_NAME);
    // SAFETY: The string lives for the call. A link that is missing is no matter.
    let _ = unsafe { ntddk::IoDeleteSymbolicLink(link.borrow().as_mut_ptr()) };
}

/// Dispatch routine of the control device.
///
/// # Safety
///
/// Called by the I/O manager at PASSIVE_LEVEL, in the context of the requesting thread.
pub(crate) unsafe fn dispatch(irp: PIRP) -> NTSTATUS {
    // SAFETY: The request is ours now.
    let stack = unsafe { irps::current(irp) };
    // SAFETY: As above.
    let location = unsafe { &*stack };
    let file: *mut c_void = location.FileObject.cast();
    let (result, information) = match location.MajorFunction {
        // IRP_MJ_CREATE.
        0x00 => (own(file), 0),
        // IRP_MJ_CLOSE, after the file's last request has ended.
        0x02 => {
            disown(file);
            (status::SUCCESS, 0)
        }
        // IRP_MJ_CLEANUP.
        0x12 => (status::SUCCESS, 0),
        // IRP_MJ_DEVICE_CONTROL. A kernel that let the second open pass, as Wine's does, is told here.
        0x0E if OWNER.load(Ordering::Acquire) != file => (status::SHARING_VIOLATION, 0),
        // SAFETY: The request is ours.
        0x0E => unsafe { control(irp) },
        _ => (status::INVALID_DEVICE_REQUEST, 0),
    };
    // SAFETY: Ours, completed once.
    unsafe { irps::complete(irp, result, information) };
    result
}

fn own(file: *mut c_void) -> NTSTATUS {
    let first = OWNER.compare_exchange(ptr::null_mut(), file, Ordering::AcqRel, Ordering::Acquire);
    match first {
        Ok(_) => status::SUCCESS,
        Err(_) => status::SHARING_VIOLATION,
    }
}

fn disown(file: *mut c_void) {
    // Not the owner's: the file of an open that was refused.
    let _ = OWNER.compare_exchange(file, ptr::null_mut(), Ordering::AcqRel, Ordering::Acquire);
}

/// # Safety
///
/// `irp` is a device control request of this driver's METHOD_BUFFERED codes, or of an unknown one.
unsafe fn control(irp: PIRP) -> (NTSTATUS, u64) {
    // SAFETY: Ours.
    let stack = unsafe { irps::current(irp) };
    // SAFETY: The current location of a request we own.
    let stack = unsafe { &*stack };
    // SAFETY: A device control request.
    let parameters = unsafe { stack.Parameters.DeviceIoControl };
    let (input, output) = (
        parameters.InputBufferLength as usize,
        parameters.OutputBufferLength as usize,
    );
    let lengths = conform_ioctl::lengths(parameters.IoControlCode);
    if let Err(wrong) = check_lengths(lengths, input, output) {
        return (wrong, 0);
    }
    // SAFETY: Ours.
    let buffer = unsafe { irps::system_buffer(irp) };
    if buffer.is_null() {
        return (status::INVALID_PARAMETER, 0);
    }
    // SAFETY: The I/O manager's buffer holds the longer of both; it is ours until completion.
    let buffer = unsafe { slice::from_raw_parts_mut(buffer, input.max(output)) };
    match parameters.IoControlCode {
        IOCTL_LIST => list(buffer.get_mut(..output).unwrap_or_default()),
        IOCTL_STORM => storm(buffer, input),
        IOCTL_FUZZ => fuzz(buffer, input),
        IOCTL_SCENARIOS => scenarios(buffer.get_mut(..output).unwrap_or_default()),
        IOCTL_SWEEP => sweep(buffer, input),
        IOCTL_DUEL => duel(buffer, input),
        _ => run(buffer, input),
    }
}

fn list(output: &mut [u8]) -> (NTSTATUS, u64) {
    let vectors = vectors::all();
    let records = vectors.iter().map(|vector| {
        let info = VectorInfo {
            id: Text::new(vector.id),
            title: Text::new(vector.title),
            basis: vector.basis,
        };
        info.to_bytes()
    });
    put_list(output, vectors.len(), records)
}

fn scenarios(output: &mut [u8]) -> (NTSTATUS, u64) {
    let records = sweep::all().map(|scenario| {
        let info = ScenarioInfo {
            name: Text::new(scenario.name),
        };
        info.to_bytes()
    });
    put_list(output, sweep::all().count(), records)
}

/// Writes a header, then as many records as fit.
fn put_list<const N: usize>(
    output: &mut [u8],
    count: usize,
    records: impl Iterator<Item = [u8; N]>,
) -> (NTSTATUS, u64) {
    let header = ListHeader {
        version: INTERFACE_VERSION,
        count: u32::try_from(count).unwrap_or(u32::MAX),
    };
    let Some((first, mut rest)) = output.split_at_mut_checked(ListHeader::SIZE) else {
        return (status::BUFFER_TOO_SMALL, 0);
    };
    first.copy_from_slice(&header.to_bytes());
    let mut written = ListHeader::SIZE;
    for bytes in records {
        let Some((record, next)) = rest.split_at_mut_checked(N) else {
            break;
        };
        record.copy_from_slice(&bytes);
        written = written.saturating_add(N);
        rest = next;
    }
    (status::SUCCESS, written as u64)
}

fn run(buffer: &mut [u8], input: usize) -> (NTSTATUS, u64) {
    let Some(index) = buffer
        .get(..input)
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
    else {
        return (status::INVALID_PARAMETER, 0);
    };
    let vectors = vectors::all();
    let index = u32::from_le_bytes(index) as usize;
    let Some(vector) = vectors.get(index) else {
        return (status::INVALID_PARAMETER, 0);
    };
    let result = runner::run(vector).to_bytes();
    for (to, from) in buffer.iter_mut().zip(&result) {
        *to = *from;
    }
    (status::SUCCESS, result.len() as u64)
}

fn duel(buffer: &mut [u8], input: usize) -> (NTSTATUS, u64) {
    let Some(request) = buffer.get(..input).and_then(DuelRequest::from_bytes) else {
        return (status::INVALID_PARAMETER, 0);
    };
    let result = duel::run(request).to_bytes();
    for (to, from) in buffer.iter_mut().zip(&result) {
        *to = *from;
    }
    (status::SUCCESS, result.len() as u64)
}

fn storm(buffer: &mut [u8], input: usize) -> (NTSTATUS, u64) {
    let Some(request) = buffer.get(..input).and_then(StormRequest::from_bytes) else {
        return (status::INVALID_PARAMETER, 0);
    };
    let result = storm::run(request).to_bytes();
    for (to, from) in buffer.iter_mut().zip(&result) {
        *to = *from;
    }
    (status::SUCCESS, result.len() as u64)
}

fn fuzz(buffer: &mut [u8], input: usize) -> (NTSTATUS, u64) {
    let Some(program) = buffer.get(..input) else {
        return (status::INVALID_PARAMETER, 0);
    };
    let result = fuzz::run(program).to_bytes();
    for (to, from) in buffer.iter_mut().zip(&result) {
        *to = *from;
    }
    (status::SUCCESS, result.len() as u64)
}

fn sweep(buffer: &mut [u8], input: usize) -> (NTSTATUS, u64) {
    let Some(request) = buffer.get(..input).and_then(SweepRequest::from_bytes) else {
        return (status::INVALID_PARAMETER, 0);
    };
    let Some(result) = sweep::run(request) else {
        return (status::INVALID_PARAMETER, 0);
    };
    let result = result.to_bytes();
    for (to, from) in buffer.iter_mut().zip(&result) {
        *to = *from;
    }
    (status::SUCCESS, result.len() as u64)
}
