//! A TDI transport over real TCP sockets of the host, loopback only.
//!
//! Each request is pended, as Windows' transports do for most.
//!
//! Where it is kinder than Windows: each connection from an address with port 0 gets a local port of its own, while Windows
//! binds the port when the address is opened.

mod address;
mod circuit;
mod engine;
pub mod order;
mod query;
mod transfer;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::io::call::mark_pending;
use crate::io::{HostDriver, cancel, create, device, status};
use crate::irql;
use crate::layout::io::{
    Device, FileObject, Irp, MJ_CLEANUP, MJ_CLOSE, MJ_CREATE, MJ_INTERNAL_DEVICE_CONTROL,
};
use crate::ob::routines::peek_handle;
use crate::stop;
use crate::tdi::query::{
    ADDRESS_INFO, CONNECTION_INFO, PROVIDER_INFO, address as address_info, answer,
};
use crate::tdi::{ADDRESS_FILE, CONNECTION_FILE, CONTROL_CHANNEL_FILE, DEVICE_NETWORK, now};
use address::Address;
use engine::{Op, Queue};
use order::Order;

/// The transport behind one device.
struct Transport {
    queue: Arc<Queue>,
    addresses: Mutex<HashMap<usize, Arc<Address>>>,
    endpoints: Mutex<HashMap<usize, Arc<Order>>>,
}

/// Makes a TCP transport under a device name, such as `\Device\Tcp`.
pub fn install(name: &str) {
    let queue = engine::start(name);
    let transport = Transport {
        queue,
        addresses: Mutex::default(),
        endpoints: Mutex::default(),
    };
    device::create_host(name, DEVICE_NETWORK, 1, Arc::new(transport));
}

impl HostDriver for Transport {
    fn dispatch(&self, _device: Device, irp: Irp) -> i32 {
        let stack = irp.current();
        let file = FileObject(stack.file().get());
        match stack.major().get() {
            MJ_CREATE => self.create(irp, file),
            MJ_CLEANUP => self.cleanup(irp, file),
            MJ_CLOSE => self.close(irp, file),
            MJ_INTERNAL_DEVICE_CONTROL => self.internal(irp, file),
            _ => now(irp, status::INVALID_DEVICE_REQUEST),
        }
    }
}

impl Transport {
    fn create(&self, irp: Irp, file: FileObject) -> i32 {
        let stack = irp.current();
        let (list, length) = (
            irp.system_buffer().get(),
            stack.parameter::<u32>(0x18).get() as usize,
        );
        if list == 0 || length == 0 {
            file.context2().set(CONTROL_CHANNEL_FILE);
            return now(irp, status::SUCCESS);
        }
        if let Some(value) = create::ea_value(list, length, b"TransportAddress") {
            return match Address::open(file.0, &value, stack.parameter::<u16>(0x12).get()) {
                Ok(address) => {
                    self.addresses.lock().insert(file.0, Arc::new(address));
                    file.context2().set(ADDRESS_FILE);
                    now(irp, status::SUCCESS)
                }
                Err(result) => now(irp, result),
            };
        }
        let Some(value) = create::ea_value(list, length, b"ConnectionContext") else {
            return now(irp, status::INVALID_EA_NAME);
        };
        let Some(context) = value.first_chunk::<8>().filter(|_| value.len() == 8) else {
            return now(irp, status::INVALID_PARAMETER);
        };
        file.context2().set(CONNECTION_FILE);
        let order = Arc::new(Order::default());
        self.endpoints.lock().insert(file.0, Arc::clone(&order));
        self.queue.push(Op::Open {
            file: file.0,
            context: u64::from_le_bytes(*context),
            order,
        });
        now(irp, status::SUCCESS)
    }

    fn cleanup(&self, irp: Irp, file: FileObject) -> i32 {
        match file.context2().get() {
            CONNECTION_FILE => self.pend(irp, Op::Cleanup { irp }),
            ADDRESS_FILE => {
                if let Some(address) = self.address(file) {
                    address.handlers.close();
                    return self.pend(irp, Op::AddressGone { irp, file: file.0 });
                }
                now(irp, status::SUCCESS)
            }
            _ => now(irp, status::SUCCESS),
        }
    }

