//! Files of a transport: opened with an extended attribute, closed when dropped.

use core::{ffi::c_void, ptr};

use bench_ioctl::Provider;
use client_nt::{
    event::KERNEL_MODE,
    status::{Result, check},
};
use wdk_sys::{
    FILE_OBJECT, FILE_OPEN, FILE_SHARE_READ, FILE_SHARE_WRITE, GENERIC_READ, GENERIC_WRITE, HANDLE,
    IO_STATUS_BLOCK, OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES, PDEVICE_OBJECT,
    POBJECT_TYPE, PVOID, STATUS_INVALID_PARAMETER, SYNCHRONIZE, UNICODE_STRING,
    ntddk::{
        IoGetRelatedDeviceObject, ObReferenceObjectByHandle, ObfDereferenceObject, ZwClose,
        ZwCreateFile,
    },
};

use crate::client;

#[link(name = "ntoskrnl")]
unsafe extern "C" {
    /// The object type of file objects.
    static IoFileObjectType: POBJECT_TYPE;
}

/// Room for the attributes used here, aligned as `FILE_FULL_EA_INFORMATION` is.
#[repr(C, align(4))]
struct Attribute([u8; 64]);

impl Attribute {
    /// Fills it; its length besides. The lengths are constants, so that nothing is called to copy.
    fn new<const N: usize, const V: usize>(name: &[u8; N], value: &[u8; V]) -> Option<(Self, u32)> {
        let (name_len, value_len) = (u8::try_from(N).ok()?, u16::try_from(V).ok()?);
        let mut bytes = [0; 64];
        // NextEntryOffset and Flags are 0; then EaNameLength, EaValueLength, the name with a NUL, the value.
        let [low, high] = value_len.to_le_bytes();
        let (head, rest) = bytes.split_at_mut_checked(8)?;
        head.copy_from_slice(&[0, 0, 0, 0, 0, name_len, low, high]);
        let (place, rest) = rest.split_at_mut_checked(N)?;
        place.copy_from_slice(name);
        let (_nul, rest) = rest.split_at_mut_checked(1)?;
        let (place, rest) = rest.split_at_mut_checked(V)?;
        place.copy_from_slice(value);
        let len = u32::try_from(64_usize.checked_sub(rest.len())?).ok()?;
        Some((Self(bytes), len))
    }
}

/// An open file, with its file object and the device that takes its requests.
pub(super) struct File {
    handle: HANDLE,
    object: *mut FILE_OBJECT,
    device: PDEVICE_OBJECT,
}

impl File {
    /// Opens an address of a provider, at `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(super) fn address(provider: Provider) -> Result<Self> {
        Self::open(
            &client::device(provider),
            b"TransportAddress",
            &client::LOCAL,
        )
    }

    /// Opens what the attribute names, at `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// The status of the open or of the reference.
    pub(super) fn open<const N: usize, const V: usize>(
        name: &UNICODE_STRING,
        attribute: &[u8; N],
        value: &[u8; V],
    ) -> Result<Self> {
        let (mut attribute, length) =
            Attribute::new(attribute, value).ok_or(STATUS_INVALID_PARAMETER)?;
        let mut name = *name;
        #[expect(clippy::cast_possible_truncation, reason = "48 bytes")]
        const LENGTH: u32 = size_of::<OBJECT_ATTRIBUTES>() as u32;
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: LENGTH,
            ObjectName: &raw mut name,
            Attributes: OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
            ..OBJECT_ATTRIBUTES::default()
        };
        let mut handle: HANDLE = ptr::null_mut();
        let mut result = IO_STATUS_BLOCK::default();
        // SAFETY: All pointers live across the call; the attribute is `length` bytes long.
        check(unsafe {
            ZwCreateFile(
                &raw mut handle,
                GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
                &raw mut attributes,
                &raw mut result,
                ptr::null_mut(),
                0,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                FILE_OPEN,
                0,
                attribute.0.as_mut_ptr().cast::<c_void>(),
                length,
            )
        })?;
        let mut object: PVOID = ptr::null_mut();
        // SAFETY: The variable never changes.
        let kind = unsafe { IoFileObjectType };
        // SAFETY: The handle was opened above.
        let referenced = check(unsafe {
            ObReferenceObjectByHandle(
                handle,
                0,
                kind,
                KERNEL_MODE,
                &raw mut object,
                ptr::null_mut(),
            )
        });
        if let Err(status) = referenced {
            // SAFETY: Opened above.
            let _ = unsafe { ZwClose(handle) };
            return Err(status);
        }
        // SAFETY: Referenced above.
        let device = unsafe { IoGetRelatedDeviceObject(object.cast()) };
        Ok(Self {
            handle,
            object: object.cast(),
            device,
        })
    }

    pub(super) const fn handle(&self) -> HANDLE {
        self.handle
    }

    pub(super) const fn object(&self) -> *mut FILE_OBJECT {
        self.object
    }

    pub(super) const fn device(&self) -> PDEVICE_OBJECT {
        self.device
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: Ours, closed once.
        let _ = unsafe { ZwClose(self.handle) };
        // SAFETY: Ours, given back once.
        unsafe { ObfDereferenceObject(self.object.cast()) };
    }
}
