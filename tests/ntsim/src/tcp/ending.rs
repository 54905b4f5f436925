//! How a connection ends: by its client, by the peer, by a lost network, by closed handles.

use std::time::Duration;

use socket2::Socket;

use super::circuit::{Circuit, Phase, Timed};
use crate::gate;
use crate::io::status;
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::Irp;
use crate::tdi::engine::Endpoint as _;
use crate::tdi::{errno_status, finish, handlers};
use crate::trace::{self, EventKind};

/// TDI_DISCONNECT_ABORT.
const ABORT: u64 = 2;
/// TDI_DISCONNECT_RELEASE.
const RELEASE: u64 = 4;

impl Circuit {
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
    pub(super) fn try_release(&mut self) {
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
    pub(super) fn reset(&self) {
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
    pub(super) fn end(&mut self, result: i32, tell: Option<u64>) {
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

    pub(super) fn close_socket(&mut self) {
        if let Some(socket) = self.socket.take() {
            // An error means that the socket was not in the poller any more.
            drop(self.queue.poller().delete(&socket));
        }
        self.external = None;
    }

    /// The disconnect event: the last of a connection, or the peer's half close.
    pub(super) fn tell(&mut self, flags: u64) {
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
    pub(super) fn peer_closed(&mut self) {
        self.end_receives(status::GRACEFUL_DISCONNECT);
        if self.remote_told {
            return;
        }
        self.tell(RELEASE);
        if self.released {
            self.end(status::CONNECTION_INVALID, None);
        }
    }

    /// Data that nobody takes keeps the socket from being read, and so a reset from being seen: "an ABORT ends everything".
    pub(super) fn look_for_reset(&mut self) {
        let error = self.socket.as_ref().map(Socket::take_error);
        if let Some(Ok(Some(error)) | Err(error)) = error {
            self.broken(errno_status(&error));
        }
    }
}
