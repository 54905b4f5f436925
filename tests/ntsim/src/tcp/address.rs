//! Address objects.

use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};

use crate::io::status;
use crate::tdi::address::{is_loopback, parse};
use crate::tdi::errno_status;
use crate::tdi::handlers::Handlers;

/// An open address object.
pub(super) struct Address {
    pub(super) file: usize,
    pub(super) handlers: Arc<Handlers>,
    local: SocketAddr,
    /// Keeps the port, and tells which one it is.
    placeholder: Socket,
}

impl Address {
    /// Opens an address object from the value of the EA "TransportAddress".
    pub(super) fn open(file: usize, value: &[u8], share: u16) -> Result<Self, i32> {
        let local = parse(value).ok_or(status::INVALID_ADDRESS_COMPONENT)?;
        if !local.ip().is_unspecified() && !is_loopback(&local) {
            return Err(status::INVALID_ADDRESS_COMPONENT);
        }
        let bound = (|| {
            let socket = Socket::new(Domain::for_address(local), Type::STREAM, None)?;
            // A shared address, and the connections made from it, use the same port.
            socket.set_reuse_address(share != 0 || local.port() != 0)?;
            socket.bind(&local.into())?;
            Ok(socket)
        })();
        Ok(Self {
            file,
            handlers: Arc::new(Handlers::new()),
            local,
            placeholder: bound.map_err(|error| errno_status(&error))?,
        })
    }

    /// The local address as bound.
    pub(super) fn bound(&self) -> SocketAddr {
        self.placeholder
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket())
            .unwrap_or(self.local)
    }

    /// The local address that a connection binds to, if the client named one.
    pub(super) fn for_connection(&self) -> Option<SocketAddr> {
        (self.local.port() != 0 || !self.local.ip().is_unspecified()).then_some(self.local)
    }
}
