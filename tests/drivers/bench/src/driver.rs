//! Entry, unload, the control device and the transport's device.

use core::{
    cell::UnsafeCell,
    ops::RangeInclusive,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use bench_ioctl::{Command, Provider};
use client_nt::{
    control::{Commands, Output, create_device},
    event::Event,
    irp::Irp,
    status::{Result, check},
    unicode,
};
use wdk_sys::{
    BOOLEAN, DEVICE_OBJECT, DO_DEVICE_INITIALIZING, DRIVER_OBJECT, FILE_DEVICE_NETWORK,
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_INTERNAL_DEVICE_CONTROL, NTSTATUS,
    PCUNICODE_STRING, PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP, STATUS_INVALID_PARAMETER,
    STATUS_SUCCESS, UNICODE_STRING,
    ntddk::{IoCreateDevice, IoDeleteDevice, IoDeleteSymbolicLink},
};

use crate::{
    contest::{self, Pair},
    measure,
    rig::Rig,
    transport::{self, Sends},
};

#[expect(clippy::cast_possible_truncation, reason = "a few dozen bytes")]
const EXTENSION_LEN: u32 = size_of::<State>() as u32;

/// The control device's extension.
struct State {
    /// Signalled while nobody uses `work`.
    free: Event,
    work: UnsafeCell<Work>,
}

/// What is built.
struct Work {
    rig: Option<Rig>,
    pair: Option<Pair>,
}

/// A dispatch routine.
type Routine = unsafe extern "C" fn(PDEVICE_OBJECT, PIRP) -> NTSTATUS;

/// The device of the transport that completes sends.
static NULL: AtomicPtr<DEVICE_OBJECT> = AtomicPtr::new(ptr::null_mut());
/// The device of the one that pends them.
static PENDING: AtomicPtr<DEVICE_OBJECT> = AtomicPtr::new(ptr::null_mut());
/// The control device.
static CONTROL_DEVICE: AtomicPtr<DEVICE_OBJECT> = AtomicPtr::new(ptr::null_mut());

/// The control device's routines for the requests that all devices get.
static CONTROL: ControlRoutines = ControlRoutines(UnsafeCell::new([None; 3]));

struct ControlRoutines(UnsafeCell<[Option<Routine>; 3]>);

// SAFETY: Written by the entry, before a device can be opened; only read afterwards.
unsafe impl Sync for ControlRoutines {}

/// The requests that all devices get, in the order of [`CONTROL`].
const SHARED: [u32; 3] = [IRP_MJ_CREATE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE];

/// Entry of the driver.
///
/// # Safety
///
/// Called by the system once, with our driver object.
#[unsafe(export_name = "DriverEntry")]
pub(crate) unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: Ours alone until this routine returns.
    let driver = unsafe { &mut *driver };
    driver.DriverUnload = Some(unload);
    let created = create_device::<Bench>(
        driver,
        EXTENSION_LEN,
        unicode!(bench_ioctl::DEVICE_NAME),
        unicode!(bench_ioctl::LINK_NAME),
        |extension| {
            let extension = extension.cast::<State>();
            let state = State {
                free: Event::uninitialised(),
                work: UnsafeCell::new(Work {
                    rig: None,
                    pair: None,
                }),
            };
            // SAFETY: Of this size, aligned as pool is, and not yet used: the device is still initialising.
            unsafe { extension.write(state) };
            // SAFETY: Written above.
            let extension = unsafe { &*extension };
            // SAFETY: At its final place, in nonpaged memory, not yet used.
            unsafe { extension.free.initialise(true) };
        },
    );
    if let Err(status) = created {
        return status;
    }
    CONTROL_DEVICE.store(driver.DeviceObject, Ordering::Release);
    take_over(driver);
    let created = create_transport(driver, unicode!(bench_ioctl::TRANSPORT_NAME), &NULL)
        .and_then(|()| create_transport(driver, unicode!(bench_ioctl::PENDING_NAME), &PENDING));
    match created {
        Ok(()) => STATUS_SUCCESS,
        Err(status) => {
            delete_all();
            status
        }
    }
}

/// Puts [`dispatch`] in front of the control device's routines.
fn take_over(driver: &mut DRIVER_OBJECT) {
    // SAFETY: Nobody reads it yet.
    let control = unsafe { &mut *CONTROL.0.get() };
    for (saved, major) in control.iter_mut().zip(SHARED) {
        if let Some(slot) = driver.MajorFunction.get_mut(major as usize) {
            *saved = slot.replace(dispatch);
        }
    }
    let slot = driver
        .MajorFunction
        .get_mut(IRP_MJ_INTERNAL_DEVICE_CONTROL as usize);
    if let Some(slot) = slot {
        *slot = Some(dispatch);
    }
}

fn create_transport(
    driver: &mut DRIVER_OBJECT,
    mut name: UNICODE_STRING,
    place: &AtomicPtr<DEVICE_OBJECT>,
) -> Result {
    let mut device: *mut DEVICE_OBJECT = ptr::null_mut();
    // SAFETY: The name is copied.
    check(unsafe {
        IoCreateDevice(
            driver,
            0,
            &raw mut name,
            FILE_DEVICE_NETWORK,
            0,
            BOOLEAN::from(false),
            &raw mut device,
        )
    })?;
    place.store(device, Ordering::Release);
    // SAFETY: Just created.
    unsafe { (*device).Flags &= !DO_DEVICE_INITIALIZING };
    Ok(())
}

