//! The thread of a transport: takes queued operations and socket events one by one, and alone owns the endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use polling::Events;

use super::{finish, queue};
use crate::io::complete::complete_at_dispatch;
use crate::io::{cancel, status};
use crate::layout::io::Irp;
use crate::thread;

/// What stands behind a file object: a connection with its socket, or a port.
pub(crate) trait Endpoint: Send + 'static {
    /// The status of a request for a file object that has none any more.
    const GONE: i32;

    /// The poller reported something: [`Self::service`] follows.
    fn ready(&mut self);

    /// Moves everything on that can move.
    fn service(&mut self);

    /// Whether to look again soon.
    fn wants_more(&self) -> bool;

    /// IoCancelIrp was called for this IRP, which may be gone by now; true if the request is (or was) here.
    fn cancel(&mut self, irp: Irp) -> bool;

    /// The file object goes.
    fn forget(&mut self) {}
}

/// Makes an endpoint, given the key of its socket in the poller.
type Make<E> = Box<dyn FnOnce(usize) -> E + Send>;
/// Does something with an endpoint.
type Act<E> = Box<dyn FnOnce(&mut E) + Send>;
/// Does something with each endpoint.
type ActOnEach<E> = Box<dyn FnMut(&mut E) + Send>;

/// What the thread is asked to do. Requests carry IRPs which it owns until it completes them.
pub(crate) enum Op<E> {
    /// A file object was opened.
    Open { file: usize, make: Make<E> },
    /// A request for an endpoint.
    Request { irp: Irp, run: fn(&mut E, Irp) },
    /// A request that brings more than its IRP.
    Rich { irp: Irp, run: Act<E> },
    /// Something has changed for this endpoint.
    Look { file: usize },
    /// For the endpoint of this file, if it is still there.
    At { file: usize, run: Act<E> },
    /// For each endpoint; then the request succeeds, if there is one.
    Each {
        run: ActOnEach<E>,
        then: Option<Irp>,
    },
    /// IoCancelIrp was called for this IRP.
    Cancel { irp: Irp },
    /// The file object goes.
    Forget { file: usize },
}

/// The way to the thread.
pub(crate) type Queue<E> = queue::Queue<Op<E>>;

/// Tells a transport of a cancelled IRP.
type Tell = Box<dyn Fn(Irp) + Send>;

/// All transports.
static CANCELLED: Mutex<Vec<Tell>> = Mutex::new(Vec::new());

/// The value for `CancelRoutine` of cancelable requests. A cancel routine gets an IRP only, so all transports are told.
pub(crate) fn cancel_routine() -> usize {
    cancel::host_routine(|irp| {
        for tell in CANCELLED.lock().iter() {
            tell(irp);
        }
    })
}

/// Starts a transport's thread.
pub(crate) fn start<E: Endpoint>(name: &str) -> Arc<Queue<E>> {
    let queue = Queue::new();
    let own = Arc::clone(&queue);
    CANCELLED
        .lock()
        .push(Box::new(move |irp| own.push(Op::Cancel { irp })));
    let mut engine = Engine {
        queue: Arc::clone(&queue),
        endpoints: HashMap::new(),
        keys: HashMap::new(),
        next_key: 1,
        again: false,
    };
    thread::spawn(
        &format!("transport {name}"),
        true,
        Box::new(move || engine.run()),
    );
    queue
}

struct Engine<E> {
    queue: Arc<Queue<E>>,
    endpoints: HashMap<usize, E>,
    /// File objects by the keys of their sockets.
    keys: HashMap<usize, usize>,
    next_key: usize,
    /// An endpoint wants to be looked at again soon.
    again: bool,
}

impl<E: Endpoint> Engine<E> {
    fn run(&mut self) {
        let mut events = Events::new();
        loop {
            if let Some(op) = self.queue.next(&mut events, self.again) {
                self.handle(op);
                continue;
            }
            self.again = false;
            for event in events.iter() {
                let file = self.keys.get(&event.key);
                if let Some(endpoint) = file.and_then(|file| self.endpoints.get_mut(file)) {
                    endpoint.ready();
                }
            }
            for endpoint in self.endpoints.values_mut() {
                if endpoint.wants_more() {
                    endpoint.service();
                    self.again |= endpoint.wants_more();
                }
            }
        }
    }

    fn handle(&mut self, op: Op<E>) {
        match op {
            Op::Open { file, make } => {
                let key = self.next_key;
                self.next_key += 1;
                self.keys.insert(key, file);
                self.endpoints.insert(file, make(key));
            }
            Op::Request { irp, run } => self.request(irp, |endpoint| run(endpoint, irp)),
            Op::Rich { irp, run } => self.request(irp, run),
            Op::Look { file } => {
                self.at(file, E::service);
            }
            Op::At { file, run } => {
                self.at(file, run);
            }
            Op::Each { mut run, then } => {
                for endpoint in self.endpoints.values_mut() {
                    run(endpoint);
                    self.again |= endpoint.wants_more();
                }
                if let Some(irp) = then {
                    complete_at_dispatch(irp, status::SUCCESS, 0);
                }
            }
            Op::Cancel { irp } => {
                let found = self
                    .endpoints
                    .values_mut()
                    .find_map(|endpoint| endpoint.cancel(irp).then(|| endpoint.wants_more()));
                self.again |= found.unwrap_or_default();
            }
            Op::Forget { file } => {
                if let Some(mut endpoint) = self.endpoints.remove(&file) {
                    endpoint.forget();
                }
                self.keys.retain(|_, other| *other != file);
            }
        }
    }

    /// Does something with the endpoint of a file, if there is one.
    fn at(&mut self, file: usize, run: impl FnOnce(&mut E)) -> bool {
        match self.endpoints.get_mut(&file) {
            Some(endpoint) => {
                run(endpoint);
                self.again |= endpoint.wants_more();
                true
            }
            None => false,
        }
    }

    fn request(&mut self, irp: Irp, run: impl FnOnce(&mut E)) {
        if !self.at(irp.current().file().get(), run) {
            finish(irp, E::GONE, 0);
        }
    }
}
