//! Devices, by the native calls: they take a name of the kernel's namespace and return the driver's own status, which
//! `DeviceIoControl` would turn into a Win32 error.

use alloc::{vec, vec::Vec};
use core::ptr;

use rxcectl::NtStatus;
use windows_sys::{
    Wdk::{
        Foundation::{NtClose, OBJECT_ATTRIBUTES},
        Storage::FileSystem::{FILE_SYNCHRONOUS_IO_NONALERT, NtOpenFile},
        System::IO::NtDeviceIoControlFile,
    },
    Win32::{
        Foundation::{HANDLE, OBJ_CASE_INSENSITIVE, UNICODE_STRING},
        Storage::FileSystem::{
            FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_SHARE_READ, FILE_SHARE_WRITE,
        },
        System::IO::IO_STATUS_BLOCK,
    },
};

/// An open device.
pub(crate) struct Device(HANDLE);

impl Device {
    /// Opens it for reading and writing; its requests are synchronous.
    pub(crate) fn open(name: &str) -> Result<Self, NtStatus> {
        let mut units: Vec<u16> = name.encode_utf16().collect();
        let bytes = u16::try_from(units.len().saturating_mul(2)).unwrap_or(u16::MAX);
        let name = UNICODE_STRING {
            Length: bytes,
            MaximumLength: bytes,
            Buffer: units.as_mut_ptr(),
        };
        let attributes = OBJECT_ATTRIBUTES {
            Length: u32::try_from(size_of::<OBJECT_ATTRIBUTES>()).unwrap_or_default(),
            ObjectName: &raw const name,
            Attributes: OBJ_CASE_INSENSITIVE,
            ..OBJECT_ATTRIBUTES::default()
        };
        let mut handle = ptr::null_mut();
        let mut result = IO_STATUS_BLOCK::default();
        // SAFETY: Everything lives across the call. Both rights contain SYNCHRONIZE.
        let status = unsafe {
            NtOpenFile(
                &raw mut handle,
                FILE_GENERIC_READ | FILE_GENERIC_WRITE,
                &raw const attributes,
                &raw mut result,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                FILE_SYNCHRONOUS_IO_NONALERT,
            )
        };
        check(status).map(|()| Self(handle))
    }
}

impl rxcectl::Device for Device {
    fn control(&self, code: u32, input: &[u8], room: usize) -> Result<Vec<u8>, NtStatus> {
        let mut output = vec![0; room];
        let mut result = IO_STATUS_BLOCK::default();
        // SAFETY: The buffers live across the call, which ends with the request: the file is synchronous.
        let status = unsafe {
            NtDeviceIoControlFile(
                self.0,
                ptr::null_mut(),
                None,
                ptr::null(),
                &raw mut result,
                code,
                input.as_ptr().cast(),
                u32::try_from(input.len()).unwrap_or(u32::MAX),
                output.as_mut_ptr().cast(),
                u32::try_from(room).unwrap_or(u32::MAX),
            )
        };
        check(status)?;
        output.truncate(result.Information);
        Ok(output)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: Opened by us, closed once.
        unsafe { NtClose(self.0) };
    }
}

/// A warning is no success either.
fn check(status: i32) -> Result<(), NtStatus> {
    if status >= 0 {
        Ok(())
    } else {
        Err(NtStatus(status.cast_unsigned()))
    }
}
