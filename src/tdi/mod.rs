//! The Transport Driver Interface as its client uses it: one function per request, over [`crate::nt`].

pub(crate) mod bindings;
pub(crate) mod open;
pub(crate) mod request;
pub(crate) mod synchronous;

use crate::nt::{device, rundown::SharedRundown};

/// One reference per packet that is with a transport, given back by the last instructions of its completion routine.
/// The driver is not unloaded before it is run down.
pub(crate) static IN_FLIGHT: SharedRundown = SharedRundown::none();

/// A reference that keeps the driver loaded.
pub(crate) struct Keeper(bool);

impl Keeper {
    /// Takes a reference where the image was loaded for its exports, and may go with its last importer. A service is kept
    /// by its transports, and its image by the importer whose call this is: there the service may end during the call.
    pub(crate) fn of_library() -> Self {
        Self(device::is_library() && IN_FLIGHT.acquire())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.0 {
            // SAFETY: The reference was taken in `of_library`.
            unsafe { IN_FLIGHT.release() };
        }
    }
}
