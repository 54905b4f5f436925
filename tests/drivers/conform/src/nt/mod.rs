//! Thin, safe-to-use forms of the kernel objects that the vectors and the scripted transport need.

pub(crate) mod device;
pub(crate) mod event;
pub(crate) mod irp;
pub(crate) mod irql;
pub(crate) mod mdl;
pub(crate) mod pool;
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod thread;
pub(crate) mod time;
pub(crate) mod unicode;
pub(crate) mod watch;
