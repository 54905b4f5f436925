//! What a status means to the reader.

use std::fmt;

/// A failed step, with the status that the driver returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) u32);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ntsim::trace::status::describe(self.0);
        write!(f, "{} ({name}, {:#010X})", meaning(self.0), self.0)
    }
}

impl std::error::Error for Failure {}

/// Meaning of the statuses that p9probe.sys, rxce.sys and the transport return here.
const fn meaning(status: u32) -> &'static str {
    match status {
        0xC000_0008 => "the file is not open",
        0xC000_000D => "the driver refused a parameter",
        0xC000_0022 => "access denied; --export names the tree that the server exports",
        0xC000_0023 => "the buffer is too small",
        0xC000_0034 => "there is no such file on the server",
        0xC000_009A => "the kernel ran out of memory",
        0xC000_00B5 => "the server does not answer",
        0xC000_00BC | 0xC000_0236 => "the server refuses connections",
        0xC000_00BA => "it is a directory",
        0xC000_00C3 => "the server does not speak 9P2000.L as it should",
        0xC000_0103 => "it is not a directory",
        0xC000_0120 => "the request was cancelled",
        // In the middle of data: the receive ends with the reason, a disconnect.
        0xC000_020C | 0xC000_0237 => "the server closed the connection",
        0xC000_020D => "the server broke the connection off",
        0xC000_023A => "there is no connection",
        0xC000_023C => "the network cannot be reached",
        0xC000_023D => "the server cannot be reached",
        0xC000_0241 => "the connection broke off",
        _ => "the request failed",
    }
}
