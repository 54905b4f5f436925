//! Error statuses.

use wdk_sys::NTSTATUS;

/// Fails with an error status.
pub type Result<T = (), E = NTSTATUS> = core::result::Result<T, E>;

/// Turns a status into a result.
///
/// # Errors
///
/// The status, if it is none of success.
pub const fn check(status: NTSTATUS) -> Result {
    if wdk::nt_success(status) {
        Ok(())
    } else {
        Err(status)
    }
}
