//! Entry, unload, and one session for each handle.

use core::{ops::RangeInclusive, ptr::NonNull};

use client_nt::{
    control::{Commands, Output, create_device},
    irp::Irp,
    pool::NonPaged,
    status::Result,
    unicode,
};
use exchange_ioctl::{Answer, How, MOST_ROOM, Open, Wait, code, status};
use wdk_sys::{
    NTSTATUS, PCUNICODE_STRING, PDEVICE_OBJECT, PDRIVER_OBJECT, STATUS_BUFFER_TOO_SMALL,
    STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER, STATUS_SUCCESS, ULONG,
    ntddk::{IoDeleteDevice, IoDeleteSymbolicLink},
};

use crate::session::Session;

/// `ExSe`: a session with the structures of the engine.
const TAG_SESSION: ULONG = ULONG::from_le_bytes(*b"ExSe");

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
    let created = create_device::<Sessions>(
        driver,
        0,
        unicode!(exchange_ioctl::DEVICE_NAME),
        unicode!(exchange_ioctl::LINK_NAME),
        |_| (),
    );
    created.err().unwrap_or(STATUS_SUCCESS)
}

/// The system calls it when no handle is open any more: there is no session then.
unsafe extern "C" fn unload(driver: PDRIVER_OBJECT) {
    let mut link = unicode!(exchange_ioctl::LINK_NAME);
    // SAFETY: The link of `driver_entry`.
    let _ = unsafe { IoDeleteSymbolicLink(&raw mut link) };
    // SAFETY: The driver's only device.
    let device = unsafe { (*driver).DeviceObject };
    if !device.is_null() {
        // SAFETY: Ours; no handle is open.
        unsafe { IoDeleteDevice(device) };
    }
}

struct Sessions;

/// The session of a handle, which `open` put there.
///
/// # Safety
///
/// `irp` is a request for a file object that `Sessions::open` has seen and `Sessions::close` has not.
unsafe fn session(irp: &Irp) -> Result<&Session> {
    // SAFETY: The request keeps its file object.
    let context = unsafe { (*irp.file()).FsContext };
    // SAFETY: A session lives until `close`, which comes after the last request.
    unsafe { context.cast::<Session>().as_ref() }.ok_or(STATUS_INVALID_PARAMETER)
}

impl Commands for Sessions {
    fn lengths(code: u32) -> Option<(RangeInclusive<usize>, usize)> {
        exchange_ioctl::lengths(code)
    }

    unsafe fn open(_device: PDEVICE_OBJECT, irp: &Irp) -> Result {
        let session = NonPaged::try_new(Session::new(), TAG_SESSION)?;
        // SAFETY: At its final place in nonpaged pool, and known to nobody.
        unsafe { session.initialise() };
        // SAFETY: The file object is being opened: only this routine knows it.
        let file = unsafe { &mut *irp.file() };
        file.FsContext = session.into_raw().as_ptr().cast();
        Ok(())
    }

    unsafe fn close(_device: PDEVICE_OBJECT, irp: &Irp) {
        // SAFETY: The file object goes: nobody else uses it any more.
        let file = unsafe { &mut *irp.file() };
        let context = core::mem::replace(&mut file.FsContext, core::ptr::null_mut());
        if let Some(session) = NonNull::new(context.cast::<Session>()) {
            // SAFETY: Put there by `open`, taken away here.
            let session = unsafe { NonPaged::from_raw(session, TAG_SESSION) };
            if session.close().is_err() {
                // What the engine refuses to take down stays visible as a leak.
                session.leak();
            }
        }
    }

    unsafe fn execute(
        _device: PDEVICE_OBJECT,
        irp: &Irp,
        code: u32,
        input: &[u8],
        mut output: Output,
    ) -> Result<usize> {
        // SAFETY: A device-control request: its handle was opened.
        let session = unsafe { session(irp) }?;
        let output = output.as_mut();
        match code {
            code::OPEN => {
                let open = Open::decode(input).ok_or(STATUS_INVALID_PARAMETER)?;
                if open.room > MOST_ROOM {
                    return Err(STATUS_INVALID_PARAMETER);
                }
                write(output, &status(session.open(&open)?))
            }
            code::ANSWER => {
                let answer = Answer::decode(input).ok_or(STATUS_INVALID_PARAMETER)?;
                session.record.set_answer(answer);
                Ok(0)
            }
            code::SEND => {
                let (how, bytes) = How::split(input).ok_or(STATUS_INVALID_PARAMETER)?;
                write(output, &status(session.send(how, bytes)?))
            }
            code::WAIT => {
                let wait = Wait::decode(input).ok_or(STATUS_INVALID_PARAMETER)?;
                session.record.wait(&wait).map(|()| 0)
            }
            code::EVENTS => Ok(session.record.copy_events(output)),
            code::BYTES => {
                let offset = input.try_into().map_err(|_| STATUS_INVALID_PARAMETER)?;
                let offset = u32::from_le_bytes(offset) as usize;
                Ok(session.record.copy_bytes(offset, output))
            }
            code::DISCONNECT => write(output, &status(session.disconnect())),
            code::CLOSE => write(output, &session.close()?.encode()),
            _ => Err(STATUS_INVALID_DEVICE_REQUEST),
        }
    }
}

fn write(output: &mut [u8], bytes: &[u8]) -> Result<usize> {
    let place = output
        .get_mut(..bytes.len())
        .ok_or(STATUS_BUFFER_TOO_SMALL)?;
    place.copy_from_slice(bytes);
    Ok(bytes.len())
}
