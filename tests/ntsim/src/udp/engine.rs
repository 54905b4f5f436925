//! The transport's thread: takes queued requests and socket events one by one, and alone owns the ports.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use polling::Events;
use socket2::Socket;

use super::port::Port;
use crate::io::complete::complete_at_dispatch;
use crate::io::{cancel, status};
use crate::layout::io::Irp;
use crate::tdi::handlers::Handlers;
use crate::tdi::{finish, queue};
use crate::thread;

/// What the thread is asked to do. Requests carry IRPs which it owns until it completes them.
pub(super) enum Op {
    Open {
        file: usize,
        socket: Socket,
        handlers: Arc<Handlers>,
    },
    Send {
        irp: Irp,
    },
    Receive {
        irp: Irp,
    },
    /// Handlers have changed.
    Look {
        file: usize,
    },
    Cleanup {
        irp: Irp,
    },
    Forget {
        file: usize,
    },
    /// IoCancelIrp was called for this IRP, which may be gone by now.
    Cancel {
        irp: Irp,
    },
}

/// The way to the thread.
pub(super) type Queue = queue::Queue<Op>;

/// All transports, for cancel routines, which get an IRP only.
static QUEUES: Mutex<Vec<Arc<Queue>>> = Mutex::new(Vec::new());

/// The value for `CancelRoutine` of cancelable requests.
pub(super) fn cancel_routine() -> usize {
    cancel::host_routine(|irp| {
        for queue in QUEUES.lock().iter() {
            queue.push(Op::Cancel { irp });
        }
    })
}

/// Starts a transport's thread.
pub(super) fn start(name: &str) -> Arc<Queue> {
    let queue = Queue::new();
    QUEUES.lock().push(Arc::clone(&queue));
    let mut engine = Engine {
        queue: Arc::clone(&queue),
        ports: HashMap::new(),
        keys: HashMap::new(),
        next_key: 1,
    };
    thread::spawn(
        &format!("transport {name}"),
        true,
        Box::new(move || engine.run()),
    );
    queue
}

struct Engine {
    queue: Arc<Queue>,
    ports: HashMap<usize, Port>,
    /// File objects by the keys of their sockets.
    keys: HashMap<usize, usize>,
    next_key: usize,
}

impl Engine {
    fn run(&mut self) {
        let mut events = Events::new();
        let mut again = false;
        loop {
            if let Some(op) = self.queue.next(&mut events, again) {
                self.handle(op);
                continue;
            }
            for event in events.iter() {
                if let Some(port) = self
                    .keys
                    .get(&event.key)
                    .and_then(|file| self.ports.get_mut(file))
                {
                    port.retry = true;
                }
            }
            again = false;
            for port in self.ports.values_mut().filter(|port| port.retry) {
                port.service();
                again |= port.retry;
            }
        }
    }

    fn handle(&mut self, op: Op) {
        match op {
            Op::Open {
                file,
                socket,
                handlers,
            } => {
                let key = self.next_key;
                self.next_key += 1;
                self.keys.insert(key, file);
                let port = Port::new(file, key, socket, handlers, Arc::clone(&self.queue));
                self.ports.insert(file, port);
            }
            Op::Forget { file } => {
                self.ports.remove(&file);
                self.keys.retain(|_, other| *other != file);
            }
            Op::Look { file } => {
                if let Some(port) = self.ports.get_mut(&file) {
                    port.service();
                }
            }
            Op::Send { irp } => self.with(irp, |port| port.send(irp)),
            Op::Receive { irp } => self.with(irp, |port| port.receive(irp)),
            Op::Cleanup { irp } => {
                self.with(irp, Port::close);
                complete_at_dispatch(irp, status::SUCCESS, 0);
            }
            Op::Cancel { irp } => {
                for port in self.ports.values_mut() {
                    if port.cancel(irp) {
                        break;
                    }
                }
            }
        }
    }

    fn with(&mut self, irp: Irp, run: impl FnOnce(&mut Port)) {
        match self.ports.get_mut(&irp.current().file().get()) {
            Some(port) => run(port),
            None => finish(irp, status::ADDRESS_CLOSED, 0),
        }
    }
}
