//! The names of the devices that drivers have created, so that drivers can open them.

use core::{
    cell::UnsafeCell,
    ptr, slice,
    sync::atomic::{AtomicBool, Ordering},
};

use wdk_sys::{
    BOOLEAN, DEVICE_OBJECT, NTSTATUS, PDEVICE_OBJECT, PDRIVER_OBJECT, PFILE_OBJECT,
    PUNICODE_STRING, ULONG, UNICODE_STRING, ntddk,
};

/// More devices than a test has.
const MOST: usize = 128;
/// Longer than a name of theirs.
const LENGTH: usize = 64;

#[derive(Clone, Copy)]
struct Named {
    device: PDEVICE_OBJECT,
    name: [u16; LENGTH],
    length: usize,
}

/// Under [`LOCK`].
struct Table(UnsafeCell<[Named; MOST]>);

// SAFETY: Only reached under the lock.
unsafe impl Sync for Table {}

static DEVICES: Table = Table(UnsafeCell::new(
    [Named {
        device: ptr::null_mut(),
        name: [0; LENGTH],
        length: 0,
    }; MOST],
));
static LOCK: AtomicBool = AtomicBool::new(false);

/// Runs `body` on the table, alone.
fn table<R>(body: impl FnOnce(&mut [Named; MOST]) -> R) -> R {
    while LOCK.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    // SAFETY: Nobody else has the lock.
    let result = body(unsafe { &mut *DEVICES.0.get() });
    LOCK.store(false, Ordering::Release);
    result
}

/// The units of a counted string.
///
/// # Safety
///
/// The string is valid for as long as the result is used.
pub(crate) unsafe fn units<'a>(string: &UNICODE_STRING) -> &'a [u16] {
    if string.Buffer.is_null() {
        return &[];
    }
    // SAFETY: Forwarded.
    unsafe { slice::from_raw_parts(string.Buffer, usize::from(string.Length / 2)) }
}

const fn folded(unit: u16) -> u16 {
    match unit {
        0x61..=0x7A => unit - 0x20,
        other => other,
    }
}

fn begins(whole: &[u16], start: &[u16]) -> bool {
    whole.len() >= start.len()
        && whole
            .iter()
            .zip(start)
            .all(|(one, other)| folded(*one) == folded(*other))
}

/// The device that `name` begins with, up to its end or to a backslash, and the number of units that it takes.
pub(crate) fn find(name: &[u16]) -> Option<(*mut DEVICE_OBJECT, usize)> {
    const BACKSLASH: u16 = b'\\' as u16;
    table(|devices| {
        devices
            .iter()
            .filter(|known| known.length > 0)
            .find(|known| {
                let own = known.name.get(..known.length).unwrap_or_default();
                begins(name, own) && name.get(known.length).is_none_or(|&unit| unit == BACKSLASH)
            })
            .map(|known| (known.device, known.length))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_IoCreateDevice(
    driver: PDRIVER_OBJECT,
    extension: ULONG,
    name: PUNICODE_STRING,
    kind: ULONG,
    characteristics: ULONG,
    exclusive: BOOLEAN,
    device: *mut PDEVICE_OBJECT,
) -> NTSTATUS {
    // SAFETY: Forwarded.
    let status = unsafe {
        ntddk::IoCreateDevice(
            driver,
            extension,
            name,
            kind,
            characteristics,
            exclusive,
            device,
        )
    };
    if status < 0 || name.is_null() {
        return status;
    }
    // SAFETY: The caller's string.
    let name = unsafe { &*name };
    // SAFETY: As above.
    let text = unsafe { units(name) };
    // SAFETY: Written by the successful call.
    let created = unsafe { *device };
    table(|devices| {
        let free = devices.iter_mut().find(|known| known.length == 0);
        if let (Some(entry), true) = (free, text.len() <= LENGTH) {
            entry.device = created;
            entry.length = text.len();
            for (to, from) in entry.name.iter_mut().zip(text) {
                *to = *from;
            }
        }
    });
    status
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_IoDeleteDevice(device: PDEVICE_OBJECT) {
    table(|devices| {
        for known in devices.iter_mut().filter(|known| known.device == device) {
            known.device = ptr::null_mut();
            known.length = 0;
        }
    });
    // SAFETY: Forwarded.
    unsafe { ntddk::IoDeleteDevice(device) };
}

/// The top of a device's stack.
///
/// # Safety
///
/// The device lives.
pub(crate) unsafe fn top(device: PDEVICE_OBJECT) -> PDEVICE_OBJECT {
    // SAFETY: Forwarded.
    let attached = unsafe { (*device).AttachedDevice };
    if attached.is_null() {
        device
    } else {
        // SAFETY: An attached device lives as long.
        unsafe { top(attached) }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_IoGetRelatedDeviceObject(file: PFILE_OBJECT) -> PDEVICE_OBJECT {
    // SAFETY: The caller has a reference on the file.
    let device = unsafe { (*file).DeviceObject };
    // SAFETY: An open file keeps its device.
    unsafe { top(device) }
}
