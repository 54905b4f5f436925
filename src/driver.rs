//! The image's entry points: as a service of its own, and as a library that other drivers import.
//!
//! A service gets `DriverEntry` and, at its end, the unload routine; an image that is loaded for a client's imports gets
//! `DllInitialize` and `DllUnload`. The engine starts with whichever entry runs first and ends with the last one. The
//! system serialises these calls for one image.

use core::sync::atomic::{AtomicU32, Ordering};

use rxce_engine::{Error, mutant};
use wdk_sys::{
    DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING, PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP, STATUS_SUCCESS,
};

#[cfg(feature = "redirector")]
use crate::rdbss;
use crate::{
    connection, exports,
    nt::{device, handle_thread::HANDLE_THREAD, irql::Pageable, processors},
    status,
    tdi::IN_FLIGHT,
    trace,
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
    registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: The I/O manager hands in the driver object, exclusively until this routine returns.
    let driver: &mut DRIVER_OBJECT = unsafe { &mut *driver };
    if let Err(error) = start() {
        return status::of(error);
    }
    if let Err(error) = offer_device(driver, registry_path) {
        end();
        return status::of(error);
    }
    // SAFETY: The static is initialised. The volatile read keeps it in the image.
    driver.DriverUnload = Some(unsafe { (&raw const ANCHOR).read_volatile() });
    STATUS_SUCCESS
}

/// Registers with RDBSS, which creates the device.
#[cfg(feature = "redirector")]
fn offer_device(driver: &mut DRIVER_OBJECT, registry_path: PCUNICODE_STRING) -> Result<(), Error> {
    rdbss::register(driver, registry_path, Some(internal_control))
}

/// Creates the device.
#[cfg(not(feature = "redirector"))]
fn offer_device(driver: &mut DRIVER_OBJECT, _: PCUNICODE_STRING) -> Result<(), Error> {
    device::create(driver, Some(internal_control))
}

/// Other drivers ask for the table of routines; anything else is RDBSS's, if it is there.
unsafe extern "C" fn internal_control(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    #[cfg(not(feature = "redirector"))]
    let _ = device;
    #[cfg(feature = "redirector")]
    {
        // SAFETY: The I/O manager hands the packet over.
        if !exports::answers_internal(unsafe { device::internal_code(irp) }) {
            // SAFETY: As above; it goes on whole.
            return unsafe { rdbss::pass_on(device, irp) };
        }
    }
    let answer = |code, output, length| {
        // SAFETY: Only drivers can send such a request, and their buffers are as long as they say.
        unsafe { exports::answer_internal(code, output, length) }
    };
    // SAFETY: The I/O manager hands the packet over.
    unsafe { device::answer_internal(irp, answer) }
}

unsafe extern "C" fn unload(driver: PDRIVER_OBJECT) {
    withdraw_device(driver);
    end();
}

/// Ends the registration with RDBSS, and with it the device.
#[cfg(feature = "redirector")]
fn withdraw_device(driver: PDRIVER_OBJECT) {
    rdbss::unregister(driver);
}

/// Deletes the device.
#[cfg(not(feature = "redirector"))]
fn withdraw_device(_: PDRIVER_OBJECT) {
    device::delete();
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
        Err(error) => status::of(error),
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
        // SAFETY: The entry points are serialised, and `end` stops it.
        unsafe { trace::start() };
        connection::keep_for_debuggers();
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
    if !mutant!(UnloadWithoutVisit) {
        processors::visit_all();
    }
    // SAFETY: The entry points are serialised, and no client calls the engine any more.
    unsafe { HANDLE_THREAD.stop() };
    // SAFETY: As above: no structure is built.
    unsafe { connection::end() };
    // SAFETY: As above: nothing is left that could have an event.
    unsafe { trace::stop() };
}

/// Plants the defect with this number, before the driver is started; 0 plants none. Returns 1 if there is such a number.
///
/// # Safety
///
/// None.
#[cfg(feature = "mutants")]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn RxcexSelectMutant(number: u32) -> u32 {
    rxce_engine::mutants::select(number).into()
}
