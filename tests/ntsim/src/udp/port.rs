//! One address object: its socket and its requests. What becomes of a datagram that arrives is in [`super::datagram`].

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;

use polling::Event;
use socket2::{Domain, Socket, Type};

use super::MAX_DATAGRAM;
use super::datagram::Receive;
use crate::dispatcher::host::{self, External};
use crate::gate;
use crate::io::complete::complete_at_dispatch;
use crate::io::status;
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::Irp;
use crate::mem::peek;
use crate::tdi::engine::{self, Endpoint};
use crate::tdi::handlers::{self, Handlers};
use crate::tdi::{self, address, errno_status, finish, memory, would_block};
use crate::trace::{self, EventKind};

/// The way to the thread.
pub(super) type Queue = engine::Queue<Port>;

/// Most datagrams that are delivered before other ports get their turn.
const TURN: usize = 64;

/// Binds the socket of an address object to the value of the EA "TransportAddress".
pub(super) fn bind(value: &[u8], share: bool) -> Result<(Socket, SocketAddr), i32> {
    let local = address::parse(value).ok_or(status::INVALID_ADDRESS_COMPONENT)?;
    if !local.ip().is_unspecified() && !address::is_loopback(&local) {
        return Err(status::INVALID_ADDRESS_COMPONENT);
    }
    let bound = (|| {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(share && local.port() != 0)?;
        if local.is_ipv4() {
            socket.set_broadcast(true)?;
        } else {
            socket.set_only_v6(true)?;
        }
        socket.bind(&local.into())?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(local);
        Ok((socket, bound))
    })();
    bound.map_err(|error| errno_status(&error))
}

/// A TDI_SEND_DATAGRAM that waits for room in the socket.
struct Send {
    irp: Irp,
    bytes: Vec<u8>,
    target: SocketAddr,
}

/// An address object, owned by the transport's thread.
pub(super) struct Port {
    pub(super) file: usize,
    key: usize,
    queue: Arc<Queue>,
    /// Nothing once the address is closed or broken.
    socket: Option<Socket>,
    ipv4: bool,
    pub(super) handlers: Arc<Handlers>,
    /// Someone waits for what the socket may bring: the clock keeps real time.
    external: Option<External>,
    sends: VecDeque<Send>,
    pub(super) receives: VecDeque<Receive>,
    /// Look again soon.
    pub(super) retry: bool,
}

impl Port {
    pub(super) fn new(
        file: usize,
        key: usize,
        socket: Socket,
        handlers: Arc<Handlers>,
        queue: Arc<Queue>,
    ) -> Self {
        // SAFETY: The socket is taken out of the poller before it is closed (`close_socket`).
        let added = unsafe { queue.poller().add(&socket, Event::readable(key)) };
        if let Err(error) = added {
            crate::stop::host_failure(&format!("cannot watch a socket: {error}"));
        }
        let ipv4 = socket.domain().is_ok_and(|domain| domain == Domain::IPV4);
        Self {
            file,
            key,
            queue,
            socket: Some(socket),
            ipv4,
            handlers,
            external: None,
            sends: VecDeque::new(),
            receives: VecDeque::new(),
            retry: false,
        }
    }

    pub(super) fn send(&mut self, irp: Irp) {
        match self.prepare(irp) {
            Ok(send) => self.sends.push_back(send),
            Err(result) => finish(irp, result, 0),
        }
        self.service();
    }

    fn prepare(&self, irp: Irp) -> Result<Send, i32> {
        if self.socket.is_none() {
            return Err(status::ADDRESS_CLOSED);
        }
        let stack = irp.current();
        let length = stack.parameter::<u32>(0).get() as usize;
        let target = tdi::remote_address(stack.parameter::<usize>(8).get())
            .filter(|target| target.is_ipv4() == self.ipv4 && target.port() != 0)
            .ok_or(status::INVALID_ADDRESS_COMPONENT)?;
        if !address::is_loopback(&target) {
            return Err(status::NETWORK_UNREACHABLE);
        }
        if length > MAX_DATAGRAM {
            return Err(status::INVALID_BUFFER_SIZE);
        }
        Ok(Send {
            irp,
            bytes: memory::gather(&memory::pieces(irp, length)),
            target,
        })
    }

    fn push_sends(&mut self) {
        while let (Some(send), Some(socket)) = (self.sends.front(), &self.socket) {
            let result = match socket.send_to(&send.bytes, &send.target.into()) {
                Ok(_) => status::SUCCESS,
                Err(error) if would_block(&error) => return,
                Err(error) => errno_status(&error),
            };
            let sent = if result == status::SUCCESS {
                send.bytes.len()
            } else {
                0
            };
            let irp = send.irp;
            self.sends.pop_front();
            finish(irp, result, sent);
        }
    }

