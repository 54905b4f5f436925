//! Opened files: a kernel handle, its file object and the device that takes its requests.

use core::{
    ffi::c_void,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use rxce_engine::{Error, mutant};
use wdk_sys::{
    ACCESS_MASK, FILE_OBJECT, FILE_OPEN, FILE_SHARE_READ, FILE_SHARE_WRITE, GENERIC_READ,
    GENERIC_WRITE, HANDLE, IO_STATUS_BLOCK, OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE,
    OBJECT_ATTRIBUTES, POBJECT_TYPE, PVOID, SYNCHRONIZE, UNICODE_STRING, ntddk,
};

use super::{
    event::KERNEL_MODE,
    target::{Device, Target},
};

/// `sizeof(OBJECT_ATTRIBUTES)` as its `Length` member wants it.
pub(crate) const OBJECT_ATTRIBUTES_LENGTH: u32 = {
    assert!(size_of::<OBJECT_ATTRIBUTES>() == 0x30);
    0x30
};

#[link(name = "ntoskrnl")]
unsafe extern "C" {
    /// The object type of file objects.
    static IoFileObjectType: POBJECT_TYPE;
}

/// A file that is opened, closed and dereferenced once each, by whoever builds and tears down what it belongs to.
pub(crate) struct File {
    handle: AtomicPtr<c_void>,
    object: AtomicPtr<FILE_OBJECT>,
}

impl File {
    /// A file that is not open.
    pub(crate) const fn none() -> Self {
        Self {
            handle: AtomicPtr::new(ptr::null_mut()),
            object: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Takes the handle and the reference out.
    pub(crate) fn take(&self) -> Self {
        Self {
            handle: AtomicPtr::new(self.handle.swap(ptr::null_mut(), Ordering::AcqRel)),
            object: AtomicPtr::new(self.object.swap(ptr::null_mut(), Ordering::AcqRel)),
        }
    }

    /// Opens `name` with an extended attribute (none if it is empty) and references the file object.
    ///
    /// # Errors
    ///
    /// The status of the open or of the reference; nothing stays open then.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`, special kernel APCs enabled ("ZwCreateFile function", "ObReferenceObjectByHandle function").
    pub(crate) fn open(&self, name: &UNICODE_STRING, attribute: &mut [u8]) -> Result<(), Error> {
        let length = u32::try_from(attribute.len()).map_err(|_| Error::InvalidParameter)?;
        let buffer: PVOID = if length == 0 {
            ptr::null_mut()
        } else {
            attribute.as_mut_ptr().cast()
        };
        let mut name = *name;
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: OBJECT_ATTRIBUTES_LENGTH,
            ObjectName: &raw mut name,
            Attributes: OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
            ..OBJECT_ATTRIBUTES::default()
        };
        let mut handle: HANDLE = ptr::null_mut();
        let mut result = IO_STATUS_BLOCK::default();
        // SAFETY: All pointers live across the call; the attribute is `length` bytes long.
        let status = unsafe {
            ntddk::ZwCreateFile(
                &raw mut handle,
                ACCESS,
                &raw mut attributes,
                &raw mut result,
                ptr::null_mut(),
                0,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                FILE_OPEN,
                0,
                buffer,
                length,
            )
        };
        if !wdk::nt_success(status) {
            return Err(Error::Transport(status));
        }
        self.handle.store(handle, Ordering::Release);
        match reference(handle) {
            Ok(object) => {
                self.object.store(object.as_ptr(), Ordering::Release);
                Ok(())
            }
            Err(error) => {
                self.close();
                Err(error)
            }
        }
    }

    /// The handle, or NULL once it was closed.
    pub(crate) fn handle(&self) -> HANDLE {
        self.handle.load(Ordering::Acquire)
    }

    /// The file object, or NULL where nothing is referenced.
    pub(crate) fn object(&self) -> *mut FILE_OBJECT {
        self.object.load(Ordering::Acquire)
    }

    /// Where requests for this file go at this moment: the device on top of the stack.
    ///
    /// # Safety
    ///
    /// The file object is referenced.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn target(&self) -> Target {
        let file = self.object();
        // SAFETY: Forwarded.
        let device = Device::new(unsafe { ntddk::IoGetRelatedDeviceObject(file) });
        Target { device, file }
    }

    /// Closes the handle, if it is open.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`, special kernel APCs enabled ("ZwClose function").
    pub(crate) fn close(&self) {
        let handle = if mutant!(HandleClosedTwice) {
            self.handle()
        } else {
            self.handle.swap(ptr::null_mut(), Ordering::AcqRel)
        };
        if !handle.is_null() {
            // SAFETY: The handle was opened by `open` and is closed once.
            let _ = unsafe { ntddk::ZwClose(handle) };
        }
    }

    /// Gives the file object back, if it is referenced.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`: the last reference sends `IRP_MJ_CLOSE`.
    pub(crate) fn dereference(&self) {
        let object = self.object.swap(ptr::null_mut(), Ordering::AcqRel);
        if !object.is_null() {
            // SAFETY: The reference was taken by `open` and is given up once.
            unsafe { ntddk::ObfDereferenceObject(object.cast()) };
        }
    }
}

const ACCESS: ACCESS_MASK = GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE;

fn reference(handle: HANDLE) -> Result<NonNull<FILE_OBJECT>, Error> {
    // SAFETY: The variable is initialised before any driver runs, and never changes.
    let file_type = unsafe { IoFileObjectType };
    let mut object: PVOID = ptr::null_mut();
    // SAFETY: All pointers live across the call; the type is the one of file objects.
    let status = unsafe {
        ntddk::ObReferenceObjectByHandle(
            handle,
            0,
            file_type,
            KERNEL_MODE,
            &raw mut object,
            ptr::null_mut(),
        )
    };
    match NonNull::new(object.cast()) {
        Some(object) if wdk::nt_success(status) => Ok(object),
        _ => Err(Error::Transport(status)),
    }
}
