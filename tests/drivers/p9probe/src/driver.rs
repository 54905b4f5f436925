//! Entry, unload, and the control device with the one session it can have.

use core::{
    cell::UnsafeCell,
    ops::RangeInclusive,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use client_nt::{
    control::{Commands, Output, create_device},
    event::Event,
    irp::Irp,
    spin_lock::SpinLock,
    unicode,
};
use wdk_sys::{
    FILE_OBJECT, NTSTATUS, PCUNICODE_STRING, PDEVICE_OBJECT, PDRIVER_OBJECT, PFILE_OBJECT,
    STATUS_CANCELLED, STATUS_SUCCESS,
    ntddk::{IoDeleteDevice, IoDeleteSymbolicLink},
};

use crate::{client::Client, command, link::Link, status::Result};

#[expect(clippy::cast_possible_truncation, reason = "a few dozen bytes")]
const EXTENSION_LEN: u32 = size_of::<Device>() as u32;

/// The control device's extension.
pub(crate) struct Device {
    /// Signalled while nobody uses `client`.
    free: Event,
    client: UnsafeCell<Option<Client>>,
    /// The file object whose handle connected; null while there is no session.
    owner: AtomicPtr<FILE_OBJECT>,
    /// The link of the session, for those who want to interrupt it.
    current: SpinLock<Option<Published>>,
}

// SAFETY: `client` is used only between taking and giving back `free`.
unsafe impl Sync for Device {}

struct Published(NonNull<Link>);

// SAFETY: A link is shared by design; it outlives its publication.
unsafe impl Send for Published {}

impl Device {
    /// The extension of our device.
    ///
    /// # Safety
    ///
    /// `device` is the device which [`DriverEntry`] created, and still exists.
    pub(crate) unsafe fn of<'a>(device: PDEVICE_OBJECT) -> &'a Self {
        // SAFETY: Forwarded from this function's `# Safety` section.
        let extension = unsafe { (*device).DeviceExtension };
        // SAFETY: `create_device` put a `Device` there.
        unsafe { &*extension.cast::<Self>() }
    }

    /// Waits for its turn and uses the session.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) fn with_client<T>(&self, work: impl FnOnce(&mut Option<Client>) -> T) -> T {
        self.free.wait();
        // SAFETY: One thread at a time comes past the event, until it sets it again.
        let result = work(unsafe { &mut *self.client.get() });
        self.free.set();
        result
    }

    /// Notes whose the session is.
    pub(crate) fn give_to(&self, file: PFILE_OBJECT) {
        self.owner.store(file, Ordering::Release);
    }

    /// Whether the session is this file object's.
    pub(crate) fn belongs_to(&self, file: PFILE_OBJECT) -> bool {
        !file.is_null() && self.owner.load(Ordering::Acquire) == file
    }

    /// Lets [`Self::interrupt`] reach a link; [`Self::withdraw`] must come before the link goes.
    pub(crate) fn publish(&self, link: NonNull<Link>) {
        *self.current.lock() = Some(Published(link));
    }

    /// Ends what [`Self::publish`] began.
    pub(crate) fn withdraw(&self) {
        *self.current.lock() = None;
    }

    /// Fails the request that waits for the server, and all that follow.
    pub(crate) fn interrupt(&self) {
        if let Some(Published(link)) = &*self.current.lock() {
            // SAFETY: Withdrawn under this lock before the link goes.
            unsafe { link.as_ref() }.fail(STATUS_CANCELLED);
        }
    }
}

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
    let created = create_device::<Session>(
        driver,
        EXTENSION_LEN,
        unicode!(p9probe_ioctl::DEVICE_NAME),
        unicode!(p9probe_ioctl::LINK_NAME),
        |extension| {
            let extension = extension.cast::<Device>();
            let state = Device {
                free: Event::uninitialised(),
                client: UnsafeCell::new(None),
                owner: AtomicPtr::new(ptr::null_mut()),
                current: SpinLock::new(None),
            };
            // SAFETY: Of this size, aligned as pool is, and not yet used: the device is still initialising.
            unsafe { extension.write(state) };
            // SAFETY: Written above.
            let extension = unsafe { &*extension };
            // SAFETY: At its final place, in nonpaged memory, not yet used.
            unsafe { extension.free.initialise(true) };
        },
    );
    created.err().unwrap_or(STATUS_SUCCESS)
}

/// There is one session. It ends with the handle that connected; others may use it.
struct Session;

impl Commands for Session {
    fn lengths(code: u32) -> Option<(RangeInclusive<usize>, usize)> {
        p9probe_ioctl::lengths(code)
    }

    unsafe fn close(device: PDEVICE_OBJECT, irp: &Irp) {
        // SAFETY: Our device, as the caller promises.
        command::end_of(unsafe { Device::of(device) }, irp.file());
    }

    unsafe fn execute(
        device: PDEVICE_OBJECT,
        irp: &Irp,
        code: u32,
        input: &[u8],
        output: Output,
    ) -> Result<usize> {
        // SAFETY: Our device, as the caller promises.
        command::execute(
            unsafe { Device::of(device) },
            irp.file(),
            code,
            input,
            output,
        )
    }
}

/// Takes a forgotten session down, then the device. The system calls it when no handle is open any more.
unsafe extern "C" fn unload(driver: PDRIVER_OBJECT) {
    let mut link = unicode!(p9probe_ioctl::LINK_NAME);
    // SAFETY: The link of `create_device`.
    let _ = unsafe { IoDeleteSymbolicLink(&raw mut link) };
    // SAFETY: The driver's only device.
    let device = unsafe { (*driver).DeviceObject };
    if device.is_null() {
        return;
    }
    // SAFETY: Created by `create_device`, deleted below.
    let extension = unsafe { Device::of(device) };
    // Nobody is left to tell; what the engine refuses to take down stays visible as a leak.
    let _ = command::disconnect(extension);
    // SAFETY: Ours; no handle is open.
    unsafe { IoDeleteDevice(device) };
}
