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
mod port;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::io::status;
use crate::layout::io::{FileObject, Irp};
use crate::tdi::engine::{self, Op};
use crate::tdi::front::{self, Transport};
use crate::tdi::handlers::Handlers;
use crate::tdi::query::{self, Provider};
use crate::tdi::{ADDRESS_FILE, now};
use port::{Port, Queue};

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
struct Udp {
    queue: Arc<Queue>,
    addresses: Mutex<HashMap<usize, Arc<Address>>>,
}

/// Makes a UDP transport under a device name, such as `\Device\Udp`.
pub fn install(name: &str) {
    let transport = Udp {
        queue: engine::start(name),
        addresses: Mutex::default(),
    };
    front::install(name, transport);
}

impl Transport for Udp {
    type Endpoint = Port;

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn handlers(&self, file: FileObject) -> Option<Arc<Handlers>> {
        self.address(file)
            .map(|address| Arc::clone(&address.handlers))
    }

    fn open_address(&self, file: FileObject, value: &[u8], share: u16) -> Result<(), i32> {
        let (socket, bound) = port::bind(value, share != 0)?;
        let handlers = Arc::new(Handlers::new());
        let address = Address {
            handlers: Arc::clone(&handlers),
            bound,
        };
        self.addresses.lock().insert(file.0, Arc::new(address));
        let (file, queue) = (file.0, Arc::clone(&self.queue));
        self.queue.push(Op::Open {
            file,
            make: Box::new(move |key| Port::new(file, key, socket, handlers, queue)),
        });
        Ok(())
    }

    fn address_closed(&self, irp: Irp, _file: FileObject) -> i32 {
        self.pend_for(irp, Port::cleanup)
    }

    fn forget(&self, file: FileObject) {
        if self.addresses.lock().remove(&file.0).is_some() {
            self.queue.push(Op::Forget { file: file.0 });
        }
    }

    fn handlers_changed(&self, file: FileObject) {
        self.queue.push(Op::Look { file: file.0 });
    }

    fn request(&self, irp: Irp, file: FileObject) -> i32 {
        match (irp.current().minor().get(), file.context2().get()) {
            (0x09, ADDRESS_FILE) => self.pend_for(irp, Port::send),
            (0x0a, ADDRESS_FILE) => self.pend_cancelable(irp, Port::receive),
            (0x0c, _) => self.query(irp, file),
            (0x09 | 0x0a, _) => now(irp, status::INVALID_ADDRESS_COMPONENT),
            _ => now(irp, status::INVALID_DEVICE_REQUEST),
        }
    }
}

impl Udp {
    fn address(&self, file: FileObject) -> Option<Arc<Address>> {
        self.addresses.lock().get(&file.0).cloned()
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
