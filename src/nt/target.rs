//! Where requests for an open file go.

use wdk_sys::{DEVICE_OBJECT, FILE_OBJECT};

/// What a transport is told of an open object's request.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The device that takes the request.
    pub(crate) device: Device,
    /// The object's file object.
    pub(crate) file: *mut FILE_OBJECT,
}

/// A device that is kept alive by the file it belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device(*mut DEVICE_OBJECT);

// SAFETY: A device object may be used from any thread.
unsafe impl Send for Device {}

impl Device {
    /// A device that some open file keeps.
    pub(crate) const fn new(device: *mut DEVICE_OBJECT) -> Self {
        Self(device)
    }

    /// The device for routines of the system.
    pub(crate) const fn as_ptr(self) -> *mut DEVICE_OBJECT {
        self.0
    }

    /// How many stack locations a request to it needs.
    pub(crate) fn stack_size(self) -> i8 {
        // SAFETY: The device lives as long as the file that named it; the member is one byte.
        unsafe { (*self.0).StackSize }
    }
}
