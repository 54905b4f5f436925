//! `rdbss.sys`: the redirected drive buffering subsystem, for mini-redirectors that import it.
//!
//! A mini-redirector registers a table of callbacks; RDBSS owns its device, takes all of its requests, and turns paths
//! into servers, net roots and open files, whose life it manages. It is host code like the rest of the kernel, so that
//! every callback is watched: a mini-redirector that breaks the contract meets `RDR_FILE_SYSTEM` (0x27), and the first
//! parameter says which [`Rule`] it was.
//!
//! ```text
//! registration  the device and the table of callbacks
//! start_stop    the states of a redirector
//! dispatch      requests of the I/O manager, by major function
//! context       RX_CONTEXT, one for each request
//! calldown      calls of the mini-redirector
//! create        from a path to an open file
//! server        SRV_CALL
//! net_root      NET_ROOT and V_NET_ROOT
//! construction  how both are reported by a callback
//! file          FCB, SRV_OPEN, FOBX
//! objects       finding them by address
//! close         cleanup and close
//! tables        what is known by name, and the scavenger
//! query         directories, files, volumes
//! directory     how the entries of a directory lie in a buffer
//! low_io        requests that the mini-redirector may complete later
//! transfer      read, write, control of files
//! control       control requests for the device itself
//! mup           UNC names: which redirector has a prefix
//! work          worker threads
//! ```

mod calldown;
mod close;
mod construction;
mod context;
mod control;
mod create;
pub(crate) mod directory;
mod dispatch;
mod file;
mod layout;
mod life;
mod lock;
mod low_io;
pub(crate) mod mup;
mod name;
mod net_root;
mod objects;
mod query;
mod registration;
mod rule;
mod server;
mod start_stop;
mod tables;
mod transfer;
mod work;

use crate::gate::{Library, Routine};

pub use rule::Rule;

/// The image name in import tables.
pub const MODULE: &str = "rdbss.sys";

const fn library(module: &'static str, routines: &'static [Routine]) -> Library {
    Library {
        module,
        stem: "rdbss",
        routines,
    }
}

/// What drivers import from here, and what they only get the address of.
pub(crate) static LIBRARIES: [&Library; 7] = [
    &library(MODULE, registration::ROUTINES),
    &library(MODULE, start_stop::ROUTINES),
    &library(MODULE, dispatch::ROUTINES),
    &library(MODULE, file::ROUTINES),
    &library(MODULE, low_io::ROUTINES),
    &library(MODULE, work::ROUTINES),
    &library("", construction::ROUTINES),
];
