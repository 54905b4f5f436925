//! The Transport Driver Interface as its client uses it: one function per request, over [`crate::nt`].

pub(crate) mod bindings;
pub(crate) mod open;
pub(crate) mod request;
pub(crate) mod synchronous;

use crate::nt::rundown::SharedRundown;

/// One reference per packet that is with a transport, given back by the last instructions of its completion routine.
/// The driver is not unloaded before it is run down.
pub(crate) static IN_FLIGHT: SharedRundown = SharedRundown::none();

/// A reference that keeps the driver loaded.
pub(crate) struct Keeper(bool);

impl Keeper {
    /// Takes a reference; there is none to be had only after the last structure was torn down.
    pub(crate) fn new() -> Self {
        Self(IN_FLIGHT.acquire())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.0 {
            // SAFETY: The reference was taken in `new`.
            unsafe { IN_FLIGHT.release() };
        }
    }
}
