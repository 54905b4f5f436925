//! The scripted TDI transport: one device per personality, every request decided by a script, everything logged.
//!
//! It behaves as tdi.md §12 asks of a stub: it completes inline, later or only when told to (by an ABORT, a cancel, or
//! the close of the handle), calls any handler at a chosen moment, and checks each request it is given. Data flows
//! `dispatch` → `state` → `complete`; `indicate` calls the client's handlers.

mod check;
mod complete;
mod create;
mod dispatch;
pub(crate) mod fault;
pub(crate) mod hostile;
mod indicate;
mod kinds;
mod look;
mod query;
pub(crate) mod state;

use alloc::format;
use core::ptr;

use wdk_sys::{
    DEVICE_OBJECT, DO_DEVICE_INITIALIZING, NTSTATUS, PDEVICE_OBJECT, PDRIVER_OBJECT, ntddk,
};

pub(crate) use complete::{
    complete, complete_datagram, complete_on, complete_query, complete_with_data, end_all,
};
pub(crate) use dispatch::dispatch;
pub(crate) use indicate::{
    Chain, Indication, chained, datagram, disconnect, error, expedited, receive, receive_from,
    send_possible,
};
pub(crate) use kinds::{Ends, FileKind, Kind, Personality, Script};
pub(crate) use query::{Provider, answer_queries};
pub(crate) use state::{Record, TRANSPORT};

use crate::nt::unicode::Unicode;

/// Device names, by personality.
pub(crate) fn device_name(personality: Personality) -> Unicode {
    Unicode::new(&format!(r"\Device\ConformTdi{personality:?}"))
}

/// Creates the devices. On failure some may exist: unloading deletes all devices of the driver.
pub(crate) fn create_devices(driver: PDRIVER_OBJECT) -> Result<(), NTSTATUS> {
    for personality in Personality::ALL {
        let name = device_name(personality);
        let mut device: PDEVICE_OBJECT = ptr::null_mut();
        // SAFETY: `driver` is this driver's object, during its DriverEntry; the name lives for the call.
        let created = unsafe {
            ntddk::IoCreateDevice(
                driver,
                u32::try_from(size_of::<Extension>()).unwrap_or_default(),
                name.borrow().as_mut_ptr(),
                // FILE_DEVICE_TRANSPORT (tdi.md §1).
                0x21,
                0,
                0,
                &raw mut device,
            )
        };
        if created < 0 {
            return Err(created);
        }
        // SAFETY: The device was created with room for the extension and nobody uses it yet.
        let device: &mut DEVICE_OBJECT = unsafe { &mut *device };
        // SAFETY: As above.
        unsafe {
            device.DeviceExtension.cast::<Extension>().write(Extension {
                magic: MAGIC,
                personality,
            })
        };
        device.Flags &= !DO_DEVICE_INITIALIZING;
    }
    Ok(())
}

const MAGIC: u32 = u32::from_le_bytes(*b"Ctdi");

/// Device extension of a transport device. The control device has none.
#[repr(C)]
struct Extension {
    magic: u32,
    personality: Personality,
}

/// The personality of a device, if it is one of the transport's.
///
/// # Safety
///
/// `device` is a device of this driver.
pub(crate) unsafe fn personality(device: PDEVICE_OBJECT) -> Option<Personality> {
    // SAFETY: Valid by this function's contract.
    let extension = unsafe { (*device).DeviceExtension.cast::<Extension>() };
    // SAFETY: A non-null extension of this driver's is an `Extension`, written before the first open.
    let extension = unsafe { extension.as_ref() }?;
    (extension.magic == MAGIC).then_some(extension.personality)
}