    fn close(&self, irp: Irp, file: FileObject) -> i32 {
        match file.context2().get() {
            CONNECTION_FILE => {
                self.endpoints.lock().remove(&file.0);
                self.queue.push(Op::Forget { file: file.0 });
            }
            ADDRESS_FILE => {
                self.addresses.lock().remove(&file.0);
            }
            _ => {}
        }
        now(irp, status::SUCCESS)
    }

    fn address(&self, file: FileObject) -> Option<Arc<Address>> {
        self.addresses.lock().get(&file.0).cloned()
    }

    fn pend(&self, irp: Irp, op: Op) -> i32 {
        mark_pending(irp);
        self.queue.push(op);
        status::PENDING
    }

    /// Pends a request that may be cancelled. The engine completes it in either case, so a cancel only queues a word.
    fn pend_cancelable(&self, irp: Irp, op: Op) -> i32 {
        cancel::set_routine(irp, engine::cancel_routine());
        self.pend(irp, op)
    }

    fn internal(&self, irp: Irp, file: FileObject) -> i32 {
        let stack = irp.current();
        let minor = stack.minor().get();
        let kind = file.context2().get();
        match (minor, kind) {
            (0x01, CONNECTION_FILE) => self.associate(irp),
            (0x02, CONNECTION_FILE) => self.pend(irp, Op::Disassociate { irp }),
            (0x03, CONNECTION_FILE) => self.pend_cancelable(irp, Op::Connect { irp }),
            (0x06, CONNECTION_FILE) => self.disconnect(irp),
            (0x07, CONNECTION_FILE) => self.pend(irp, Op::Send { irp }),
            (0x08, CONNECTION_FILE) => self.receive(irp, file),
            (0x0b, ADDRESS_FILE) => self.set_event_handler(irp, file),
            (0x0c, _) => self.query(irp, file),
            (0x01..=0x08, _) => now(irp, status::INVALID_CONNECTION),
            (0x0b, _) => now(irp, status::INVALID_ADDRESS_COMPONENT),
            _ => now(irp, status::INVALID_DEVICE_REQUEST),
        }
    }

    /// A receive request is outstanding from here on: it does not queue behind what the thread is doing.
    fn receive(&self, irp: Irp, file: FileObject) -> i32 {
        let Some(order) = self.endpoints.lock().get(&file.0).cloned() else {
            return now(irp, status::CONNECTION_INVALID);
        };
        cancel::set_routine(irp, engine::cancel_routine());
        mark_pending(irp);
        order.post(irp);
        self.queue.push(Op::Receive { file: file.0 });
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
        self.pend(irp, Op::Associate { irp, address })
    }

    /// Flags are checked before anything else: a bad set leaves the connection alone (spec tdi.md §4).
    fn disconnect(&self, irp: Irp) -> i32 {
        match irp.current().parameter::<u64>(0).get() {
            0 | 2 | 4 => self.pend(irp, Op::Disconnect { irp }),
            _ => now(irp, status::INVALID_PARAMETER),
        }
    }

    fn set_event_handler(&self, irp: Irp, file: FileObject) -> i32 {
        let stack = irp.current();
        let (event, routine) = (
            stack.parameter::<i32>(0).get(),
            stack.parameter::<usize>(8).get(),
        );
        let context = stack.parameter::<usize>(16).get();
        let Some(address) = self.address(file) else {
            return now(irp, status::INVALID_ADDRESS_COMPONENT);
        };
        if !address.handlers.set(event, routine, context) {
            return now(irp, status::INVALID_PARAMETER);
        }
        // Data may be waiting for a receive handler.
        self.queue.push(Op::Kick { address: file.0 });
        now(irp, status::SUCCESS)
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
            (ADDRESS_INFO | CONNECTION_INFO, CONNECTION_FILE) => {
                self.pend(irp, Op::Query { irp, code })
            }
            _ => now(irp, status::INVALID_DEVICE_REQUEST),
        }
    }
}
