//! What becomes of a datagram: the first request that wants it, else the receive handler, else nothing.

use std::net::SocketAddr;

use super::LOOKAHEAD;
use super::port::{Port, filter};
use crate::arena::{self, Kind};
use crate::gate;
use crate::io::{call, cancel, status};
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::Irp;
use crate::mem::{self, peek};
use crate::own::{self, Own};
use crate::tdi::memory::{self, Piece};
use crate::tdi::{self, address, finish, handlers};
use crate::trace::{self, EventKind};

/// TDI_RECEIVE_DATAGRAM.
const RECEIVE_REQUEST: u8 = 0x0a;

/// A TDI_RECEIVE_DATAGRAM under way.
pub(super) struct Receive {
    pub(super) irp: Irp,
    pieces: Vec<Piece>,
    length: usize,
    flags: u32,
    wanted: Option<SocketAddr>,
}

impl Receive {
    pub(super) fn new(irp: Irp) -> Self {
        let stack = irp.current();
        let length = stack.parameter::<u32>(0).get() as usize;
        Self {
            irp,
            pieces: memory::pieces(irp, length),
            length,
            flags: stack.parameter::<u32>(24).get(),
            wanted: filter(irp),
        }
    }

    fn wants(&self, source: &SocketAddr) -> bool {
        self.wanted.is_none_or(|wanted| {
            (wanted.ip().is_unspecified() || wanted.ip() == source.ip())
                && (wanted.port() == 0 || wanted.port() == source.port())
        })
    }

    /// Completes it with a datagram, or what fits of it.
    fn fill(self, bytes: &[u8], source: SocketAddr) {
        let copied = memory::fill(&self.pieces, bytes);
        tdi::return_address(self.irp.current().parameter::<usize>(16).get(), &source);
        let result = if bytes.len() > self.length {
            status::BUFFER_OVERFLOW
        } else {
            status::SUCCESS
        };
        finish(self.irp, result, copied);
    }
}

/// A block of driver memory that is there during one call only, and ends at an inaccessible page.
struct Block(usize);

impl Block {
    fn new(bytes: &[u8]) -> Self {
        let block = Self(arena::alloc(bytes.len().max(1), Kind::Pool));
        mem::write_bytes(block.0, bytes);
        block
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        arena::free(self.0);
    }
}

impl Port {
    /// Gives a datagram to whoever wants it.
    pub(super) fn deliver(&mut self, bytes: &[u8], source: SocketAddr) {
        while let Some(index) = self
            .receives
            .iter()
            .position(|receive| receive.wants(&source))
        {
            let Some(receive) = self.receives.remove(index) else {
                return;
            };
            let only_looks = receive.flags & tdi::RECEIVE_PEEK != 0;
            receive.fill(bytes, source);
            if !only_looks {
                return;
            }
        }
        self.indicate(bytes, source);
    }

    fn indicate(&mut self, bytes: &[u8], source: SocketAddr) {
        let Some(handler) = self.handlers.get(handlers::RECEIVE_DATAGRAM) else {
            return;
        };
        let shown = bytes.get(..LOOKAHEAD).unwrap_or(bytes);
        let mut flags = tdi::RECEIVE_NORMAL | tdi::RECEIVE_AT_DISPATCH_LEVEL;
        if shown.len() == bytes.len() {
            flags |= tdi::RECEIVE_ENTIRE_MESSAGE;
        }
        let encoded = address::encode(&source);
        let (from, tsdu, results) = (
            Block::new(&encoded),
            Block::new(shown),
            Block::new(&[0; 16]),
        );
        let arguments = [
            handler.context as u64,
            encoded.len() as u64,
            from.0 as u64,
            0,
            0,
            flags.into(),
            shown.len() as u64,
            bytes.len() as u64,
            results.0 as u64,
            tsdu.0 as u64,
            results.0 as u64 + 8,
        ];
        let old = irql::raise_to(DISPATCH_LEVEL);
        let answer = irql::guarded("a receive-datagram handler", || {
            gate::call_named("ClientEventReceiveDatagram", handler.routine, &arguments)
        });
        irql::lower_to(old);
        let answer = tdi::answer_of(answer);
        let (taken, irp) = (
            peek::<u32>(results.0) as usize,
            Irp(peek::<usize>(results.0 + 8)),
        );
        drop((from, tsdu, results));
        trace::event(EventKind::Indication, handler.routine, || {
            format!(
                "RECEIVE_DATAGRAM event, {} of {} bytes: {}, {taken} taken",
                shown.len(),
                bytes.len(),
                status::name(answer)
            )
        });
        if answer != status::DATA_NOT_ACCEPTED && taken > shown.len() {
            let text = "a receive-datagram handler took more bytes than were indicated";
            own::violation(
                Own::TookTooMuch,
                [taken as u64, shown.len() as u64, 0],
                text,
            );
        }
        if answer == status::MORE_PROCESSING_REQUIRED {
            self.hand_over(irp, bytes.get(taken..).unwrap_or_default(), source);
        }
    }

    /// Fills the request that a handler handed back with the rest of the datagram.
    fn hand_over(&self, irp: Irp, rest: &[u8], source: SocketAddr) {
        if let Err(text) = call::accept_handed_back(irp, RECEIVE_REQUEST, self.file) {
            let text = format!(
                "a receive-datagram handler handed back IRP {:#x}: {text}",
                irp.0
            );
            own::violation(Own::HandedBack, [irp.0 as u64, 0, 0], text);
        }
        // It is completed at once, so it needs no cancel routine; it may be cancelled already.
        cancel::set_routine(irp, 0);
        if irp.cancel().get() != 0 {
            return finish(irp, status::CANCELLED, 0);
        }
        Receive::new(irp).fill(rest, source);
    }
}
