//! The way to the thread of a transport: queued operations, and the poller in which it sleeps.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use polling::{Events, Poller};

use crate::dispatcher::host::{self, Hold};

/// How long the thread waits for sockets if it wants to look at something again soon.
const SOON: Duration = Duration::from_micros(200);

struct Pending<T> {
    ops: VecDeque<T>,
    /// The thread sleeps in the poller.
    asleep: bool,
    /// From the wake-up call until the thread runs, nobody else may seem idle.
    hold: Option<Hold>,
}

/// Operations for the thread of a transport, and its sockets.
pub(crate) struct Queue<T> {
    pending: Mutex<Pending<T>>,
    poller: Poller,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Arc<Self> {
        let poller = match Poller::new() {
            Ok(poller) => poller,
            Err(error) => crate::stop::host_failure(&format!("no epoll: {error}")),
        };
        Arc::new(Self {
            pending: Mutex::new(Pending {
                ops: VecDeque::new(),
                asleep: false,
                hold: None,
            }),
            poller,
        })
    }

    /// Queues an operation and wakes the thread.
    pub(crate) fn push(&self, op: T) {
        let mut pending = self.pending.lock();
        pending.ops.push_back(op);
        if std::mem::take(&mut pending.asleep) {
            pending.hold = Some(host::hold());
            // The notification of an eventfd fails only if the poller is gone, and it lives as long as the queue.
            drop(self.poller.notify());
        }
    }

    pub(crate) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// The next operation. If there is none, waits for the sockets (not long if `again`), leaves in `events` what they
    /// report, and returns nothing.
    pub(crate) fn next(&self, events: &mut Events, again: bool) -> Option<T> {
        let asleep = {
            let mut pending = self.pending.lock();
            if let Some(op) = pending.ops.pop_front() {
                return Some(op);
            }
            pending.asleep = !again;
            pending.asleep
        };
        events.clear();
        let polled = if asleep {
            host::while_idle(|| self.poller.wait(events, None))
        } else {
            self.poller.wait(events, Some(SOON))
        };
        let hold = {
            let mut pending = self.pending.lock();
            pending.asleep = false;
            pending.hold.take()
        };
        drop(hold);
        if let Err(error) = polled
            && error.kind() != ErrorKind::Interrupted
        {
            crate::stop::host_failure(&format!("epoll failed: {error}"));
        }
        None
    }
}
