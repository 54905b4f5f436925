//! One endpoint: its association, connection and disconnection. Data is in [`super::transfer`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use polling::Event;
use socket2::{Domain, Socket, Type};

use super::address::Address;
use super::engine::{Op, Queue};
use super::order::Order;
use super::transfer::{Receive, Send};
use crate::clock;
use crate::dispatcher::host::{self, External};
use crate::gate;
use crate::io::status;
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::Irp;
use crate::mem::peek;
use crate::tdi::{self, address, errno_status, finish, handlers};
use crate::trace::{self, EventKind};

/// TDI_DISCONNECT_ABORT.
const ABORT: u64 = 2;
/// TDI_DISCONNECT_RELEASE.
const RELEASE: u64 = 4;

/// Where the connection of an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Connecting,
    Connected,
}

/// A request with a time limit.
#[derive(Debug, Clone, Copy)]
struct Timed {
    irp: Irp,
    limit: Option<(u64, u64)>,
}

/// An endpoint and its connection, owned by the transport's thread.
pub(super) struct Circuit {
    pub(super) file: usize,
    pub(super) context: u64,
    key: usize,
    queue: Arc<Queue>,
    /// Receives that clients post, and the check of their order.
    pub(super) order: Arc<Order>,
    pub(super) address: Option<Arc<Address>>,
    pub(super) phase: Phase,
    pub(super) socket: Option<Socket>,
    /// The socket may still bring something: the clock keeps real time.
    external: Option<External>,
    connect: Option<Timed>,
    release: Option<Timed>,
    /// Our side is closed.
    released: bool,
    /// The peer's FIN was read.
    pub(super) remote_closed: bool,
    remote_told: bool,
    /// A handler refused data and no receive was issued since.
    pub(super) refused: bool,
    pub(super) sends: VecDeque<Send>,
    pub(super) receives: VecDeque<Receive>,
    /// Data read from the socket that nobody has taken yet.
    pub(super) unread: Vec<u8>,
    pub(super) sent: u32,
    pub(super) received: u32,
    /// Look again soon.
    pub(super) retry: bool,
    /// What the socket is watched for: readable, writable.
    watched: (bool, bool),
}

impl Circuit {
    pub(super) fn new(
        file: usize,
        context: u64,
        key: usize,
        queue: Arc<Queue>,
        order: Arc<Order>,
    ) -> Self {
        Self {
            file,
            context,
            key,
            queue,
            order,
            address: None,
            phase: Phase::Idle,
            socket: None,
            external: None,
            connect: None,
            release: None,
            released: false,
            remote_closed: false,
            remote_told: false,
            refused: false,
            sends: VecDeque::new(),
            receives: VecDeque::new(),
            unread: Vec::new(),
            sent: 0,
            received: 0,
            retry: false,
            watched: (false, false),
        }
    }

    pub(super) fn is_on(&self, address: usize) -> bool {
        self.address.as_ref().is_some_and(|own| own.file == address)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Whether data may still be sent.
    pub(super) fn can_send(&self) -> bool {
        self.is_connected() && !self.released && self.release.is_none()
    }

    /// The local address: the connection's, else that of the associated address object.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        let connected = self
            .socket
            .as_ref()
            .and_then(|socket| socket.local_addr().ok())
            .and_then(|local| local.as_socket());
        connected.or_else(|| self.address.as_ref().map(|address| address.bound()))
    }

    /// The poller reported something.
    pub(super) fn ready(&mut self) {
        self.retry = true;
    }

    pub(super) fn associate(&mut self, irp: Irp, address: Arc<Address>) {
        if self.address.is_some() {
            return finish(irp, status::ADDRESS_ALREADY_ASSOCIATED, 0);
        }
        self.address = Some(address);
        finish(irp, status::SUCCESS, 0);
    }

    pub(super) fn disassociate(&mut self, irp: Irp) {
        let result = match (&self.address, self.phase) {
            (None, _) => status::ADDRESS_NOT_ASSOCIATED,
            (Some(_), Phase::Idle) => status::SUCCESS,
            (Some(_), _) => status::CONNECTION_ACTIVE,
        };
        if result == status::SUCCESS {
            self.address = None;
        }
        finish(irp, result, 0);
    }

    /// Arranges that a request with a relative time limit in RequestSpecific is looked at when the time is over.
    fn timed(&self, irp: Irp) -> Timed {
        let place = irp.current().parameter::<usize>(24).get();
        let time = if place == 0 { 0 } else { peek::<i64>(place) };
        let (queue, file) = (Arc::clone(&self.queue), self.file);
        let limit = (time < 0).then(|| {
            clock::at(clock::deadline(time), move || {
                queue.push(Op::TimeOut { file, irp })
            })
        });
        Timed { irp, limit }
    }

    fn finish_timed(timed: Option<Timed>, result: i32) {
        if let Some(Timed { irp, limit }) = timed {
            if let Some(key) = limit {
                clock::cancel(key);
            }
            finish(irp, result, 0);
        }
    }

