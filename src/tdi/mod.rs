//! The Transport Driver Interface as its client uses it: one function per request, over [`crate::nt`].

pub(crate) mod bindings;
pub(crate) mod open;
pub(crate) mod request;
pub(crate) mod synchronous;

use crate::nt::rundown::SharedRundown;

/// One reference per packet that is with a transport, given back by the last instructions of its completion routine.
/// The driver is not unloaded before it is run down.
pub(crate) static IN_FLIGHT: SharedRundown = SharedRundown::none();
