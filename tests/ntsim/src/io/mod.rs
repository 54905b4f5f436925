//! The I/O manager: devices, file objects, IRPs and their way down and up, and the door for user programs.

pub mod build;
pub mod call;
pub mod cancel;
pub mod complete;
pub mod create;
pub mod describe;
pub mod device;
pub mod file;
pub(crate) mod invariant;
pub mod irp;
pub mod keep;
pub mod remove_lock;
pub mod status;
pub(crate) mod surrogate;
pub mod user;
pub mod user_file;

pub use device::HostDriver;
pub use user::{File, NtStatus};
pub use user_file::{Answer, DirectoryFlags, Entry, HowToOpen, Pending};
