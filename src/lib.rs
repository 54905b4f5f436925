//! The RDBSS connection engine over TDI, as a kernel-mode driver.
//!
//! Rooms, and who may use whom: `exports` checks what clients hand in (`abi`) and calls `connection`, which carries
//! out the decisions of `rxce_engine` through `tdi`; `tdi` speaks the transport interface over `nt`, the only room
//! that touches kernel objects. `rdbss` is the mini-redirector, which uses `connection` as a client. `trace` tells
//! listeners what `connection` does. `driver` starts and ends it all.

#![no_std]

// Makes `alloc` usable; the engine itself allocates fallibly and by tag (`nt::pool`).
extern crate alloc;
// The panic handler. No panic is reachable in a release image: a check of the build looks for them.
extern crate wdk_panic;

mod abi;
mod connection;
mod driver;
mod exports;
mod nt;
#[cfg(feature = "redirector")]
mod rdbss;
mod status;
mod tdi;
mod trace;

/// The global allocator of the image.
#[cfg(feature = "legacy")]
#[global_allocator]
static ALLOCATOR: legacy_nt::Allocator = legacy_nt::Allocator;

/// The global allocator of the image.
#[cfg(not(feature = "legacy"))]
#[global_allocator]
static ALLOCATOR: wdk_alloc::WdkAllocator = wdk_alloc::WdkAllocator;
