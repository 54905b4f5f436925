//! Owners of kernel objects, for drivers that are clients of `rxce.sys`: one file per object, each with its `Drop` and
//! its IRQL rules.
//!
//! ```text
//! access     who may open a device
//! control    the device of a driver that programs control: dispatch in a system worker thread
//! event      an auto-reset event
//! irp        a request that a dispatch routine was given
//! mdl        an MDL over nonpaged memory
//! pool       nonpaged memory: a value, bytes
//! spin_lock  a spin lock that owns its data
//! status     error statuses
//! unicode    counted UTF-16 strings
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

pub mod access;
pub mod control;
pub mod event;
pub mod irp;
pub mod mdl;
pub mod pool;
pub mod spin_lock;
pub mod status;
pub mod unicode;
