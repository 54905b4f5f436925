//! Who may open a device: administrators, and other drivers.
//!
//! `IoCreateDeviceSecure` would say the same in a security descriptor, but it is no export of the kernel.

use wdk_sys::{
    PIRP, SECURITY_SUBJECT_CONTEXT,
    ntddk::{SeCaptureSubjectContext, SeReleaseSubjectContext, SeTokenIsAdmin},
};

use super::event::KERNEL_MODE;

/// Whether an open is to be refused (`STATUS_ACCESS_DENIED`): it comes from user mode, and not from an administrator.
///
/// # Safety
///
/// `irp` is an `IRP_MJ_CREATE` that the I/O manager handed to this driver, in the context of the thread that opens.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`
pub unsafe fn is_refused(irp: PIRP) -> bool {
    // SAFETY: Forwarded from this function's `# Safety` section.
    let from_user = unsafe { (*irp).RequestorMode } != KERNEL_MODE;
    from_user && !caller_is_administrator()
}

fn caller_is_administrator() -> bool {
    let mut context = SECURITY_SUBJECT_CONTEXT::default();
    // SAFETY: Fills the structure; released below.
    unsafe { SeCaptureSubjectContext(&raw mut context) };
    let token = if context.ClientToken.is_null() {
        context.PrimaryToken
    } else {
        context.ClientToken
    };
    // SAFETY: The captured context keeps the token alive.
    let administrator = unsafe { SeTokenIsAdmin(token) } != 0;
    // SAFETY: Captured above.
    unsafe { SeReleaseSubjectContext(&raw mut context) };
    administrator
}
