//! The transport of the storm: a TDI provider of its own, whose files know nothing of scripts.

use alloc::{boxed::Box, format, sync::Arc};
use core::{
    ffi::c_void,
    ptr, slice,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use conform_ioctl::{StormCount, StormFlags};
use wdk_sys::{
    DO_DEVICE_INITIALIZING, IO_STACK_LOCATION, NTSTATUS, PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP,
    ntddk,
};

use super::{
    chance::Chance,
    endpoint::{Endpoint, Phase},
    queue::{self, What},
    report::{count, must},
    requests::{self, Way},
    world,
};
use crate::{
    nt::{irp as irps, irql, status, unicode::Unicode},
    transport::FileKind,
};

/// Name of the device.
pub(super) const DEVICE: &str = r"\Device\ConformStorm";
const MAGIC: u32 = u32::from_le_bytes(*b"Cstm");

/// Files by kind: opened, cleaned up, closed.
static FILES: [[AtomicI64; 3]; 3] = [const { [const { AtomicI64::new(0) }; 3] }; 3];
static SERIAL: AtomicU64 = AtomicU64::new(0);
/// Everything succeeds at once.
pub(super) static CALM: AtomicBool = AtomicBool::new(true);

/// Creates the device.
pub(crate) fn create_device(driver: PDRIVER_OBJECT) -> Result<(), NTSTATUS> {
    let name = Unicode::new(DEVICE);
    let mut device: PDEVICE_OBJECT = ptr::null_mut();
    // SAFETY: `driver` is this driver's object, during its DriverEntry. 0x21 is FILE_DEVICE_TRANSPORT (tdi.md §1).
    let created = unsafe {
        ntddk::IoCreateDevice(
            driver,
            4,
            name.borrow().as_mut_ptr(),
            0x21,
            0,
            0,
            &raw mut device,
        )
    };
    if created < 0 {
        return Err(created);
    }
    // SAFETY: Created above; nobody uses it yet.
    let device = unsafe { &mut *device };
    // SAFETY: The extension has room for it.
    unsafe { device.DeviceExtension.cast::<u32>().write(MAGIC) };
    device.Flags &= !DO_DEVICE_INITIALIZING;
    Ok(())
}

/// Whether a device of this driver is this one.
///
/// # Safety
///
/// `device` is a device of this driver.
pub(crate) unsafe fn is_device(device: PDEVICE_OBJECT) -> bool {
    // SAFETY: By this function's contract.
    let extension = unsafe { (*device).DeviceExtension.cast::<u32>() };
    // SAFETY: Every extension of this driver's devices begins with a number of four bytes.
    !extension.is_null() && unsafe { extension.read() } == MAGIC
}

/// Dispatch routine.
///
/// # Safety
///
/// Called by the I/O manager for this device.
pub(crate) unsafe fn dispatch(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: The request is ours now.
    let stack = unsafe { irps::current(irp) };
    // SAFETY: As above.
    let major = unsafe { (*stack).MajorFunction };
    let result = match major {
        // IRP_MJ_CREATE.
        // SAFETY: The create request and its location.
        0x00 => unsafe { create(irp, stack) },
        // IRP_MJ_CLOSE.
        // SAFETY: A file object of this device.
        0x02 => unsafe { close(stack) },
        // IRP_MJ_INTERNAL_DEVICE_CONTROL.
        // SAFETY: Forwarded; not touched here any more.
        0x0F => return unsafe { requests::arrive(device, irp, stack, Way::Sent) },
        // IRP_MJ_CLEANUP.
        // SAFETY: A file object of this device.
        0x12 => unsafe { clean_up(stack) },
        _ => status::INVALID_DEVICE_REQUEST,
    };
    // SAFETY: Ours, completed once.
    unsafe { irps::complete(irp, result, 0) };
    result
}

fn note(kind: FileKind, what: usize) {
    if let Some(counter) = FILES
        .get(kind as usize)
        .and_then(|counters| counters.get(what))
    {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Every file was closed exactly once.
pub(super) fn check_files() {
    for (kind, counters) in FILES.iter().enumerate() {
        let [opened, cleaned, closed] = counters
            .each_ref()
            .map(|counter| counter.load(Ordering::SeqCst));
        must(opened == cleaned && opened == closed, || {
            format!(
                "files of kind {kind}: {opened} opened, {cleaned} handles closed, {closed} closed"
            )
        });
    }
}

/// # Safety
///
/// `irp` is a create request, at `stack`.
unsafe fn create(irp: PIRP, stack: *mut IO_STACK_LOCATION) -> NTSTATUS {
    // SAFETY: The stack location of a create request.
    let location = unsafe { &*stack };
    // SAFETY: As above.
    let length = unsafe { location.Parameters.Create.EaLength } as usize;
    // SAFETY: The create request.
    let list = unsafe { irps::system_buffer(irp) };
    let list = if length == 0 || list.is_null() {
        &[][..]
    } else {
        // SAFETY: The I/O manager's copy of the list, alive for this call.
        unsafe { slice::from_raw_parts(list, length) }
    };
    // One entry: flags, length of the name at 5, the name at 8, its NUL, the value (tdi.md §2.2).
    let (kind, token) = match list {
        [] => (FileKind::Control, 0),
        [_, _, _, _, _, 16, ..] => (FileKind::Address, 0),
        [_, _, _, _, _, 17, .., a, b, c, d, e, f, g, h] => (
            FileKind::Endpoint,
            usize::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
        ),
        _ => return status::INVALID_PARAMETER,
    };
    let Some(world) = world::current() else {
        return status::DEVICE_NOT_READY;
    };
    must(
        irql::current() == irql::PASSIVE && !irql::all_apcs_disabled(),
        || "a file was opened above PASSIVE_LEVEL or with APCs disabled".into(),
    );
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let mut chance = Chance::new(world.request.seed, serial << 16);
    if kind == FileKind::Endpoint && !CALM.load(Ordering::Relaxed) && chance.percent(3) {
        return status::DEVICE_NOT_READY;
    }
    let orderly = !world.request.flags.has(StormFlags::ABORTIVE);
    let endpoint = Arc::new(Endpoint::new(kind, token, orderly, chance));
    note(kind, 0);
    let context = Box::into_raw(Box::new(endpoint));
    // SAFETY: A file object being opened on our device: FsContext is ours.
    unsafe { (*location.FileObject).FsContext = context.cast() };
    status::SUCCESS
}

/// The endpoint behind a file object.
///
/// # Safety
///
/// `object` is null, or a file object of this device that has not been closed.
pub(super) unsafe fn endpoint_of(object: *mut wdk_sys::FILE_OBJECT) -> Option<Arc<Endpoint>> {
    if object.is_null() {
        return None;
    }
    // SAFETY: By this function's contract.
    let context = unsafe { (*object).FsContext }.cast::<Arc<Endpoint>>();
    // SAFETY: Null, or written by `create`, and dropped by `close` alone.
    unsafe { context.as_ref() }.map(Arc::clone)
}

/// IRP_MJ_CLEANUP: what is outstanding ends, inside the call or soon after (tdi.md §12).
///
/// # Safety
///
/// `stack` is the location of a clean-up request.
unsafe fn clean_up(stack: *mut IO_STACK_LOCATION) -> NTSTATUS {
    // SAFETY: Ours.
    let object = unsafe { (*stack).FileObject };
    // SAFETY: The file is not closed before this is over.
    let Some(endpoint) = (unsafe { endpoint_of(object) }) else {
        return status::SUCCESS;
    };
    note(endpoint.kind, 1);
    must(
        irql::current() == irql::PASSIVE && !irql::all_apcs_disabled(),
        || "a handle was closed above PASSIVE_LEVEL or with APCs disabled".into(),
    );
    let (again, held, mut chance) = endpoint.state.update(|state| {
        let again = !core::mem::replace(&mut state.handle_open, false);
        state.phase = Phase::Down;
        let chance = Chance::new(state.chance.next(), 1);
        (again, state.claim_all(|_| true), chance)
    });
    must(!again, || "a handle was closed twice".into());
    for held in held {
        count(StormCount::EndedByClose);
        let result = chance.pick(&super::report::ENDINGS);
        if chance.percent(30) {
            let delay = chance.below(1000);
            queue::later(&endpoint, delay.into(), What::Complete(held, result));
        } else {
            requests::finish(&endpoint, &held, result, 0, &mut chance);
        }
    }
    status::SUCCESS
}

/// IRP_MJ_CLOSE: nothing may be outstanding.
///
/// # Safety
///
/// `stack` is the location of a close request, the last for its file object.
unsafe fn close(stack: *mut IO_STACK_LOCATION) -> NTSTATUS {
    // SAFETY: Ours.
    let object = unsafe { (*stack).FileObject };
    // SAFETY: A file object of this device.
    let context = unsafe { (*object).FsContext }.cast::<Arc<Endpoint>>();
    if context.is_null() {
        return status::SUCCESS;
    }
    // SAFETY: As above.
    unsafe { (*object).FsContext = ptr::null_mut::<c_void>() };
    // SAFETY: Made by `create`, taken back once.
    let endpoint = unsafe { Box::from_raw(context) };
    note(endpoint.kind, 2);
    let held = endpoint.state.update(|state| {
        state.closed = true;
        state.held.len()
    });
    must(held == 0, || {
        format!("a file was closed with {held} requests outstanding")
    });
    let late = world::current().is_some_and(|world| world.request.flags.has(StormFlags::LATE));
    if late && endpoint.kind == FileKind::Endpoint {
        queue::later(&endpoint, 200, What::Late);
    }
    // The address is kept alive for late calls by the task alone.
    if !late {
        drop(endpoint.state.update(|state| state.address.take()));
    }
    status::SUCCESS
}
