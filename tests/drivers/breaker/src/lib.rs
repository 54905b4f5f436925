//! `breaker.sys`: a driver that breaks one rule of the kernel at a time, on purpose, so that whoever watches over
//! the rules can be shown to watch. Each control code of `breaker-ioctl` breaks one, or does the nearest legal thing.
//!
//! ```text
//! driver   entry, unload, devices
//! rules    one routine per rule, by subject
//! below    the device for requests, of a second copy of this driver
//! request  an I/O request to it
//! thread   system threads
//! nt       the kernel's routines, without their safety contracts: to break them is the aim
//! ```
#![no_std]

// For its panic handler.
extern crate wdk_panic;

mod below;
mod driver;
mod nt;
mod request;
mod rules;
mod thread;
mod unicode;

use wdk_alloc::WdkAllocator;

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;
