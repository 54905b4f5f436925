//! The transport's thread: takes queued requests and socket events one by one, and alone owns the circuits.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use polling::{Event, Events};

use super::address::Address;
use super::circuit::Circuit;
use super::order::Order;
use super::query;
use crate::io::complete::complete_at_dispatch;
use crate::io::{cancel, status};
use crate::layout::io::Irp;
use crate::tdi::query::{ADDRESS_INFO, address as address_info, write};
use crate::tdi::{finish, queue};
use crate::thread;

/// What the thread is asked to do. Requests carry IRPs which it owns until it completes them.
pub(super) enum Op {
    Open {
        file: usize,
        context: u64,
        order: Arc<Order>,
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
    /// A receive was posted.
    Receive {
        file: usize,
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
        circuits: HashMap::new(),
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

struct Engine {
    queue: Arc<Queue>,
    circuits: HashMap<usize, Circuit>,
    keys: HashMap<usize, usize>,
    next_key: usize,
    /// A circuit wants to be looked at again soon.
    again: bool,
}

/// The endpoint that a request is for.
fn endpoint(irp: Irp) -> usize {
    irp.current().file().get()
}

impl Engine {
    fn run(&mut self) {
        let mut events = Events::new();
        loop {
            if let Some(op) = self.queue.next(&mut events, self.again) {
                self.handle(op);
                continue;
            }
            self.again = false;
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
            for circuit in self.circuits.values_mut().filter(|circuit| circuit.retry) {
                circuit.service();
                self.again |= circuit.retry;
            }
        }
    }

    fn handle(&mut self, op: Op) {
        match op {
            Op::Open {
                file,
                context,
                order,
            } => {
                let key = self.next_key;
                self.next_key += 1;
                self.keys.insert(key, file);
                self.circuits.insert(
                    file,
                    Circuit::new(file, context, key, Arc::clone(&self.queue), order),
                );
            }
            Op::Forget { file } => {
                if let Some(mut circuit) = self.circuits.remove(&file) {
                    circuit.take_posted();
                }
                self.keys.retain(|_, other| *other != file);
            }
            Op::Receive { file } => {
                if let Some(circuit) = self.circuits.get_mut(&file) {
                    circuit.service();
                    self.again |= circuit.retry;
                }
            }
            Op::Kick { address } => {
                for circuit in self
                    .circuits
                    .values_mut()
                    .filter(|circuit| circuit.is_on(address))
                {
                    circuit.service();
                    self.again |= circuit.retry;
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
                        self.again |= circuit.retry;
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
            Op::Cleanup { irp } => self.with(irp, |circuit| circuit.cleanup(irp)),
            Op::Query { irp, code } => self.with(irp, |circuit| {
                let info = match code {
                    ADDRESS_INFO => circuit.local().map(|local| address_info(&local, 1)),
                    _ => circuit
                        .is_connected()
                        .then(|| query::connection(circuit.sent, circuit.received)),
                };
                let (result, length) =
                    info.map_or((status::CONNECTION_INVALID, 0), |info| write(irp, &info));
                complete_at_dispatch(irp, result, length);
            }),
        }
    }

    fn with(&mut self, irp: Irp, run: impl FnOnce(&mut Circuit)) {
        match self.circuits.get_mut(&endpoint(irp)) {
            Some(circuit) => {
                run(circuit);
                self.again |= circuit.retry;
            }
            None => finish(irp, status::CONNECTION_INVALID, 0),
        }
    }
}
