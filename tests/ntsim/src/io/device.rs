//! Device objects, of driver images and of the host, their names, and device stacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::status;
use crate::account::{self, Resource};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::layout::io::{
    DO_DEVICE_HAS_NAME, DO_DEVICE_INITIALIZING, DO_EXCLUSIVE, Device, DriverObject, FileObject,
    IO_TYPE_DEVICE, IO_TYPE_DRIVER, Irp,
};
use crate::layout::ke::UnicodeString;
use crate::mem::poke;
use crate::ob::{self, ObjectKind, handle, namespace};
use crate::own::{self, Own};
use crate::stop::{self, Stop};
use crate::tables::Places;
use crate::trace::{self, EventKind};

const CREATE: IrqlRule = IrqlRule::Max(PASSIVE_LEVEL, Stop::verifier(0x2000a));
const DELETE: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0x20009));
const LINK: IrqlRule = IrqlRule::Max(PASSIVE_LEVEL, Stop::verifier(0x2000d));
const POINTER: IrqlRule = IrqlRule::PassiveWithApcs(Stop::verifier(0x2000c));
const RULE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "IoCreateDevice",
        args: 7,
        irql: CREATE,
        run: create,
    },
    Routine {
        name: "IoDeleteDevice",
        args: 1,
        irql: DELETE,
        run: delete,
    },
    Routine {
        name: "IoCreateSymbolicLink",
        args: 2,
        irql: LINK,
        run: create_link,
    },
    Routine {
        name: "IoCreateUnprotectedSymbolicLink",
        args: 2,
        irql: LINK,
        run: create_link,
    },
    Routine {
        name: "IoDeleteSymbolicLink",
        args: 1,
        irql: LINK,
        run: delete_link,
    },
    Routine {
        name: "IoGetDeviceObjectPointer",
        args: 4,
        irql: POINTER,
        run: object_pointer,
    },
    Routine {
        name: "IoGetRelatedDeviceObject",
        args: 1,
        irql: RULE,
        run: related,
    },
    Routine {
        name: "IoGetAttachedDevice",
        args: 1,
        irql: RULE,
        run: |call| top(Device(call.addr(0))).0 as u64,
    },
    Routine {
        name: "IoGetAttachedDeviceReference",
        args: 1,
        irql: RULE,
        run: attached_reference,
    },
    Routine {
        name: "IoAttachDeviceToDeviceStack",
        args: 2,
        irql: RULE,
        run: attach,
    },
    Routine {
        name: "IoDetachDevice",
        args: 1,
        irql: IrqlRule::Max(APC_LEVEL, Stop::verifier(0x20009)),
        run: detach,
    },
    Routine {
        name: "IoRegisterShutdownNotification",
        args: 1,
        irql: LINK,
        run: |_| 0,
    },
    Routine {
        name: "IoUnregisterShutdownNotification",
        args: 1,
        irql: LINK,
        run: |_| 0,
    },
];

/// A driver written in the host: a transport, for instance.
pub trait HostDriver: Send + Sync {
    /// Handles an IRP like a dispatch routine: completes it, or marks it pending and returns STATUS_PENDING.
    fn dispatch(&self, device: Device, irp: Irp) -> i32;
}

/// What is known about the device at an address.
#[derive(Default)]
pub(crate) struct Known {
    /// Whether there is one.
    alive: AtomicBool,
    deleted: AtomicBool,
    is_host: AtomicBool,
    host: Mutex<Option<Arc<dyn HostDriver>>>,
}

impl Known {
    /// Whether its driver is host code.
    pub(crate) fn is_host(&self) -> bool {
        self.is_host.load(Ordering::Acquire)
    }

    /// The host driver, if it has one.
    pub(crate) fn host(&self) -> Option<Arc<dyn HostDriver>> {
        if !self.is_host() {
            return None;
        }
        self.host.lock().clone()
    }
}

static DEVICES: Places<Known, 256> = Places::new();

/// The live device object at an address.
pub(crate) fn find(device: Device) -> Option<&'static Known> {
    DEVICES
        .find(device.0)
        .filter(|known| known.alive.load(Ordering::Acquire))
}

/// Whether this is a live device object.
pub fn is_device(device: Device) -> bool {
    find(device).is_some()
}

