//! What a status means to the reader.

use std::fmt;

/// A failed step, with the status that the driver returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) u32);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, meaning) = describe(self.0);
        write!(f, "{meaning} ({name}, {:#010X})", self.0)
    }
}

impl std::error::Error for Failure {}

/// Name and meaning of the statuses that p9probe.sys, rxce.sys and the transport return here.
const fn describe(status: u32) -> (&'static str, &'static str) {
    match status {
        0xC000_0008 => ("STATUS_INVALID_HANDLE", "the file is not open"),
        0xC000_000D => ("STATUS_INVALID_PARAMETER", "the driver refused a parameter"),
        0xC000_0022 => ("STATUS_ACCESS_DENIED", "access denied"),
        0xC000_0023 => ("STATUS_BUFFER_TOO_SMALL", "the buffer is too small"),
        0xC000_0034 => (
            "STATUS_OBJECT_NAME_NOT_FOUND",
            "there is no such file on the server",
        ),
        0xC000_009A => (
            "STATUS_INSUFFICIENT_RESOURCES",
            "the kernel ran out of memory",
        ),
        0xC000_00B5 => ("STATUS_IO_TIMEOUT", "the server does not answer"),
        0xC000_00BC => (
            "STATUS_REMOTE_NOT_LISTENING",
            "the server refuses connections",
        ),
        0xC000_00BA => ("STATUS_FILE_IS_A_DIRECTORY", "it is a directory"),
        0xC000_00C3 => (
            "STATUS_INVALID_NETWORK_RESPONSE",
            "the server does not speak 9P2000.L as it should",
        ),
        0xC000_0103 => ("STATUS_NOT_A_DIRECTORY", "it is not a directory"),
        0xC000_0120 => ("STATUS_CANCELLED", "the request was cancelled"),
        0xC000_020C => (
            "STATUS_CONNECTION_DISCONNECTED",
            "the server closed the connection",
        ),
        0xC000_020D => (
            "STATUS_CONNECTION_RESET",
            "the server broke the connection off",
        ),
        0xC000_0236 => (
            "STATUS_CONNECTION_REFUSED",
            "the server refuses connections",
        ),
        0xC000_023A => ("STATUS_CONNECTION_INVALID", "there is no connection"),
        0xC000_023C => (
            "STATUS_NETWORK_UNREACHABLE",
            "the network cannot be reached",
        ),
        0xC000_023D => ("STATUS_HOST_UNREACHABLE", "the server cannot be reached"),
        0xC000_0241 => ("STATUS_CONNECTION_ABORTED", "the connection broke off"),
        _ => ("NTSTATUS", "the request failed"),
    }
}
