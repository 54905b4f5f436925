//! Error statuses, and what errors of the protocol become.

use wdk_sys::{
    NTSTATUS, STATUS_ACCESS_DENIED, STATUS_FILE_IS_A_DIRECTORY, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_PARAMETER, STATUS_IO_DEVICE_ERROR, STATUS_NAME_TOO_LONG, STATUS_NOT_A_DIRECTORY,
    STATUS_NOT_SUPPORTED, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_UNSUCCESSFUL,
};

/// Fails with an error status.
pub(crate) type Result<T = (), E = NTSTATUS> = core::result::Result<T, E>;

/// Turns a status into a result.
pub(crate) const fn check(status: NTSTATUS) -> Result {
    if wdk::nt_success(status) {
        Ok(())
    } else {
        Err(status)
    }
}

/// The status for a Linux error number that the server sent.
pub(crate) const fn from_errno(errno: u32) -> NTSTATUS {
    use p9::errno::{
        EACCES, EINVAL, EIO, EISDIR, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EOPNOTSUPP, EPERM,
    };
    match errno {
        ENOENT => STATUS_OBJECT_NAME_NOT_FOUND,
        EPERM | EACCES => STATUS_ACCESS_DENIED,
        ENOTDIR => STATUS_NOT_A_DIRECTORY,
        EISDIR => STATUS_FILE_IS_A_DIRECTORY,
        EIO => STATUS_IO_DEVICE_ERROR,
        ENOMEM => STATUS_INSUFFICIENT_RESOURCES,
        EINVAL => STATUS_INVALID_PARAMETER,
        ENAMETOOLONG => STATUS_NAME_TOO_LONG,
        EOPNOTSUPP => STATUS_NOT_SUPPORTED,
        _ => STATUS_UNSUCCESSFUL,
    }
}
