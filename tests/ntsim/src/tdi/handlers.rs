//! The event handlers of an address object.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// TDI_EVENT_DISCONNECT.
pub(crate) const DISCONNECT: usize = 1;
/// TDI_EVENT_ERROR.
pub(crate) const ERROR: usize = 2;
/// TDI_EVENT_RECEIVE.
pub(crate) const RECEIVE: usize = 3;
/// TDI_EVENT_RECEIVE_DATAGRAM.
pub(crate) const RECEIVE_DATAGRAM: usize = 4;
/// CONNECT to ERROR_EX.
const EVENTS: usize = 11;

/// An event handler of a client.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Handler {
    pub(crate) routine: usize,
    pub(crate) context: usize,
}

/// The handlers that a client registered on an address, until it closes the address.
pub(crate) struct Handlers {
    table: Mutex<[Handler; EVENTS]>,
    open: AtomicBool,
}

impl Handlers {
    pub(crate) fn new() -> Self {
        Self {
            table: Mutex::new([Handler::default(); EVENTS]),
            open: AtomicBool::new(true),
        }
    }

    /// Registers a handler; false for an unknown event. Any event is accepted on any address: those which a transport does
    /// not have never come.
    pub(crate) fn set(&self, event: i32, routine: usize, context: usize) -> bool {
        let mut table = self.table.lock();
        match usize::try_from(event)
            .ok()
            .and_then(|event| table.get_mut(event))
        {
            Some(handler) => {
                *handler = Handler { routine, context };
                true
            }
            None => false,
        }
    }

    /// The handler of an event, if one is set and the address is open.
    pub(crate) fn get(&self, event: usize) -> Option<Handler> {
        let table = self.table.lock();
        table
            .get(event)
            .copied()
            .filter(|handler| handler.routine != 0 && self.open.load(Ordering::Acquire))
    }

    /// The last handle is closed: no handler is called from now on (one that runs may still be running).
    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::Release);
    }
}
