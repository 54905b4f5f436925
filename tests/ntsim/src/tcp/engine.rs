//! The transport's thread: takes queued requests and socket events one by one, and alone owns the circuits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use polling::{Event, Events, Poller};

use super::address::Address;
use super::circuit::Circuit;
use super::query;
use crate::dispatcher::host::{self, Hold};
use crate::io::complete::complete_at_dispatch;
use crate::io::{cancel, status};
use crate::layout::io::Irp;
use crate::thread;

/// What the thread is asked to do. Requests carry IRPs which it owns until it completes them.
pub(super) enum Op {
    Open {
        file: usize,
        context: u64,
    },
    Associate {
        irp: Irp,
        address: Arc<Address>,
    },
    Disassociate {
        irp: Irp,
    },
    Connect {
        irp: Irp,
    },
    Disconnect {
        irp: Irp,
    },
    Send {
        irp: Irp,
    },
    Receive {
        irp: Irp,
    },
    Query {
        irp: Irp,
        code: u32,
    },
    Cleanup {
        irp: Irp,
    },
    Forget {
        file: usize,
    },
    AddressGone {
        irp: Irp,
        file: usize,
    },
    /// Endpoints of this address look again whether they can indicate data.
    Kick {
        address: usize,
    },
    /// IoCancelIrp was called for this IRP, which may be gone by now.
    Cancel {
        irp: Irp,
    },
    /// The time of a connect or disconnect request is over; it may be gone by now.
    TimeOut {
        file: usize,
        irp: Irp,
    },
}

#[derive(Default)]
struct Pending {
    ops: VecDeque<Op>,
    /// The thread sleeps in the poller.
    asleep: bool,
    /// From the wake-up call until the thread runs, nobody else may seem idle.
    hold: Option<Hold>,
}

/// The way to the thread.
pub(super) struct Queue {
    pending: Mutex<Pending>,
    poller: Poller,
}

impl Queue {
    pub(super) fn push(&self, op: Op) {
        let mut pending = self.pending.lock();
        pending.ops.push_back(op);
        if std::mem::take(&mut pending.asleep) {
            pending.hold = Some(host::hold());
            // The notification of an eventfd fails only if the poller is gone, and it lives as long as the queue.
            drop(self.poller.notify());
        }
    }

    pub(super) fn poller(&self) -> &Poller {
        &self.poller
    }
}

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
    let poller = match Poller::new() {
        Ok(poller) => poller,
        Err(error) => crate::stop::host_failure(&format!("no epoll: {error}")),
    };
    let queue = Arc::new(Queue {
        pending: Mutex::default(),
        poller,
    });
    QUEUES.lock().push(Arc::clone(&queue));
    let mut engine = Engine {
        queue: Arc::clone(&queue),
        circuits: HashMap::new(),
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
    circuits: HashMap<usize, Circuit>,
    keys: HashMap<usize, usize>,
    next_key: usize,
}

/// The endpoint that a request is for.
fn endpoint(irp: Irp) -> usize {
    irp.current().file().get()
}

impl Engine {
    fn run(&mut self) {
        let mut events = Events::new();
        let mut again = false;
        loop {
            let (op, asleep) = {
                let mut pending = self.queue.pending.lock();
                let op = pending.ops.pop_front();
                pending.asleep = op.is_none() && !again;
                (op, pending.asleep)
            };
            if let Some(op) = op {
                self.handle(op);
                continue;
            }
            events.clear();
            let limit = if asleep {
                None
            } else {
                Some(Duration::from_micros(200))
            };
            let polled = if asleep {
                host::while_idle(|| self.queue.poller.wait(&mut events, limit))
            } else {
                self.queue.poller.wait(&mut events, limit)
            };
            let hold = {
                let mut pending = self.queue.pending.lock();
                pending.asleep = false;
                pending.hold.take()
            };
            drop(hold);
            if let Err(error) = polled
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                crate::stop::host_failure(&format!("epoll failed: {error}"));
            }
            again = false;
            let ready: Vec<Event> = events.iter().collect();
            for event in ready {
                if let Some(circuit) = self
                    .keys
                    .get(&event.key)
                    .and_then(|file| self.circuits.get_mut(file))
                {
                    circuit.ready();
                }
            }
            let files: Vec<usize> = self
                .circuits
                .iter()
                .filter(|(_, circuit)| circuit.retry)
                .map(|(file, _)| *file)
                .collect();
            for file in files {
                again |= self.service(file);
            }
        }
    }

    /// Moves a circuit on; true if it wants to be looked at again soon.
    fn service(&mut self, file: usize) -> bool {
        match self.circuits.get_mut(&file) {
            Some(circuit) => {
                circuit.service();
                circuit.retry
            }
            None => false,
        }
    }

    fn handle(&mut self, op: Op) {
        match op {
            Op::Open { file, context } => {
                let key = self.next_key;
                self.next_key += 1;
                self.keys.insert(key, file);
                self.circuits.insert(
                    file,
                    Circuit::new(file, context, key, Arc::clone(&self.queue)),
                );
            }
            Op::Forget { file } => {
                self.circuits.remove(&file);
                self.keys.retain(|_, other| *other != file);
            }
            Op::Kick { address } => {
                for circuit in self
                    .circuits
                    .values_mut()
                    .filter(|circuit| circuit.is_on(address))
                {
                    circuit.service();
                }
            }
            Op::AddressGone { irp, file } => {
                for circuit in self
                    .circuits
                    .values_mut()
                    .filter(|circuit| circuit.is_on(file))
                {
                    circuit.address_gone();
                }
                complete_at_dispatch(irp, status::SUCCESS, 0);
            }
            Op::Cancel { irp } => {
                for circuit in self.circuits.values_mut() {
                    if circuit.cancel(irp) {
                        break;
                    }
                }
            }
            Op::TimeOut { file, irp } => {
                if let Some(circuit) = self.circuits.get_mut(&file) {
                    circuit.time_out(irp);
                }
            }
            Op::Associate { irp, address } => {
                self.with(irp, |circuit| circuit.associate(irp, address))
            }
            Op::Disassociate { irp } => self.with(irp, |circuit| circuit.disassociate(irp)),
            Op::Connect { irp } => self.with(irp, |circuit| circuit.connect(irp)),
            Op::Disconnect { irp } => self.with(irp, |circuit| circuit.disconnect(irp)),
            Op::Send { irp } => self.with(irp, |circuit| circuit.send(irp)),
            Op::Receive { irp } => self.with(irp, |circuit| circuit.receive(irp)),
            Op::Cleanup { irp } => self.with(irp, |circuit| circuit.cleanup(irp)),
            Op::Query { irp, code } => self.with(irp, |circuit| {
                let info = match code {
                    3 => circuit.local().map(|local| query::address(&local, 1)),
                    _ => circuit
                        .is_connected()
                        .then(|| query::connection(circuit.sent, circuit.received)),
                };
                let (result, length) = info.map_or((status::CONNECTION_INVALID, 0), |info| {
                    query::write(irp, &info)
                });
                complete_at_dispatch(irp, result, length);
            }),
        }
    }

    fn with(&mut self, irp: Irp, run: impl FnOnce(&mut Circuit)) {
        match self.circuits.get_mut(&endpoint(irp)) {
            Some(circuit) => run(circuit),
            None => {
                cancel::set_routine(irp, 0);
                complete_at_dispatch(irp, status::CONNECTION_INVALID, 0);
            }
        }
    }
}
