//! Control interface of the kernel client `exchange.sys`, which exchanges bytes with a server and knows no protocol.
//!
//! Each handle on the device is a session: one circuit over TCP, or one datagram address. Everything is little endian,
//! without padding, METHOD_BUFFERED. A request fails only if it could not be made; what the engine answered is its
//! output.
//!
//! | Code | Input | Output | Does |
//! |---|---|---|---|
//! | [`code::OPEN`] | [`Open`] | status | builds transport and address, and for TCP connection and circuit |
//! | [`code::ANSWER`] | [`Answer`] | – | how receive indications are answered from now on |
//! | [`code::SEND`] | [`How`], then the bytes | status | sends; what became of an asynchronous one is an event |
//! | [`code::WAIT`] | [`Wait`] | – | waits until enough has happened; `STATUS_IO_TIMEOUT` if nothing more happens for so long |
//! | [`code::EVENTS`] | – | events | what happened so far, in order ([`Event`]) |
//! | [`code::BYTES`] | offset, 4 bytes | bytes | received bytes from there on |
//! | [`code::DISCONNECT`] | – | status | begins to disconnect |
//! | [`code::CLOSE`] | – | [`Closed`] | tears down what was built |
#![no_std]
#![forbid(unsafe_code)]

mod event;
mod request;

use core::ops::RangeInclusive;

pub use event::{EVENTS, Event, Kind};
pub use request::{Answer, Closed, How, Open, Protocol, Wait, status, status_of};

/// Name of the control device.
pub const DEVICE_NAME: &str = r"\Device\RxceExchange";
/// Its name for Win32 programs (`\\.\RxceExchange`).
pub const LINK_NAME: &str = r"\DosDevices\RxceExchange";

/// Most bytes that a session can receive.
pub const MOST_ROOM: u32 = 16 << 20;
/// Most bytes of one send.
pub const MOST_SENT: usize = 16 << 20;
/// The status of a tear-down that was not made, because the object was not built.
pub const NOT_BUILT: i32 = i32::MAX;

/// The lengths of input that a control code takes, and the least room for its output; nothing for a code that is not one.
#[must_use]
pub const fn lengths(code: u32) -> Option<(RangeInclusive<usize>, usize)> {
    const fn exactly(length: usize) -> RangeInclusive<usize> {
        length..=length
    }
    Some(match code {
        code::OPEN => (exactly(Open::LEN), 4),
        code::ANSWER => (exactly(Answer::LEN), 0),
        code::SEND => (How::LEN..=How::LEN.saturating_add(MOST_SENT), 4),
        code::WAIT => (exactly(Wait::LEN), 0),
        code::EVENTS => (exactly(0), 0),
        code::BYTES => (exactly(4), 0),
        code::DISCONNECT => (exactly(0), 4),
        code::CLOSE => (exactly(0), Closed::LEN),
        _ => return None,
    })
}

/// Control codes.
pub mod code {
    /// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + function, METHOD_BUFFERED, FILE_READ_DATA | FILE_WRITE_DATA)`
    const fn control_code(function: u32) -> u32 {
        (0x22 << 16) | (3 << 14) | ((0x800 + function) << 2)
    }

    /// Builds.
    pub const OPEN: u32 = control_code(0x20);
    /// Says how indications are answered.
    pub const ANSWER: u32 = control_code(0x21);
    /// Sends bytes, or a datagram.
    pub const SEND: u32 = control_code(0x22);
    /// Waits for events.
    pub const WAIT: u32 = control_code(0x23);
    /// Lists the events.
    pub const EVENTS: u32 = control_code(0x24);
    /// Gives received bytes.
    pub const BYTES: u32 = control_code(0x25);
    /// Begins to disconnect.
    pub const DISCONNECT: u32 = control_code(0x26);
    /// Tears down.
    pub const CLOSE: u32 = control_code(0x27);
}