/// The name of a device for people.
pub fn name(device: Device) -> String {
    ob::name(device.0)
}

/// The text of a UNICODE_STRING parameter.
fn string(address: usize) -> String {
    if address == 0 {
        String::new()
    } else {
        UnicodeString(address).text()
    }
}

fn make(
    driver: DriverObject,
    extension: usize,
    name: &str,
    host: Option<Arc<dyn HostDriver>>,
) -> Device {
    let label = (!name.is_empty()).then(|| name.to_owned());
    let size = (Device::SIZE + extension).next_multiple_of(16);
    let device = Device(ob::create(ObjectKind::Device, size, label));
    device.kind().set(IO_TYPE_DEVICE);
    device.size().set(u16::try_from(size).unwrap_or(u16::MAX));
    device.driver().set(driver.0);
    device.extension().set(if extension == 0 {
        0
    } else {
        device.0 + Device::SIZE
    });
    device.stack_size().set(1);
    device.next().set(driver.device().get());
    driver.device().set(device.0);
    let known = DEVICES.at(device.0);
    known.is_host.store(host.is_some(), Ordering::Release);
    *known.host.lock() = host;
    known.deleted.store(false, Ordering::Release);
    known.alive.store(true, Ordering::Release);
    device
}

fn create(call: &Call) -> u64 {
    let name = string(call.addr(2));
    if fault::should_fail(call, FaultKind::Object) {
        return u64::from(status::INSUFFICIENT_RESOURCES.cast_unsigned());
    }
    let wanted = Wanted {
        driver: DriverObject(call.addr(0)),
        extension: call.u32(1) as usize,
        name: &name,
        device_type: call.u32(3),
        characteristics: call.u32(4),
        exclusive: call.u8(5) != 0,
    };
    match create_for(&wanted, call.caller()) {
        Ok(device) => {
            poke(call.addr(6), device.0);
            0
        }
        Err(status) => u64::from(status.cast_unsigned()),
    }
}

/// A device that a driver wants.
pub(crate) struct Wanted<'a> {
    pub(crate) driver: DriverObject,
    pub(crate) extension: usize,
    pub(crate) name: &'a str,
    pub(crate) device_type: u32,
    pub(crate) characteristics: u32,
    pub(crate) exclusive: bool,
}

/// Makes a device for driver code at `caller`: IoCreateDevice without its faults.
pub(crate) fn create_for(wanted: &Wanted, caller: usize) -> Result<Device, i32> {
    let name = wanted.name;
    if !name.is_empty() && namespace::resolve(name).is_some_and(|(_, rest)| rest.is_empty()) {
        return Err(status::OBJECT_NAME_COLLISION);
    }
    let device = make(wanted.driver, wanted.extension, name, None);
    device.device_type().set(wanted.device_type);
    device.characteristics().set(wanted.characteristics);
    let exclusive = if wanted.exclusive { DO_EXCLUSIVE } else { 0 };
    let named = if name.is_empty() {
        0
    } else {
        DO_DEVICE_HAS_NAME
    };
    device
        .flags()
        .set(DO_DEVICE_INITIALIZING | exclusive | named);
    if !name.is_empty() {
        namespace::insert_object(name, device.0);
    }
    account::track(
        Resource::Device,
        device.0 as u64,
        caller,
        format!("device {name}"),
    );
    trace::event(EventKind::Object, caller, || {
        format!("device {name} created")
    });
    Ok(device)
}

/// Makes a device whose driver is host code.
pub fn create_host(
    name: &str,
    device_type: u32,
    stack_size: i8,
    host: Arc<dyn HostDriver>,
) -> Device {
    let driver = DriverObject(ob::create(
        ObjectKind::Driver,
        DriverObject::SIZE,
        Some(format!("host driver of {name}")),
    ));
    driver.kind().set(IO_TYPE_DRIVER);
    driver.size().set(0x150);
    let device = make(driver, 0, name, Some(host));
    device.device_type().set(device_type);
    device.stack_size().set(stack_size);
    device.flags().set(DO_DEVICE_HAS_NAME);
    namespace::insert_object(name, device.0);
    device
}

/// After DriverEntry the I/O manager clears DO_DEVICE_INITIALIZING of the devices made there.
pub fn initialized(driver: DriverObject) {
    let mut device = driver.device().get();
    while device != 0 {
        let view = Device(device);
        view.flags()
            .set(view.flags().get() & !DO_DEVICE_INITIALIZING);
        device = view.next().get();
    }
}

