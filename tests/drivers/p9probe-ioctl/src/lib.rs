//! Control interface of the kernel client `p9probe.sys`.
//!
//! The codes and the formats of their input and output, for the driver and for the programs that drive it. Every
//! format is encoded field by field, little endian, without padding; neither side trusts a length of the other.
//! Input and output are METHOD_BUFFERED.
//!
//! | Code | Input | Output | Does |
//! |---|---|---|---|
//! | [`code::CONNECT`] | [`Connect`] | [`Connected`] | builds transport, address, connection and circuit; version, attach |
//! | [`code::LIST`] | [`List`] | [`Listing`] | walk, open, read directory entries, attributes of each |
//! | [`code::STAT`] | [`Path`] | [`Stat`] | walk, attributes |
//! | [`code::OPEN`] | [`Path`] | [`Opened`] | walk, attributes, open |
//! | [`code::READ`] | [`Read`] | the bytes | one read; fewer bytes than asked for are not the end, none are |
//! | [`code::CLOSE`] | [`Close`] | – | clunk |
//! | [`code::DISCONNECT`] | – | [`Disconnected`] | disconnect, tear everything down; ends a request that waits |
//! | [`code::STATISTICS`] | – | [`Statistics`] | counters since the driver was loaded |
//! | [`code::VERSION`] | – | [`Version`] | the version of this interface |
//! | [`code::COUNTERS`] | – | [`Counters`] | what the engine counted for the session |
//!
//! There is one session at a time. It belongs to the handle that connected, and ends with it; other handles may use it.
#![no_std]
#![forbid(unsafe_code)]

mod format;
mod numbers;

use core::ops::RangeInclusive;

pub use format::{
    Close, Connect, Connected, Disconnected, Entries, Entry, List, Listing, Opened, Path, Read,
    Stat,
};
pub use numbers::{Counters, EngineCounters, Statistics, Version};
pub use p9::Error;

/// Name of the control device.
pub const DEVICE_NAME: &str = r"\Device\P9Probe";
/// Its name for Win32 programs (`\\.\P9Probe`).
pub const LINK_NAME: &str = r"\DosDevices\P9Probe";

/// A change of any code or format changes this number.
pub const INTERFACE_VERSION: u32 = 2;

/// Longest path, user or tree name, in bytes.
pub const MAX_NAME: usize = 1024;
/// Room that the answer to [`code::LIST`] needs at least: one entry with the longest name, and the cursor.
pub const MIN_LISTING: usize = 512;
/// Most bytes of one [`code::READ`].
pub const MAX_READ: u32 = 1 << 20;

/// The lengths of input that a control code takes, and the least room for its output; nothing for a code that is not one.
/// The driver answers `STATUS_INVALID_DEVICE_REQUEST`, `STATUS_INVALID_PARAMETER` or `STATUS_BUFFER_TOO_SMALL` to what is
/// not as this says.
#[must_use]
pub const fn lengths(code: u32) -> Option<(RangeInclusive<usize>, usize)> {
    const fn exactly(length: usize) -> RangeInclusive<usize> {
        length..=length
    }
    Some(match code {
        code::CONNECT => (18..=18_usize.saturating_add(MAX_NAME.saturating_mul(2)), 8),
        code::DISCONNECT => (exactly(0), 12),
        code::LIST => (10..=MAX_NAME.saturating_add(10), MIN_LISTING),
        code::STAT => (2..=MAX_NAME.saturating_add(2), 36),
        code::OPEN => (2..=MAX_NAME.saturating_add(2), 44),
        code::READ => (exactly(16), 0),
        code::CLOSE => (exactly(4), 0),
        code::STATISTICS => (exactly(0), Statistics::SIZE),
        code::VERSION => (exactly(0), Version::SIZE),
        code::COUNTERS => (exactly(0), Counters::SIZE),
        _ => return None,
    })
}

/// Control codes.
pub mod code {
    /// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + function, METHOD_BUFFERED, FILE_READ_DATA | FILE_WRITE_DATA)`
    const fn control_code(function: u32) -> u32 {
        (0x22 << 16) | (3 << 14) | ((0x800 + function) << 2)
    }

    /// Connects and attaches.
    pub const CONNECT: u32 = control_code(0);
    /// Disconnects and tears down. Success also where nothing is connected.
    pub const DISCONNECT: u32 = control_code(1);
    /// Lists a directory.
    pub const LIST: u32 = control_code(2);
    /// Attributes of a file.
    pub const STAT: u32 = control_code(3);
    /// Opens a file for reading.
    pub const OPEN: u32 = control_code(4);
    /// Reads from an open file.
    pub const READ: u32 = control_code(5);
    /// Closes an open file.
    pub const CLOSE: u32 = control_code(6);
    /// Counters.
    pub const STATISTICS: u32 = control_code(7);
    /// The version of the interface.
    pub const VERSION: u32 = control_code(8);
    /// What the engine counted.
    pub const COUNTERS: u32 = control_code(9);
}