    pub(super) fn connect(&mut self, irp: Irp) {
        let result = self.begin_connect(irp);
        if let Err(result) = result {
            return finish(irp, result, 0);
        }
        if irp.cancel().get() != 0 {
            self.end(status::CANCELLED, None);
        }
        self.service();
    }

    fn begin_connect(&mut self, irp: Irp) -> Result<(), i32> {
        let Some(local) = &self.address else {
            return Err(status::ADDRESS_NOT_ASSOCIATED);
        };
        if self.phase != Phase::Idle {
            return Err(status::CONNECTION_ACTIVE);
        }
        let information = irp.current().parameter::<usize>(8).get();
        if information == 0 {
            return Err(status::INVALID_PARAMETER);
        }
        let remote = tdi::remote_address(information).ok_or(status::INVALID_ADDRESS_COMPONENT)?;
        if !address::is_loopback(&remote) {
            return Err(status::NETWORK_UNREACHABLE);
        }
        let socket = (|| {
            let socket = Socket::new(Domain::for_address(remote), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            if let Some(local) = local.for_connection() {
                socket.set_reuse_address(true)?;
                socket.bind(&local.into())?;
            }
            match socket.connect(&remote.into()) {
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
                Err(error) => Err(error),
                Ok(()) => Ok(socket),
            }
        })();
        let socket = socket.map_err(|error| errno_status(&error))?;
        // SAFETY: The socket is taken out of the poller before it is closed (`close_socket`).
        let added = unsafe { self.queue.poller().add(&socket, Event::writable(self.key)) };
        added.map_err(|error| errno_status(&error))?;
        self.watched = (false, true);
        self.socket = Some(socket);
        self.external = Some(host::external());
        self.phase = Phase::Connecting;
        self.connect = Some(self.timed(irp));
        Ok(())
    }

    /// The socket of a connecting endpoint became writable or failed.
    fn finish_connect(&mut self) {
        let Some(socket) = &self.socket else { return };
        match socket.take_error() {
            Ok(None) if socket.peer_addr().is_ok() => {}
            Ok(None) => return,
            Ok(Some(error)) | Err(error) => return self.end(errno_status(&error), None),
        }
        self.phase = Phase::Connected;
        (
            self.released,
            self.remote_closed,
            self.remote_told,
            self.refused,
        ) = (false, false, false, false);
        self.unread.clear();
        self.order.connected();
        if let Some(timed) = &self.connect {
            self.write_return_address(timed.irp);
        }
        Self::finish_timed(self.connect.take(), status::SUCCESS);
    }

    /// ReturnConnectionInformation, if the client gave room for the remote address.
    fn write_return_address(&self, irp: Irp) {
        let peer = self
            .socket
            .as_ref()
            .and_then(|socket| socket.peer_addr().ok())
            .and_then(|peer| peer.as_socket());
        if let Some(peer) = peer {
            tdi::return_address(irp.current().parameter::<usize>(16).get(), &peer);
        }
    }

    pub(super) fn disconnect(&mut self, irp: Irp) {
        if self.phase == Phase::Idle {
            return finish(irp, status::CONNECTION_INVALID, 0);
        }
        // "TDI_DISCONNECT also cancels a pending TDI_CONNECT on the endpoint."
        if irp.current().parameter::<u64>(0).get() != RELEASE || self.phase == Phase::Connecting {
            self.reset();
            self.end(status::CONNECTION_ABORTED, None);
            return finish(irp, status::SUCCESS, 0);
        }
        if !self.can_send() {
            return finish(irp, status::CONNECTION_INVALID, 0);
        }
        self.release = Some(self.timed(irp));
        self.service();
    }

    /// Sends the FIN once the queue of sends is empty.
    fn try_release(&mut self) {
        if self.release.is_none() || !self.sends.is_empty() {
            return;
        }
        if let Some(socket) = &self.socket
            && let Err(error) = socket.shutdown(std::net::Shutdown::Write)
        {
            return self.broken(errno_status(&error));
        }
        self.released = true;
        Self::finish_timed(self.release.take(), status::SUCCESS);
        if self.remote_told {
            self.end(status::CONNECTION_INVALID, None);
        }
    }

    pub(super) fn time_out(&mut self, irp: Irp) {
        let is = |timed: &Option<Timed>| timed.is_some_and(|timed| timed.irp == irp);
        if is(&self.connect) {
            self.end(status::IO_TIMEOUT, None);
        } else if is(&self.release) {
            Self::finish_timed(self.release.take(), status::IO_TIMEOUT);
            self.reset();
            self.end(status::CONNECTION_ABORTED, None);
        }
    }

    /// IoCancelIrp was called; true if the request is (or was) here. A stale word finds a request whose flag is not set.
    pub(super) fn cancel(&mut self, irp: Irp) -> bool {
        if self.connect.is_some_and(|timed| timed.irp == irp) {
            if irp.cancel().get() != 0 {
                self.end(status::CANCELLED, None);
            }
            return true;
        }
        self.take_posted();
        let Some(index) = self.receives.iter().position(|receive| receive.irp == irp) else {
            return false;
        };
        if irp.cancel().get() != 0
            && let Some(receive) = self.receives.remove(index)
        {
            self.finish_receive(irp, status::CANCELLED, receive.filled);
            self.service();
        }
        true
    }

    pub(super) fn cleanup(&mut self, irp: Irp) {
        if self.phase != Phase::Idle {
            if !(self.released && self.remote_told) {
                self.reset();
            }
            self.end(status::CONNECTION_ABORTED, None);
        }
        self.address = None;
        finish(irp, status::SUCCESS, 0);
    }

    /// The address object was closed: nobody is told, the connection is aborted.
    pub(super) fn address_gone(&mut self) {
        if self.phase != Phase::Idle {
            self.reset();
            self.end(status::CONNECTION_ABORTED, None);
        }
        self.address = None;
    }

    /// Makes the coming close of the socket a reset.
    fn reset(&self) {
        if let Some(socket) = &self.socket {
            // If it fails the peer sees a FIN instead of a reset; nothing else changes.
            drop(socket.set_linger(Some(Duration::ZERO)));
        }
    }

    /// The connection broke under way: everything ends, and the client is told last.
    pub(super) fn broken(&mut self, result: i32) {
        self.end(result, Some(ABORT));
    }

    /// Ends the connection: closes the socket, completes everything outstanding, and tells the client if asked to.
    fn end(&mut self, result: i32, tell: Option<u64>) {
        self.close_socket();
        self.phase = Phase::Idle;
        let tell = tell.filter(|_| !self.remote_told);
        self.unread.clear();
        self.retry = false;
        Self::finish_timed(self.connect.take(), result);
        for send in std::mem::take(&mut self.sends) {
            finish(send.irp, result, 0);
        }
        self.end_receives(result);
        Self::finish_timed(self.release.take(), result);
        if let Some(flags) = tell {
            self.tell(flags);
        }
    }

    fn close_socket(&mut self) {
        if let Some(socket) = self.socket.take() {
            // An error means that the socket was not in the poller any more.
            drop(self.queue.poller().delete(&socket));
        }
        self.external = None;
    }

    /// The disconnect event: the last of a connection, or the peer's half close.
    fn tell(&mut self, flags: u64) {
        self.remote_told = true;
        let Some(handler) = self
            .address
            .as_ref()
            .and_then(|address| address.handlers.get(handlers::DISCONNECT))
        else {
            return;
        };
        let name = if flags == RELEASE { "RELEASE" } else { "ABORT" };
        trace::event(EventKind::Indication, handler.routine, || {
            format!("DISCONNECT event, {name}")
        });
        let arguments = [handler.context as u64, self.context, 0, 0, 0, 0, flags];
        let old = irql::raise_to(DISPATCH_LEVEL);
        irql::guarded("a disconnect handler", || {
            gate::call_named("ClientEventDisconnect", handler.routine, &arguments)
        });
        irql::lower_to(old);
    }

    /// The peer's FIN was read and all data before it was taken.
    fn peer_closed(&mut self) {
        self.end_receives(status::GRACEFUL_DISCONNECT);
        if self.remote_told {
            return;
        }
        self.tell(RELEASE);
        if self.released {
            self.end(status::CONNECTION_INVALID, None);
        }
    }

    /// Moves everything on that can move, then says what the socket is watched for.
    pub(super) fn service(&mut self) {
        self.retry = false;
        self.take_posted();
        if self.phase == Phase::Connecting {
            self.finish_connect();
        }
        if self.phase == Phase::Connected {
            self.push_sends();
        }
        if self.phase == Phase::Connected {
            self.try_release();
        }
        if self.phase == Phase::Connected {
            self.deliver();
        }
        if self.phase == Phase::Connected && !self.unread.is_empty() && !self.retry {
            self.look_for_reset();
        }
        let all_taken = self.unread.is_empty() && !self.retry;
        if self.phase == Phase::Connected && self.remote_closed && all_taken {
            self.peer_closed();
        }
        self.watch();
    }

    /// Data that nobody takes keeps the socket from being read, and so a reset from being seen: "an ABORT ends everything".
    fn look_for_reset(&mut self) {
        let error = self.socket.as_ref().map(Socket::take_error);
        if let Some(Ok(Some(error)) | Err(error)) = error {
            self.broken(errno_status(&error));
        }
    }

    fn watch(&mut self) {
        let Some(socket) = &self.socket else { return };
        let writable = self.phase == Phase::Connecting || !self.sends.is_empty();
        let readable =
            self.phase == Phase::Connected && !self.remote_closed && self.unread.is_empty();
        // With neither, epoll still reports errors and hang-ups, once: asked for again, it would report the same again.
        let interest = (readable, writable);
        if interest != (false, false) || interest != self.watched {
            self.watched = interest;
            let interest = Event::new(self.key, readable, writable);
            if let Err(error) = self.queue.poller().modify(socket, interest) {
                let fd = socket.as_raw_fd();
                crate::stop::host_failure(&format!("cannot watch socket {fd}: {error}"));
            }
        }
        if self.remote_closed && !writable {
            self.external = None;
        } else if self.external.is_none() {
            self.external = Some(host::external());
        }
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        self.close_socket();
    }
}
