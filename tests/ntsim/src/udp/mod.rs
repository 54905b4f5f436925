//! A TDI datagram transport over real UDP sockets of the host, loopback only.
//!
//! An address object is a socket. A datagram that arrives goes to the first outstanding TDI_RECEIVE_DATAGRAM that wants its
//! source, else to the receive handler; if there is none, or it refuses, the datagram is lost ("untaken data is lost",
//! spec tdi.md §5). What does not fit into a request is cut off, and the request completes with BUFFER_OVERFLOW.
//!
//! A handler sees the first [`LOOKAHEAD`] bytes, what one packet of an Ethernet carries. It gets the rest only by a
//! TDI_RECEIVE_DATAGRAM that it hands back.
//!
//! Where it is kinder than Windows: nothing tells a client that a datagram found no listener (no ERROR_EX event). Where it is
//! poorer: no multicast, which would leave the machine, and TDI_RECEIVE_BROADCAST is never set in indications.

mod datagram;
mod engine;
mod port;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::io::call::mark_pending;
use crate::io::{HostDriver, cancel, create, device, status};
use crate::layout::io::{
    Device, FileObject, Irp, MJ_CLEANUP, MJ_CLOSE, MJ_CREATE, MJ_INTERNAL_DEVICE_CONTROL,
};
use crate::tdi::handlers::Handlers;
use crate::tdi::query::{self, Provider};
use crate::tdi::{ADDRESS_FILE, CONTROL_CHANNEL_FILE, DEVICE_NETWORK, now};
use engine::{Op, Queue};

/// Most bytes of a datagram that a handler is shown: the payload of one packet of 1500 bytes.
pub const LOOKAHEAD: usize = 1472;
/// The longest datagram over IPv4: 65535 less the headers of IP and UDP.
pub const MAX_DATAGRAM: usize = 65507;
/// CONNECTIONLESS_MODE, BROADCAST_SUPPORTED.
const SERVICE_FLAGS: u32 = 0x4 | 0x20;

/// An open address, as the dispatch routines see it.
struct Address {
    handlers: Arc<Handlers>,
    bound: SocketAddr,
}

/// The transport behind one device.
struct Transport {
    queue: Arc<Queue>,
    addresses: Mutex<HashMap<usize, Arc<Address>>>,
}

/// Makes a UDP transport under a device name, such as `\Device\Udp`.
pub fn install(name: &str) {
    let transport = Transport {
        queue: engine::start(name),
        addresses: Mutex::default(),
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
        // There are no connections here: an EA "ConnectionContext" is none that this transport knows.
        let Some(value) = create::ea_value(list, length, b"TransportAddress") else {
            return now(irp, status::INVALID_EA_NAME);
        };
        let share = stack.parameter::<u16>(0x12).get();
        let (socket, bound) = match port::bind(&value, share != 0) {
            Ok(bound) => bound,
            Err(result) => return now(irp, result),
        };
        let handlers = Arc::new(Handlers::new());
        let address = Address {
            handlers: Arc::clone(&handlers),
            bound,
        };
        self.addresses.lock().insert(file.0, Arc::new(address));
        file.context2().set(ADDRESS_FILE);
        self.queue.push(Op::Open {
            file: file.0,
            socket,
            handlers,
        });
        now(irp, status::SUCCESS)
    }

    fn cleanup(&self, irp: Irp, file: FileObject) -> i32 {
        let Some(address) = self.address(file) else {
            return now(irp, status::SUCCESS);
        };
        address.handlers.close();
        self.pend(irp, Op::Cleanup { irp })
    }

    fn close(&self, irp: Irp, file: FileObject) -> i32 {
        if self.addresses.lock().remove(&file.0).is_some() {
            self.queue.push(Op::Forget { file: file.0 });
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

    fn internal(&self, irp: Irp, file: FileObject) -> i32 {
        match (irp.current().minor().get(), file.context2().get()) {
            (0x09, ADDRESS_FILE) => self.pend(irp, Op::Send { irp }),
            (0x0a, ADDRESS_FILE) => {
                cancel::set_routine(irp, engine::cancel_routine());
                self.pend(irp, Op::Receive { irp })
            }
            (0x0b, ADDRESS_FILE) => self.set_event_handler(irp, file),
            (0x0c, _) => self.query(irp, file),
            (0x09..=0x0b, _) => now(irp, status::INVALID_ADDRESS_COMPONENT),
            _ => now(irp, status::INVALID_DEVICE_REQUEST),
        }
    }

    fn set_event_handler(&self, irp: Irp, file: FileObject) -> i32 {
        let stack = irp.current();
        let (event, routine, context) = (
            stack.parameter::<i32>(0).get(),
            stack.parameter::<usize>(8).get(),
            stack.parameter::<usize>(16).get(),
        );
        let Some(address) = self.address(file) else {
            return now(irp, status::INVALID_ADDRESS_COMPONENT);
        };
        if !address.handlers.set(event, routine, context) {
            return now(irp, status::INVALID_PARAMETER);
        }
        self.queue.push(Op::Look { file: file.0 });
        now(irp, status::SUCCESS)
    }

    fn query(&self, irp: Irp, file: FileObject) -> i32 {
        let code = irp.current().parameter::<u32>(0).get();
        let longest = u32::try_from(MAX_DATAGRAM).unwrap_or(u32::MAX);
        let lookahead = u32::try_from(LOOKAHEAD).unwrap_or(u32::MAX);
        match (code, self.address(file)) {
            (query::PROVIDER_INFO, _) => {
                let provider = Provider {
                    max_send: longest,
                    max_datagram: longest,
                    service_flags: SERVICE_FLAGS,
                    min_lookahead: lookahead,
                    max_lookahead: lookahead,
                };
                query::answer(irp, &query::provider(&provider))
            }
            (query::ADDRESS_INFO, Some(address)) => {
                query::answer(irp, &query::address(&address.bound, 1))
            }
            (query::DATAGRAM_INFO, Some(_)) => {
                // MaximumDatagramBytes, and a count without a limit of this transport.
                let info = [longest.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
                query::answer(irp, &info)
            }
            (query::MAX_DATAGRAM_INFO, _) => query::answer(irp, &longest.to_le_bytes()),
            _ => now(irp, status::INVALID_DEVICE_REQUEST),
        }
    }
}