fn delete(call: &Call) -> u64 {
    delete_for(Device(call.addr(0)), call.caller());
    0
}

/// Deletes a device for driver code at `caller`: IoDeleteDevice.
pub(crate) fn delete_for(device: Device, caller: usize) {
    let first = find(device).is_some_and(|known| !known.deleted.swap(true, Ordering::AcqRel));
    if !first {
        let text = format!(
            "IoDeleteDevice of {:#x}, which is deleted already or no device",
            device.0
        );
        stop::violation(Stop::io(0x240), [device.0 as u64, 0, 0], text);
    }
    namespace::remove_object(device.0);
    account::untrack(Resource::Device, device.0 as u64, caller);
    let driver = DriverObject(device.driver().get());
    let mut link = driver.device();
    while link.get() != 0 && link.get() != device.0 {
        link = Device(link.get()).next();
    }
    if link.get() == device.0 {
        link.set(device.next().get());
    }
    trace::event(EventKind::Object, caller, || {
        format!("device {} deleted", name(device))
    });
    // Open file objects keep a reference: the memory goes with the last of them.
    ob::dereference(device.0, 0);
}

/// The last reference of a device object is gone.
pub(crate) fn deleted(device: usize) {
    if let Some(known) = find(Device(device)) {
        known.alive.store(false, Ordering::Release);
        drop(known.host.lock().take());
    }
}

/// The device at the top of the stack over this one.
pub fn top(mut device: Device) -> Device {
    while device.attached().get() != 0 {
        device = Device(device.attached().get());
    }
    device
}

fn related(call: &Call) -> u64 {
    let file = FileObject(call.addr(0));
    if ob::kind(file.0) != Some(ObjectKind::File) {
        let text = format!(
            "IoGetRelatedDeviceObject: {:#x} is not a file object",
            file.0
        );
        own::violation(Own::Object, [file.0 as u64, 0, 0], text);
    }
    top(Device(file.device().get())).0 as u64
}

fn attached_reference(call: &Call) -> u64 {
    let device = top(Device(call.addr(0)));
    ob::reference(device.0, call.caller());
    device.0 as u64
}

fn attach(call: &Call) -> u64 {
    let (source, target) = (Device(call.addr(0)), top(Device(call.addr(1))));
    source.stack_size().set(target.stack_size().get() + 1);
    target.attached().set(source.0);
    target.0 as u64
}

fn detach(call: &Call) -> u64 {
    Device(call.addr(0)).attached().set(0);
    0
}

fn create_link(call: &Call) -> u64 {
    let (name, target) = (string(call.addr(0)), string(call.addr(1)));
    if fault::should_fail(call, FaultKind::Object) {
        return u64::from(status::INSUFFICIENT_RESOURCES.cast_unsigned());
    }
    if !namespace::insert_link(&name, &target) {
        return u64::from(status::OBJECT_NAME_COLLISION.cast_unsigned());
    }
    account::track(
        Resource::SymbolicLink,
        key(&name),
        call.caller(),
        format!("{name} → {target}"),
    );
    0
}

fn delete_link(call: &Call) -> u64 {
    let name = string(call.addr(0));
    if !namespace::remove_link(&name) {
        return u64::from(status::OBJECT_NAME_NOT_FOUND.cast_unsigned());
    }
    account::untrack(Resource::SymbolicLink, key(&name), call.caller());
    0
}

/// A number for a name, for the account.
fn key(name: &str) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    name.to_lowercase().hash(&mut hasher);
    hasher.finish()
}

/// IoGetDeviceObjectPointer: opens the device, references its file object for the caller, closes the handle.
fn object_pointer(call: &Call) -> u64 {
    let opened = super::create::open(&super::create::Open::kernel(&string(call.addr(0))));
    match opened {
        Ok(file) => {
            ob::reference(file, call.caller());
            poke(call.addr(2), file);
            poke(call.addr(3), top(Device(FileObject(file).device().get())).0);
            handle::close(handle::open(file, true, 0));
            ob::dereference(file, 0);
            0
        }
        Err(status) => u64::from(status.cast_unsigned()),
    }
}
