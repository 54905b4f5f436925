//! `exchange.sys`: a kernel client that exchanges bytes with any server through `rxce.sys`, and notes what it is told.
//!
//! Each handle on its device is a session: a circuit over TCP, or a datagram address. Programs say what is sent and how
//! indications are answered, and read the received bytes and the list of events; the control codes are those of
//! `exchange-ioctl`. It knows no protocol.
//!
//! ```text
//! driver    entry, unload, one session for each handle
//! session   the engine's objects: built, used, torn down
//! send      the memory of a send
//! callback  the engine's callbacks
//! record    what the callbacks note: received bytes, events
//! ```
#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

// Panics cannot happen (see the lints); the language wants a handler nevertheless.
extern crate wdk_panic;

mod callback;
mod driver;
mod record;
mod send;
mod session;

use wdk_alloc::WdkAllocator;

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;
