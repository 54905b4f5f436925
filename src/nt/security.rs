//! Who may open the driver's device.

use core::{mem::offset_of, ptr};

use rxce_engine::Error;
use wdk_sys::{
    ACCESS_MASK, DEVICE_OBJECT, FILE_ALL_ACCESS, FILE_GENERIC_EXECUTE, FILE_GENERIC_READ, HANDLE,
    NTSTATUS, OBJ_KERNEL_HANDLE, PVOID, WRITE_DAC, ntddk,
};

use super::event::KERNEL_MODE;

#[link(name = "ntoskrnl")]
unsafe extern "C" {
    /// "ObOpenObjectByPointer function (ntifs.h)".
    fn ObOpenObjectByPointer(
        object: PVOID,
        attributes: u32,
        state: PVOID,
        access: ACCESS_MASK,
        object_type: PVOID,
        mode: i8,
        handle: *mut HANDLE,
    ) -> NTSTATUS;

    /// "ZwSetSecurityObject function (ntifs.h)".
    fn ZwSetSecurityObject(
        handle: HANDLE,
        information: u32,
        descriptor: *const Descriptor,
    ) -> NTSTATUS;
}

/// `DACL_SECURITY_INFORMATION`.
const DACL_INFORMATION: u32 = 4;

/// An `ACCESS_ALLOWED_ACE` with a SID of `N` numbers behind its authority.
#[repr(C)]
struct Allow<const N: usize> {
    kind: u8,
    flags: u8,
    size: u16,
    mask: u32,
    revision: u8,
    count: u8,
    authority: [u8; 6],
    numbers: [u32; N],
}

impl<const N: usize> Allow<N> {
    /// `authority` is the second number of the SID as it is written.
    const fn new(mask: u32, authority: u8, numbers: [u32; N]) -> Self {
        let (size, count): (u16, u8) = match N {
            1 => (20, 1),
            2 => (24, 2),
            _ => panic!("a SID of another length"),
        };
        assert!(size_of::<Self>() == size as usize);
        Self {
            kind: 0,
            flags: 0,
            size,
            mask,
            revision: 1,
            count,
            authority: [0, 0, 0, 0, 0, authority],
            numbers,
        }
    }
}

/// A self-relative `SECURITY_DESCRIPTOR` of nothing but an ACL.
#[repr(C)]
struct Descriptor {
    revision: u8,
    zero: u8,
    control: u16,
    owner: u32,
    group: u32,
    sacl: u32,
    dacl: u32,
    acl_revision: u8,
    acl_zero: u8,
    acl_size: u16,
    acl_count: u16,
    acl_zero_too: u16,
    system: Allow<1>,
    administrators: Allow<2>,
    everyone: Allow<1>,
}

/// Where the ACL begins, and its length.
const ACL: u32 = 20;
const ACL_SIZE: u16 = 72;

const _: () = assert!(offset_of!(Descriptor, acl_revision) == ACL as usize);
const _: () = assert!(size_of::<Descriptor>() == ACL as usize + ACL_SIZE as usize);

/// `SE_DACL_PRESENT`, `SE_DACL_PROTECTED`, `SE_SELF_RELATIVE`.
const CONTROL: u16 = 0x0004 | 0x1000 | 0x8000;

/// The system (S-1-5-18) and administrators (S-1-5-32-544) may do everything: they start and stop the redirector, by codes
/// that want a handle for writing. Everybody (S-1-1-0) may read, which is all that there is for users.
static DESCRIPTOR: Descriptor = Descriptor {
    revision: 1,
    zero: 0,
    control: CONTROL,
    owner: 0,
    group: 0,
    sacl: 0,
    dacl: ACL,
    acl_revision: 2,
    acl_zero: 0,
    acl_size: ACL_SIZE,
    acl_count: 3,
    acl_zero_too: 0,
    system: Allow::new(FILE_ALL_ACCESS, 5, [18]),
    administrators: Allow::new(FILE_ALL_ACCESS, 5, [32, 544]),
    everyone: Allow::new(FILE_GENERIC_READ | FILE_GENERIC_EXECUTE, 1, [0]),
};

/// Lets the system and administrators use a device for everything, and everybody for reading.
///
/// # Errors
///
/// The status of the system; the device has the security that it had.
///
/// # Safety
///
/// The device lives across the call.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`
pub(crate) unsafe fn restrict(device: *mut DEVICE_OBJECT) -> Result<(), Error> {
    let mut handle: HANDLE = ptr::null_mut();
    // SAFETY: Forwarded. Where the mode is the kernel's, the type may be NULL.
    let opened = unsafe {
        ObOpenObjectByPointer(
            device.cast(),
            OBJ_KERNEL_HANDLE,
            ptr::null_mut(),
            WRITE_DAC,
            ptr::null_mut(),
            KERNEL_MODE,
            &raw mut handle,
        )
    };
    if !wdk::nt_success(opened) {
        return Err(Error::Transport(opened));
    }
    // SAFETY: The handle is open; the descriptor is static and well-formed.
    let set = unsafe { ZwSetSecurityObject(handle, DACL_INFORMATION, &raw const DESCRIPTOR) };
    // SAFETY: The handle was opened above, and is closed once.
    let _ = unsafe { ntddk::ZwClose(handle) };
    if wdk::nt_success(set) {
        Ok(())
    } else {
        Err(Error::Transport(set))
    }
}
