//! The image's entry points: as a service of its own, and as a library that other drivers import.
//!
//! A service gets `DriverEntry` and, at its end, the unload routine; an image that is loaded for a client's imports gets
//! `DllInitialize` and `DllUnload`. The engine starts with whichever entry runs first and ends with the last one. The
//! system serialises these calls for one image.

use core::sync::atomic::{AtomicU32, Ordering};

use rxce_engine::Error;
use wdk_sys::{
    DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING, PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS,
};

use crate::{
    connection, exports,
    nt::{device, handle_thread::HANDLE_THREAD, irql::Pageable, processors},
    tdi::IN_FLIGHT,
};

/// An absolute address, so that the image has a relocation table: without one, Windows loads it at its preferred address
/// or not at all, and release code alone needs none.
static ANCHOR: unsafe extern "C" fn(PDRIVER_OBJECT) = unload;

/// How many of the two ways in are in use.
static ENTRIES: AtomicU32 = AtomicU32::new(0);

/// The tag of the engine-wide rundown protection.
const RUNDOWN_TAG: u32 = u32::from_le_bytes(*b"RxGr");

/// Starts the driver as a service.
///
/// # Safety
///
/// Called by the I/O manager, at `PASSIVE_LEVEL`.
#[unsafe(export_name = "DriverEntry")]
pub(crate) unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: The I/O manager hands in the driver object, exclusively until this routine returns.
    let driver: &mut DRIVER_OBJECT = unsafe { &mut *driver };
    if let Err(error) = start() {
        return failure(error);
    }
    if let Err(error) = device::create(driver, Some(internal_control)) {
        end();
        return failure(error);
    }
    // SAFETY: The static is initialised. The volatile read keeps it in the image.
    driver.DriverUnload = Some(unsafe { (&raw const ANCHOR).read_volatile() });
    STATUS_SUCCESS
}

/// Other drivers ask for the table of routines.
unsafe extern "C" fn internal_control(_device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    let answer = |code, output, length| {
        // SAFETY: Only drivers can send such a request, and their buffers are as long as they say.
        unsafe { exports::answer_internal(code, output, length) }
    };
    // SAFETY: The I/O manager hands the packet over.
    unsafe { device::answer_internal(irp, answer) }
}

unsafe extern "C" fn unload(_driver: PDRIVER_OBJECT) {
    device::delete();
    end();
}

/// Starts the engine in an image that was loaded for its exports.
///
/// # Safety
///
/// Called by the system's loader, at `PASSIVE_LEVEL`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn DllInitialize(_registry_path: PCUNICODE_STRING) -> NTSTATUS {
    match start() {
        Ok(()) => {
            device::enter_library();
            STATUS_SUCCESS
        }
        Err(error) => failure(error),
    }
}

/// Ends the engine when the last importer has gone.
///
/// # Safety
///
/// Called by the system's loader, at `PASSIVE_LEVEL`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn DllUnload() -> NTSTATUS {
    device::leave_library();
    end();
    STATUS_SUCCESS
}

fn start() -> Result<(), Error> {
    if ENTRIES.load(Ordering::Acquire) == 0 {
        // SAFETY: The entry points are serialised, and this is the first.
        unsafe { HANDLE_THREAD.start() }?;
        if let Err(error) = IN_FLIGHT.create(RUNDOWN_TAG) {
            // SAFETY: As above; nobody has used the thread.
            unsafe { HANDLE_THREAD.stop() };
            return Err(error);
        }
    }
    ENTRIES.fetch_add(1, Ordering::AcqRel);
    Ok(())
}

fn end() {
    if ENTRIES.fetch_sub(1, Ordering::AcqRel) != 1 {
        return;
    }
    // SAFETY: The system unloads drivers at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    IN_FLIGHT.destroy(&at);
    // The last instructions of a completion routine come after its release, at DISPATCH_LEVEL on some processor.
    processors::visit_all();
    // SAFETY: The entry points are serialised, and no client calls the engine any more.
    unsafe { HANDLE_THREAD.stop() };
    // SAFETY: As above: no structure is built.
    unsafe { connection::end() };
}

const fn failure(error: Error) -> NTSTATUS {
    match error {
        Error::Transport(status) => status,
        _ => STATUS_INSUFFICIENT_RESOURCES,
    }
}
