//! A TDI transport over real TCP sockets of the host, loopback only.
//!
//! Each request is pended, as Windows' transports do for most.
//!
//! Where it is kinder than Windows: each connection from an address with port 0 gets a local port of its own, while Windows
//! binds the port when the address is opened.

mod address;
mod circuit;
mod connect;
mod ending;
pub mod order;
mod query;
mod transfer;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::io::call::mark_pending;
use crate::io::{cancel, status};
use crate::irql;
use crate::layout::io::{FileObject, Irp};
use crate::ob::routines::peek_handle;
use crate::stop;
use crate::tdi::engine::{self, Endpoint as _, Op};
use crate::tdi::front::{self, Transport};
use crate::tdi::handlers::Handlers;
use crate::tdi::query::{
    ADDRESS_INFO, CONNECTION_INFO, PROVIDER_INFO, address as address_info, answer,
};
use crate::tdi::{ADDRESS_FILE, CONNECTION_FILE, now};
use address::Address;
use circuit::{Circuit, Queue};
use order::Order;

/// The transport behind one device.
struct Tcp {
    queue: Arc<Queue>,
    addresses: Mutex<HashMap<usize, Arc<Address>>>,
    endpoints: Mutex<HashMap<usize, Arc<Order>>>,
}

/// Makes a TCP transport under a device name, such as `\Device\Tcp`.
pub fn install(name: &str) {
    let transport = Tcp {
        queue: engine::start(name),
        addresses: Mutex::default(),
        endpoints: Mutex::default(),
    };
    front::install(name, transport);
}

impl Transport for Tcp {
    type Endpoint = Circuit;

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn handlers(&self, file: FileObject) -> Option<Arc<Handlers>> {
        self.address(file)
            .map(|address| Arc::clone(&address.handlers))
    }

    fn open_address(&self, file: FileObject, value: &[u8], share: u16) -> Result<(), i32> {
        let address = Address::open(file.0, value, share)?;
        self.addresses.lock().insert(file.0, Arc::new(address));
        Ok(())
    }

    fn open_endpoint(&self, file: FileObject, context: u64) -> Result<(), i32> {
        let order = Arc::new(Order::default());
        self.endpoints.lock().insert(file.0, Arc::clone(&order));
        let (file, queue) = (file.0, Arc::clone(&self.queue));
        self.queue.push(Op::Open {
            file,
            make: Box::new(move |key| Circuit::new(file, context, key, queue, order)),
        });
        Ok(())
    }

    fn address_closed(&self, irp: Irp, file: FileObject) -> i32 {
        let address = file.0;
        let run = move |circuit: &mut Circuit| {
            if circuit.is_on(address) {
                circuit.address_gone();
            }
        };
        let (run, then) = (Box::new(run), Some(irp));
        self.pend(irp, Op::Each { run, then })
    }

    fn endpoint_closed(&self, irp: Irp) -> i32 {
        self.pend_for(irp, Circuit::cleanup)
    }

    fn forget(&self, file: FileObject) {
        if self.endpoints.lock().remove(&file.0).is_some() {
            self.queue.push(Op::Forget { file: file.0 });
        }
        self.addresses.lock().remove(&file.0);
    }

    /// Data may be waiting for a receive handler.
    fn handlers_changed(&self, file: FileObject) {
        let address = file.0;
        let run = move |circuit: &mut Circuit| {
            if circuit.is_on(address) {
                circuit.service();
            }
        };
        let (run, then) = (Box::new(run), None);
        self.queue.push(Op::Each { run, then });
    }

    fn request(&self, irp: Irp, file: FileObject) -> i32 {
        match (irp.current().minor().get(), file.context2().get()) {
            (0x01, CONNECTION_FILE) => self.associate(irp),
            (0x02, CONNECTION_FILE) => self.pend_for(irp, Circuit::disassociate),
            (0x03, CONNECTION_FILE) => self.pend_cancelable(irp, Circuit::connect),
            (0x06, CONNECTION_FILE) => self.disconnect(irp),
            (0x07, CONNECTION_FILE) => self.pend_for(irp, Circuit::send),
            (0x08, CONNECTION_FILE) => self.receive(irp, file),
            (0x0c, _) => self.query(irp, file),
            (0x01..=0x08, _) => now(irp, status::INVALID_CONNECTION),
            _ => now(irp, status::INVALID_DEVICE_REQUEST),
        }
    }
}

impl Tcp {
    fn address(&self, file: FileObject) -> Option<Arc<Address>> {
        self.addresses.lock().get(&file.0).cloned()
    }

    /// A receive request is outstanding from here on: it does not queue behind what the thread is doing.
    fn receive(&self, irp: Irp, file: FileObject) -> i32 {
        let Some(order) = self.endpoints.lock().get(&file.0).cloned() else {
            return now(irp, status::CONNECTION_INVALID);
        };
        cancel::set_routine(irp, engine::cancel_routine());
        mark_pending(irp);
        order.post(irp);
        self.queue.push(Op::Look { file: file.0 });
        status::PENDING
    }

    /// The address handle is referenced in the dispatch routine: the request is for PASSIVE_LEVEL (spec tdi.md §3).
    fn associate(&self, irp: Irp) -> i32 {
        let handle = irp.current().parameter::<u64>(0).get();
        let irql = irql::current();
        if irql != irql::PASSIVE_LEVEL {
            let text = "TDI_ASSOCIATE_ADDRESS above PASSIVE_LEVEL: the transport references the address handle here";
            stop::bug_check(0xc4, [0x2001b, irql.into(), handle, 0], text);
        }
        let Some(body) = peek_handle(handle) else {
            return now(irp, status::INVALID_HANDLE);
        };
        let Some(address) = self.address(FileObject(body)) else {
            return now(irp, status::INVALID_PARAMETER);
        };
        let run = Box::new(move |circuit: &mut Circuit| circuit.associate(irp, address));
        self.pend(irp, Op::Rich { irp, run })
    }

    /// Flags are checked before anything else: a bad set leaves the connection alone (spec tdi.md §4).
    fn disconnect(&self, irp: Irp) -> i32 {
        match irp.current().parameter::<u64>(0).get() {
            0 | 2 | 4 => self.pend_for(irp, Circuit::disconnect),
            _ => now(irp, status::INVALID_PARAMETER),
        }
    }

    fn query(&self, irp: Irp, file: FileObject) -> i32 {
        let stack = irp.current();
        let code = stack.parameter::<u32>(0).get();
        let kind = file.context2().get();
        match (code, kind) {
            (PROVIDER_INFO, _) => answer(irp, &query::provider()),
            (ADDRESS_INFO, ADDRESS_FILE) => match self.address(file) {
                Some(address) => answer(irp, &address_info(&address.bound(), 1)),
                None => now(irp, status::INVALID_ADDRESS_COMPONENT),
            },
            (ADDRESS_INFO | CONNECTION_INFO, CONNECTION_FILE) => self.pend_for(irp, Circuit::query),
            _ => now(irp, status::INVALID_DEVICE_REQUEST),
        }
    }
}
