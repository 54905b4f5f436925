//! `bench.sys`: measures `rxce.sys` from inside the kernel, over a transport that does nothing. The commands are those of
//! `bench-ioctl`.
//!
//! ```text
//! driver     entry, unload, the two devices
//! transport  the TDI transport: it completes every request inside its dispatch routine
//! rig        a transport, an address, a connection and any number of circuits
//! measure    the clock around the engine's routines
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

extern crate alloc;
// Panics cannot happen (see the lints); the language wants a handler nevertheless.
extern crate wdk_panic;

mod driver;
mod measure;
mod rig;
mod transport;

use wdk_alloc::WdkAllocator;

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;
