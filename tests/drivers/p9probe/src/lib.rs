//! `p9probe.sys`: a small kernel client that speaks 9P2000.L over a virtual circuit of `rxce.sys`.
//!
//! What a network mini-redirector does with the connection engine, without the file system around it: it builds a
//! transport, an address, a connection and a circuit, sends requests, is told of data and of disconnects, and takes
//! everything down. Programs drive it through the control codes of `p9probe-ioctl`.
//!
//! ```text
//! driver    entry, unload, control device
//! command   one function per control code
//! client    the 9P session: walks, opens, reads
//! exchange  one request and its reply over the circuit
//! link      the circuit, and what its callbacks share with the thread that waits
//! callback  the engine's callbacks
//! ```
//!
//! Kernel objects, and the way from an IRP to a command in a system worker thread, are those of `client-nt`.
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
mod client;
mod command;
mod counters;
mod driver;
mod exchange;
mod link;
mod status;

use wdk_alloc::WdkAllocator;

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;
