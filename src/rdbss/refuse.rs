//! What a read-only file system refuses.

use wdk_sys::{NTSTATUS, STATUS_MEDIA_WRITE_PROTECTED, STATUS_NOT_SUPPORTED, STATUS_SUCCESS};

use super::abi::RxContext;

/// Whatever changes a file or a volume.
///
/// # Safety
///
/// RDBSS's request.
pub(super) const unsafe extern "C" fn write(_: *mut RxContext) -> NTSTATUS {
    STATUS_MEDIA_WRITE_PROTECTED
}

/// Growing a file: it keeps its size.
///
/// # Safety
///
/// RDBSS's request.
pub(super) const unsafe extern "C" fn extend(
    _: *mut RxContext,
    _size: *mut i64,
    _allocation: *mut i64,
) -> u32 {
    STATUS_MEDIA_WRITE_PROTECTED.cast_unsigned()
}

/// What the protocol has no request for.
///
/// # Safety
///
/// RDBSS's request.
pub(super) const unsafe extern "C" fn unsupported(_: *mut RxContext) -> NTSTATUS {
    STATUS_NOT_SUPPORTED
}

/// A flush: nothing waits to be written.
///
/// # Safety
///
/// RDBSS's request.
pub(super) const unsafe extern "C" fn flush(_: *mut RxContext) -> NTSTATUS {
    STATUS_SUCCESS
}
