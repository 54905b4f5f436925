//! One endpoint: its association, what it waits for, and what moves it on. Connecting is in `connect`, data in `transfer`,
//! the end in `ending`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use polling::Event;
use socket2::Socket;

use super::address::Address;
use super::order::Order;
use super::query;
use super::transfer::{Receive, Send};
use crate::clock;
use crate::dispatcher::host::{self, External};
use crate::io::complete::complete_at_dispatch;
use crate::io::status;
use crate::layout::io::Irp;
use crate::mem::peek;
use crate::tdi::engine::{self, Endpoint, Op};
use crate::tdi::finish;
use crate::tdi::query::{ADDRESS_INFO, address as address_info, write};

/// The way to the thread.
pub(super) type Queue = engine::Queue<Circuit>;

/// Where the connection of an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Connecting,
    Connected,
}

/// A request with a time limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed {
    pub(super) irp: Irp,
    limit: Option<(u64, u64)>,
}

/// An endpoint and its connection, owned by the transport's thread.
pub(super) struct Circuit {
    pub(super) file: usize,
    pub(super) context: u64,
    pub(super) key: usize,
    pub(super) queue: Arc<Queue>,
    /// Receives that clients post, and the check of their order.
    pub(super) order: Arc<Order>,
    pub(super) address: Option<Arc<Address>>,
    pub(super) phase: Phase,
    pub(super) socket: Option<Socket>,
    /// The socket may still bring something: the clock keeps real time.
    pub(super) external: Option<External>,
    pub(super) connect: Option<Timed>,
    pub(super) release: Option<Timed>,
    /// Our side is closed.
    pub(super) released: bool,
    /// The peer's FIN was read.
    pub(super) remote_closed: bool,
    pub(super) remote_told: bool,
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
    pub(super) watched: (bool, bool),
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
    pub(super) fn timed(&self, irp: Irp) -> Timed {
        let place = irp.current().parameter::<usize>(24).get();
        let time = if place == 0 { 0 } else { peek::<i64>(place) };
        let (queue, file) = (Arc::clone(&self.queue), self.file);
        let limit = (time < 0).then(|| {
            clock::at(clock::deadline(time), move || {
                queue.push(Op::At {
                    file,
                    run: Box::new(move |circuit| circuit.time_out(irp)),
                })
            })
        });
        Timed { irp, limit }
    }

    pub(super) fn finish_timed(timed: Option<Timed>, result: i32) {
        if let Some(Timed { irp, limit }) = timed {
            if let Some(key) = limit {
                clock::cancel(key);
            }
            finish(irp, result, 0);
        }
    }

    /// TDI_QUERY_INFORMATION.
    pub(super) fn query(&mut self, irp: Irp) {
        let info = match irp.current().parameter::<u32>(0).get() {
            ADDRESS_INFO => self.local().map(|local| address_info(&local, 1)),
            _ => self
                .is_connected()
                .then(|| query::connection(self.sent, self.received)),
        };
        let (result, length) =
            info.map_or((status::CONNECTION_INVALID, 0), |info| write(irp, &info));
        complete_at_dispatch(irp, result, length);
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

impl Endpoint for Circuit {
    const GONE: i32 = status::CONNECTION_INVALID;

    fn ready(&mut self) {
        self.retry = true;
    }

    /// Moves everything on that can move, then says what the socket is watched for.
    fn service(&mut self) {
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

    fn wants_more(&self) -> bool {
        self.retry
    }

    /// A stale word finds a request whose flag is not set.
    fn cancel(&mut self, irp: Irp) -> bool {
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

    fn forget(&mut self) {
        self.take_posted();
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        self.close_socket();
    }
}
