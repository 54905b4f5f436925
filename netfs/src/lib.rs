//! What the redirector's file system decides without a kernel (docs/redirector.md): names, patterns of directory queries,
//! the forms in which Windows wants to know of files, directories and volumes, and statuses.
//!
//! Nothing here allocates, blocks or panics, whatever a server or a program says.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod attributes;
pub mod directory;
pub mod file;
mod layout;
pub mod name;
pub mod pattern;
pub mod server;
pub mod status;
pub mod volume;
