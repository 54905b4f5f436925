//! `bench.sys`: measures `rxce.sys` from inside the kernel, against a client written by hand. The commands are those of
//! `bench-ioctl`.
//!
//! ```text
//! driver     entry, unload, the devices
//! transport  the TDI transports: they complete a request inside its dispatch routine, or when the bench says so
//! client     what the engine and the hand-written client can both do, and what they tell the bench
//! rig        the engine: a transport, an address, a connection and any number of circuits
//! floor      the hand-written client: the same requests, and no engine
//! measure    the clock around the engine's routines, while many circuits are alive
//! contest    the clock around both clients in turn
//! together   two threads at once
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

mod client;
mod contest;
mod driver;
mod floor;
mod measure;
mod rig;
mod together;
mod transport;

use wdk_alloc::WdkAllocator;

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;
