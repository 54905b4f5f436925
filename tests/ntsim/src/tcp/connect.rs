//! TDI_CONNECT.

use polling::Event;
use socket2::{Domain, Socket, Type};

use super::circuit::{Circuit, Phase};
use crate::dispatcher::host;
use crate::io::status;
use crate::layout::io::Irp;
use crate::tdi::engine::Endpoint as _;
use crate::tdi::{self, address, errno_status, finish};

impl Circuit {
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

    pub(super) fn begin_connect(&mut self, irp: Irp) -> Result<(), i32> {
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
    pub(super) fn finish_connect(&mut self) {
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
    pub(super) fn write_return_address(&self, irp: Irp) {
        let peer = self
            .socket
            .as_ref()
            .and_then(|socket| socket.peer_addr().ok())
            .and_then(|peer| peer.as_socket());
        if let Some(peer) = peer {
            tdi::return_address(irp.current().parameter::<usize>(16).get(), &peer);
        }
    }
}
