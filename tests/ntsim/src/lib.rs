//! A simulated NT kernel that loads unmodified driver images on Linux.
//!
//! ```no_run
//! ntsim::boot(ntsim::Options::default());
//! let driver = ntsim::Driver::load("target/drivers/debug/x86_64/example.sys".as_ref())?;
//! assert_eq!(driver.start(), 0);
//! driver.unload()?;
//! # Ok::<(), ntsim::Error>(())
//! ```
//!
//! One kernel per process, and a violated rule ends it: [`stop`] prints a report and exits with code 99. A test suite
//! runs each scenario in a process of its own.
//!
//! The rooms: [`gate`] is the border to driver code, [`image`] loads it, [`arena`] and [`pool`] are its memory,
//! [`trace`] remembers what it did, and the rest are the executive routines by subject, each with a `ROUTINES` table.
//! [`gate`] says how to add one.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("ntsim runs x64 driver images natively: it needs an x86-64 Linux host");

pub mod account;
pub mod arena;
mod argument;
mod boot;
mod burn;
pub mod clock;
pub mod count;
pub mod delay;
pub mod dispatcher;
pub mod driver;
pub mod etw;
pub mod ex;
mod executive;
pub mod explore;
pub mod fault;
pub mod gate;
pub mod hold;
pub mod image;
pub mod io;
pub mod irql;
pub mod layout;
mod mem;
pub mod mm;
pub mod ob;
pub mod own;
mod pageable;
pub mod pool;
pub mod ps;
pub mod rdbss;
pub mod rtl;
mod rules;
pub mod se;
mod services;
mod short_lock;
pub mod signal;
pub mod stop;
mod sync;
mod tables;
pub mod tcp;
pub mod tdi;
pub mod thread;
pub mod trace;
pub mod udp;

pub use account::{Account, account};
pub(crate) use boot::options;
pub use boot::{Options, PoolGuard, TraceMode, boot};
pub use driver::{Driver, Error};
pub use io::{Answer, DirectoryFlags, Entry, File, HowToOpen, NtStatus, Pending};
pub use rules::Rules;
