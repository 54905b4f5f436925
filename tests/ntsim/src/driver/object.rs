//! Driver objects and registry paths.

use crate::gate::{self, Call, IrqlRule, Routine};
use crate::image::Image;
use crate::io::{complete, status};
use crate::layout::io::{DriverObject, IO_TYPE_DRIVER, Irp};
use crate::mem::{poke, write_bytes};
use crate::ob::{self, ObjectKind};
use crate::pool;
use crate::stop::Stop;
use std::collections::HashMap;

use parking_lot::Mutex;

/// Routines of this module.
pub const ROUTINES: &[Routine] = &[Routine {
    name: "IopInvalidDeviceRequest",
    args: 2,
    irql: IrqlRule::Max(2, Stop::io(0x12)),
    run: invalid_device_request,
}];

/// What the dispatch table points at until a driver sets its own routine ("DRIVER_OBJECT": the default completes the
/// request with STATUS_INVALID_DEVICE_REQUEST).
fn invalid_device_request(call: &Call) -> u64 {
    complete::complete_with(Irp(call.addr(1)), status::INVALID_DEVICE_REQUEST, 0);
    u64::from(status::INVALID_DEVICE_REQUEST.cast_unsigned())
}

/// Tag of what the kernel allocates for driver objects.
const TAG: u32 = u32::from_le_bytes(*b"Driv");
const EXTENSION_BYTES: usize = 0x50;
/// `DRVO_INITIALIZED`.
const INITIALIZED: u32 = 0x10;

/// Service name: the file name without its ending.
fn service(image: &Image) -> &str {
    image
        .name
        .rsplit_once('.')
        .map_or(image.name.as_str(), |(name, _)| name)
}

/// Makes the driver object of an image.
pub(super) fn create(image: &Image) -> usize {
    let name = format!("\\Driver\\{}", service(image));
    let object = DriverObject(ob::create(
        ObjectKind::Driver,
        DriverObject::SIZE,
        Some(name.clone()),
    ));
    object.kind().set(IO_TYPE_DRIVER);
    object
        .size()
        .set(i16::try_from(DriverObject::SIZE).unwrap_or(0));
    object.start().set(image.base);
    object
        .image_size()
        .set(u32::try_from(image.bytes).unwrap_or(0));
    object.init().set(image.entry);
    let invalid = gate::import("IopInvalidDeviceRequest").unwrap_or(0);
    object.major().set([invalid; 28]);
    let extension = pool::alloc_internal(EXTENSION_BYTES, TAG, 0);
    poke(extension, object.0);
    write_string(extension + 0x18, service(image));
    object.extension().set(extension);
    write_string(object.name().address(), &name);
    image.set_driver_object(object.0);
    object.0
}

/// Marks a driver object after a successful `DriverEntry`.
pub(super) fn initialised(object: usize) {
    let flags = DriverObject(object).flags();
    flags.set(flags.get() | INITIALIZED);
}

/// Deletes the driver object.
pub(super) fn delete(image: &Image, object: usize) {
    let view = DriverObject(object);
    pool::free_internal(view.extension().get());
    image.set_driver_object(0);
    ob::dereference(object, 0);
}

/// The address of a `UNICODE_STRING` with the path of the driver's service key; one per image, for the life of the process.
pub(super) fn registry_path(image: &Image) -> usize {
    static PATHS: Mutex<Option<HashMap<u32, usize>>> = Mutex::new(None);
    *PATHS
        .lock()
        .get_or_insert_default()
        .entry(image.id)
        .or_insert_with(|| {
            let string = crate::arena::alloc(16, crate::arena::Kind::Object);
            write_string(
                string,
                &format!(
                    "\\REGISTRY\\MACHINE\\SYSTEM\\CurrentControlSet\\Services\\{}",
                    service(image)
                ),
            );
            string
        })
}

/// Writes a `UNICODE_STRING` at an address, with a terminated buffer of its own that lives for ever.
fn write_string(at: usize, text: &str) {
    let bytes: Vec<u8> = text
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let buffer = crate::arena::alloc(bytes.len(), crate::arena::Kind::Object);
    write_bytes(buffer, &bytes);
    let maximum = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    poke(at, maximum - 2);
    poke(at + 2, maximum);
    poke(at + 8, buffer);
}