/// The transports' requests, and those of the control device for which they have a routine, too.
unsafe extern "C" fn dispatch(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    for (transport, sends) in [(&NULL, Sends::Complete), (&PENDING, Sends::Pend)] {
        if device == transport.load(Ordering::Acquire) {
            // SAFETY: As the I/O manager calls this routine.
            return unsafe { transport::dispatch(irp, sends) };
        }
    }
    // SAFETY: The entry has written it.
    let control = unsafe { &*CONTROL.0.get() };
    // SAFETY: The request is ours until it is handed on.
    let tail = unsafe { &(*irp).Tail };
    // SAFETY: The union has this meaning while a driver has the request.
    let stack = unsafe {
        tail.Overlay
            .__bindgen_anon_2
            .__bindgen_anon_1
            .CurrentStackLocation
    };
    // SAFETY: The request's own stack location.
    let major = u32::from(unsafe { (*stack).MajorFunction });
    let place = SHARED.iter().position(|&shared| shared == major);
    match place.and_then(|place| control.get(place)) {
        // SAFETY: Handed on as it came.
        Some(Some(routine)) => unsafe { routine(device, irp) },
        _ => {
            // SAFETY: Ours, and completed here.
            let irp = unsafe { Irp::from_raw(irp) };
            irp.complete(STATUS_INVALID_PARAMETER, 0)
        }
    }
}

/// The control device.
struct Bench;

impl Commands for Bench {
    fn lengths(code: u32) -> Option<(RangeInclusive<usize>, usize)> {
        bench_ioctl::lengths(code)
    }

    unsafe fn execute(
        device: PDEVICE_OBJECT,
        _irp: &Irp,
        _code: u32,
        input: &[u8],
        mut output: Output,
    ) -> Result<usize> {
        let command = Command::from_bytes(input).ok_or(STATUS_INVALID_PARAMETER)?;
        // SAFETY: Our device, as the caller promises.
        let extension = unsafe { (*device).DeviceExtension };
        // SAFETY: `driver_entry` put a `State` there.
        let state = unsafe { &*extension.cast::<State>() };
        state.free.wait();
        // SAFETY: One thread at a time comes past the event, until it sets it again.
        let result = execute(unsafe { &mut *state.work.get() }, command, output.as_mut());
        state.free.set();
        result
    }
}

fn execute(work: &mut Work, command: Command, output: &mut [u8]) -> Result<usize> {
    let answer = output.get_mut(..command.answer_len());
    let answer = answer.ok_or(STATUS_INVALID_PARAMETER)?;
    match command {
        Command::Resize(0) => {
            work.rig = None;
            Ok(0)
        }
        Command::Resize(count) => {
            let rig = match &mut work.rig {
                Some(rig) => rig,
                none => none.insert(Rig::new(Provider::Null)?),
            };
            rig.resize(count)?;
            Ok(0)
        }
        Command::Measure {
            operation,
            pick,
            each,
            ..
        } => {
            let rig = work.rig.as_ref().ok_or(STATUS_INVALID_PARAMETER)?;
            measure::run(rig, operation, pick, each, answer)
        }
        Command::Pair { provider, circuits } => {
            work.pair = None;
            if circuits > 0 {
                work.pair = Some(Pair::new(provider, circuits)?);
            }
            Ok(0)
        }
        Command::Contest {
            rival,
            contest,
            each,
            ..
        } => {
            let pair = work.pair.as_ref().ok_or(STATUS_INVALID_PARAMETER)?;
            pair.run(rival, contest, each, answer)
        }
        Command::Stream {
            rival,
            bytes,
            circuits,
            sends,
            ..
        } => {
            let pair = work.pair.as_ref().ok_or(STATUS_INVALID_PARAMETER)?;
            pair.stream(rival, [bytes, circuits, sends], answer)
        }
        Command::Count { side, step } => {
            let pair = work.pair.as_ref().ok_or(STATUS_INVALID_PARAMETER)?;
            pair.count(side, step)?;
            Ok(0)
        }
        Command::Floor { each, .. } => {
            contest::without_clients(PENDING.load(Ordering::Acquire), each, answer)
        }
    }
}

/// Deletes what was created: no handle is open.
fn delete_all() {
    let mut link = unicode!(bench_ioctl::LINK_NAME);
    // SAFETY: The link of `create_device`.
    let _ = unsafe { IoDeleteSymbolicLink(&raw mut link) };
    for place in [&NULL, &PENDING, &CONTROL_DEVICE] {
        let device = place.swap(ptr::null_mut(), Ordering::AcqRel);
        if !device.is_null() {
            // SAFETY: Ours, deleted once; the programs' commands have taken the circuits down, or they are leaks.
            unsafe { IoDeleteDevice(device) };
        }
    }
}

/// Takes everything down. The system calls it when no handle is open any more.
unsafe extern "C" fn unload(_driver: PDRIVER_OBJECT) {
    delete_all();
}