    pub(super) fn receive(&mut self, irp: Irp) {
        if self.socket.is_none() {
            return finish(irp, status::ADDRESS_CLOSED, 0);
        }
        if irp.cancel().get() != 0 {
            return finish(irp, status::CANCELLED, 0);
        }
        self.receives.push_back(Receive::new(irp));
        self.service();
    }

    /// The last handle is closed: everything outstanding ends.
    pub(super) fn cleanup(&mut self, irp: Irp) {
        self.end(status::ADDRESS_CLOSED);
        complete_at_dispatch(irp, status::SUCCESS, 0);
    }

    fn end(&mut self, result: i32) {
        self.close_socket();
        self.retry = false;
        for send in std::mem::take(&mut self.sends) {
            finish(send.irp, result, 0);
        }
        for receive in std::mem::take(&mut self.receives) {
            finish(receive.irp, result, 0);
        }
    }

    fn close_socket(&mut self) {
        if let Some(socket) = self.socket.take() {
            // An error means that the socket was not in the poller any more.
            drop(self.queue.poller().delete(&socket));
        }
        self.external = None;
    }

    /// The socket is broken: the error event says that the address is no longer usable.
    fn broken(&mut self, result: i32) {
        self.end(result);
        let Some(handler) = self.handlers.get(handlers::ERROR) else {
            return;
        };
        trace::event(EventKind::Indication, handler.routine, || {
            format!("ERROR event, {}", status::name(result))
        });
        let arguments = [handler.context as u64, u64::from(result.cast_unsigned())];
        let old = irql::raise_to(DISPATCH_LEVEL);
        irql::guarded("an error handler", || {
            gate::call_named("ClientEventError", handler.routine, &arguments)
        });
        irql::lower_to(old);
    }

    /// Reads a datagram. Nothing if there is none now.
    fn read(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer: Vec<u8> = Vec::with_capacity(usize::from(u16::MAX));
        let socket = self.socket.as_ref()?;
        let room: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
        match socket.recv_from(room) {
            Ok((length, source)) => {
                // SAFETY: The host wrote so many bytes.
                unsafe { buffer.set_len(length) };
                Some((buffer, source.as_socket()?))
            }
            Err(error) if would_block(&error) => None,
            Err(error) => {
                self.broken(errno_status(&error));
                None
            }
        }
    }

    fn watch(&mut self) {
        let Some(socket) = &self.socket else { return };
        let interest = Event::new(self.key, true, !self.sends.is_empty());
        if let Err(error) = self.queue.poller().modify(socket, interest) {
            crate::stop::host_failure(&format!("cannot watch a socket: {error}"));
        }
        let wanted = !self.sends.is_empty()
            || !self.receives.is_empty()
            || self.handlers.get(handlers::RECEIVE_DATAGRAM).is_some();
        if !wanted {
            self.external = None;
        } else if self.external.is_none() {
            self.external = Some(host::external());
        }
    }
}

impl Endpoint for Port {
    const GONE: i32 = status::ADDRESS_CLOSED;

    fn ready(&mut self) {
        self.retry = true;
    }

    /// Moves everything on that can move, then says what the socket is watched for.
    fn service(&mut self) {
        self.retry = false;
        self.push_sends();
        for turn in 0.. {
            if turn == TURN {
                self.retry = true;
                break;
            }
            let Some((bytes, source)) = self.read() else {
                break;
            };
            // A socket that is bound to all addresses hears the network too: the bench does not.
            if address::is_loopback(&source) {
                self.deliver(&bytes, source);
            }
        }
        self.watch();
    }

    fn wants_more(&self) -> bool {
        self.retry
    }

    /// A stale word finds a request whose flag is not set.
    fn cancel(&mut self, irp: Irp) -> bool {
        let Some(index) = self.receives.iter().position(|receive| receive.irp == irp) else {
            return false;
        };
        if irp.cancel().get() != 0 {
            self.receives.remove(index);
            finish(irp, status::CANCELLED, 0);
            self.service();
        }
        true
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.close_socket();
    }
}

/// The remote address that a TDI_RECEIVE_DATAGRAM asks for; port 0 and the address 0 match any.
pub(super) fn filter(irp: Irp) -> Option<SocketAddr> {
    let information = irp.current().parameter::<usize>(8).get();
    if information == 0 || peek::<usize>(information + 0x28) == 0 {
        return None;
    }
    tdi::remote_address(information)
}
