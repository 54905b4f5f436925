//! Kernel objects: one file per object, each with its ownership and its IRQL rules. Nothing here knows what the
//! driver is for; nothing above touches a kernel object but through this module.

pub(crate) mod device;
#[cfg(feature = "etw")]
pub(crate) mod etw;
pub(crate) mod event;
pub(crate) mod file;
pub(crate) mod handle_thread;
pub(crate) mod irp;
pub(crate) mod irql;
pub(crate) mod layout;
pub(crate) mod mdl;
pub(crate) mod memory;
#[cfg(feature = "redirector")]
pub(crate) mod mutex;
pub(crate) mod pending;
pub(crate) mod pool;
pub(crate) mod processors;
#[cfg(feature = "redirector")]
pub(crate) mod registry;
pub(crate) mod report;
pub(crate) mod rundown;
#[cfg(feature = "redirector")]
pub(crate) mod security;
#[cfg(feature = "redirector")]
pub(crate) mod shared;
pub(crate) mod spin_lock;
pub(crate) mod target;
pub(crate) mod thread;
pub(crate) mod time;
pub(crate) mod tracked_irp;
#[cfg(feature = "redirector")]
pub(crate) mod unicode;
pub(crate) mod work_item;
