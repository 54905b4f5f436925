//! The status that stands for each failure.

use rxce_engine::Error;
use wdk_sys::{
    NTSTATUS, STATUS_CANCELLED, STATUS_CONNECTION_ABORTED, STATUS_CONNECTION_DISCONNECTED,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
};

/// The documented status of a failure.
pub(crate) const fn of(error: Error) -> NTSTATUS {
    match error {
        Error::InvalidParameter => STATUS_INVALID_PARAMETER,
        Error::InsufficientResources => STATUS_INSUFFICIENT_RESOURCES,
        Error::Disconnected => STATUS_CONNECTION_DISCONNECTED,
        Error::Aborted => STATUS_CONNECTION_ABORTED,
        Error::Cancelled => STATUS_CANCELLED,
        Error::Transport(status) => status,
    }
}
