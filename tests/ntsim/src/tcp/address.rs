//! TRANSPORT_ADDRESS structures and address objects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};

use crate::io::status;

/// TDI_ADDRESS_TYPE_IP.
const TYPE_IP: u16 = 2;
/// TDI_ADDRESS_TYPE_IP6.
const TYPE_IP6: u16 = 23;

/// Reads the first IP address of a TRANSPORT_ADDRESS.
pub fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let count = i32::from_le_bytes(*bytes.first_chunk::<4>()?);
    let mut rest = bytes.get(4..)?;
    for _ in 0..count {
        let length = usize::from(u16::from_le_bytes(*rest.first_chunk::<2>()?));
        let kind = u16::from_le_bytes(*rest.get(2..4)?.first_chunk::<2>()?);
        let data = rest.get(4..4 + length)?;
        match kind {
            TYPE_IP if length >= 14 => {
                let port = u16::from_be_bytes(*data.first_chunk::<2>()?);
                let ip = Ipv4Addr::from(*data.get(2..6)?.first_chunk::<4>()?);
                return Some(SocketAddr::from((ip, port)));
            }
            TYPE_IP6 if length >= 26 => {
                let port = u16::from_be_bytes(*data.first_chunk::<2>()?);
                let ip = Ipv6Addr::from(*data.get(6..22)?.first_chunk::<16>()?);
                let scope = u32::from_le_bytes(*data.get(22..26)?.first_chunk::<4>()?);
                return Some(SocketAddrV6::new(ip, port, 0, scope).into());
            }
            _ => rest = rest.get(4 + length..)?,
        }
    }
    None
}

/// Writes a TRANSPORT_ADDRESS with one address.
pub fn encode(address: &SocketAddr) -> Vec<u8> {
    let mut bytes = 1_i32.to_le_bytes().to_vec();
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend([14, 0, 2, 0]);
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend([26, 0, 23, 0]);
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend(v6.flowinfo().to_le_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_le_bytes());
        }
    }
    bytes
}

/// Whether traffic to this address stays on the machine: the only kind that the bench allows.
pub fn is_loopback(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}

/// An event handler of a client.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Handler {
    pub(super) routine: usize,
    pub(super) context: usize,
}

/// An open address object.
pub struct Address {
    pub(super) file: usize,
    local: SocketAddr,
    /// Keeps the port, and tells which one it is.
    placeholder: Socket,
    handlers: Mutex<[Handler; 11]>,
    open: AtomicBool,
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
        let placeholder = bound.map_err(|error| errno_status(&error))?;
        let handlers = Mutex::new([Handler::default(); 11]);
        Ok(Self {
            file,
            local,
            placeholder,
            handlers,
            open: AtomicBool::new(true),
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

    /// Registers a handler; false for an unknown event.
    pub(super) fn set_handler(&self, event: i32, routine: usize, context: usize) -> bool {
        let mut handlers = self.handlers.lock();
        match usize::try_from(event)
            .ok()
            .and_then(|event| handlers.get_mut(event))
        {
            Some(handler) => {
                *handler = Handler { routine, context };
                true
            }
            None => false,
        }
    }

    /// The handler of an event, if one is set and the address is open.
    pub(super) fn handler(&self, event: usize) -> Option<Handler> {
        let handlers = self.handlers.lock();
        handlers
            .get(event)
            .copied()
            .filter(|handler| handler.routine != 0 && self.open.load(Ordering::Acquire))
    }

    /// The last handle is closed: no handler is called from now on (one that runs may still be running).
    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Release);
    }
}

/// The status for an error of the host's sockets; the table is in the documentation of [`crate::tcp`].
pub(super) fn errno_status(error: &std::io::Error) -> i32 {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => status::CONNECTION_REFUSED,
        Some(libc::ECONNRESET | libc::EPIPE) => status::CONNECTION_RESET,
        Some(libc::ETIMEDOUT) => status::IO_TIMEOUT,
        Some(libc::ENETUNREACH) => status::NETWORK_UNREACHABLE,
        Some(libc::EHOSTUNREACH) => status::HOST_UNREACHABLE,
        Some(libc::EADDRINUSE) => status::ADDRESS_ALREADY_EXISTS,
        Some(libc::EADDRNOTAVAIL) => status::INVALID_ADDRESS_COMPONENT,
        Some(libc::ENOMEM | libc::ENOBUFS | libc::EMFILE | libc::ENFILE) => {
            status::INSUFFICIENT_RESOURCES
        }
        _ => status::CONNECTION_ABORTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["127.0.0.1:564", "[::1]:9999", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().expect("a literal address");
            assert_eq!(parse(&encode(&address)), Some(address));
        }
        assert_eq!(
            encode(&"1.2.3.4:5".parse().expect("a literal address")).len(),
            22
        );
        assert_eq!(
            encode(&"[::1]:5".parse().expect("a literal address")).len(),
            34
        );
    }

    #[test]
    fn truncated_and_lying_addresses_are_refused() {
        let good = encode(&"127.0.0.1:564".parse().expect("a literal address"));
        for length in 0..good.len() {
            assert_eq!(
                parse(good.get(..length).unwrap_or_default()),
                None,
                "{length} bytes"
            );
        }
        let mut lying = good;
        lying.splice(4..6, [0xff, 0xff]);
        assert_eq!(parse(&lying), None);
    }
}
