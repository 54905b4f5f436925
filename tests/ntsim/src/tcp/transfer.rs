//! Data of a connection: sends, receives and the receive event (rules: spec tdi.md §5.1).

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

use socket2::{MaybeUninitSlice, Socket};

use super::address::errno_status;
use super::circuit::{Circuit, finish};
use super::memory::{self, Piece};
use crate::arena::{self, Kind};
use crate::gate;
use crate::io::{call, cancel, status};
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::Irp;
use crate::mem::{self, peek, poke};
use crate::stop;
use crate::trace::{self, EventKind};

/// TDI_EVENT_RECEIVE.
const EVENT_RECEIVE: usize = 3;
/// TDI_RECEIVE_NORMAL | TDI_RECEIVE_AT_DISPATCH_LEVEL.
const INDICATION_FLAGS: u64 = 0x20 | 0x800;
/// TDI_RECEIVE_PEEK.
const PEEK: u32 = 0x80;
/// TDI_RECEIVE_NO_PUSH: complete only when the buffer is full.
const NO_PUSH: u32 = 0x4000;
/// Most bytes that are read and indicated at once.
const CHUNK: usize = 64 * 1024;
/// Most indications and completions before other circuits get their turn.
const TURN: usize = 64;

/// A TDI_SEND under way.
pub(super) struct Send {
    pub(super) irp: Irp,
    pieces: Vec<Piece>,
    length: usize,
    done: usize,
}

/// A TDI_RECEIVE under way.
pub(super) struct Receive {
    pub(super) irp: Irp,
    pieces: Vec<Piece>,
    length: usize,
    flags: u32,
    pub(super) filled: usize,
}

impl Receive {
    fn new(irp: Irp) -> Self {
        let stack = irp.current();
        let length = stack.parameter::<u32>(0).get() as usize;
        let flags = stack.parameter::<u32>(4).get();
        Self {
            irp,
            pieces: memory::pieces(irp, length),
            length,
            flags,
            filled: 0,
        }
    }

    /// Whether what has arrived completes the request: a byte stream's receive ends with any data unless told to wait.
    fn is_done(&self) -> bool {
        self.filled == self.length || (self.filled > 0 && self.flags & NO_PUSH == 0)
    }
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Sends pieces of driver memory.
fn send_pieces(socket: &Socket, pieces: &[Piece]) -> std::io::Result<usize> {
    let slices: Vec<IoSlice<'_>> = pieces
        .iter()
        .take(64)
        .map(|piece| {
            // SAFETY: Memory of the client's MDL, which belongs to the transport until the request is completed. It is only
            // handed to the kernel of the host, which answers EFAULT if it is not there.
            let bytes =
                unsafe { std::slice::from_raw_parts(piece.address as *const u8, piece.length) };
            IoSlice::new(bytes)
        })
        .collect();
    socket.send_vectored_with_flags(&slices, libc::MSG_NOSIGNAL)
}

/// Receives into pieces of driver memory.
fn receive_pieces(socket: &Socket, pieces: &[Piece]) -> std::io::Result<usize> {
    let mut slices: Vec<MaybeUninitSlice<'_>> = pieces
        .iter()
        .take(64)
        .map(|piece| {
            // SAFETY: as in `send_pieces`; the pieces of one chain do not overlap.
            let bytes = unsafe {
                std::slice::from_raw_parts_mut(piece.address as *mut MaybeUninit<u8>, piece.length)
            };
            MaybeUninitSlice::new(bytes)
        })
        .collect();
    socket.recv_vectored(&mut slices).map(|(length, _)| length)
}

impl Circuit {
    pub(super) fn send(&mut self, irp: Irp) {
        if !self.can_send() {
            let result = if self.is_connected() {
                status::INVALID_DEVICE_STATE
            } else {
                status::CONNECTION_INVALID
            };
            return finish(irp, result, 0);
        }
        let length = irp.current().parameter::<u32>(0).get() as usize;
        self.sends.push_back(Send {
            irp,
            pieces: memory::pieces(irp, length),
            length,
            done: 0,
        });
        self.service();
    }

    /// Writes queued sends, first come first served.
    pub(super) fn push_sends(&mut self) {
        while let (Some(send), Some(socket)) = (self.sends.front_mut(), &self.socket) {
            while send.done < send.length {
                match send_pieces(socket, &memory::after(&send.pieces, send.done)) {
                    Ok(written) => send.done += written,
                    Err(error) if would_block(&error) => return,
                    Err(error) => return self.broken(errno_status(&error)),
                }
            }
            let (irp, length) = (send.irp, send.length);
            self.sends.pop_front();
            self.sent = self.sent.wrapping_add(1);
            finish(irp, status::SUCCESS, length);
        }
    }

    pub(super) fn receive(&mut self, irp: Irp) {
        if !self.is_connected() {
            return finish(irp, status::CONNECTION_INVALID, 0);
        }
        if self.remote_closed && self.unread.is_empty() {
            return finish(irp, status::GRACEFUL_DISCONNECT, 0);
        }
        self.accept(irp);
        self.service();
    }

    /// Takes over a receive request, posted or handed back; it may be cancelled already.
    fn accept(&mut self, irp: Irp) {
        self.refused = false;
        if irp.cancel().get() != 0 {
            return finish(irp, status::CANCELLED, 0);
        }
        self.receives.push_back(Receive::new(irp));
    }

    /// Gives data to whoever wants it: an outstanding receive first, else the receive handler.
    pub(super) fn deliver(&mut self) {
        for _ in 0..TURN {
            if !self.is_connected() {
                return;
            }
            let moved = if self.receives.is_empty() {
                self.indicate()
            } else {
                self.fill_receive()
            };
            if !moved {
                return;
            }
        }
        self.retry = true;
    }

    /// Reads from the socket into a buffer of the host. False if nothing came.
    fn read_more(
        &mut self,
        read: impl FnOnce(&Socket, &mut Self) -> std::io::Result<usize>,
    ) -> Option<usize> {
        if self.remote_closed {
            return None;
        }
        let socket = self.socket.take()?;
        let result = read(&socket, self);
        self.socket = Some(socket);
        match result {
            Ok(0) => {
                self.remote_closed = true;
                None
            }
            Ok(length) => Some(length),
            Err(error) if would_block(&error) => None,
            Err(error) => {
                self.broken(errno_status(&error));
                None
            }
        }
    }

    /// Fills the first receive request from unread data or the socket. False if it has to wait.
    fn fill_receive(&mut self) -> bool {
        let Some(receive) = self.receives.front() else {
            return false;
        };
        let (room, flags) = (
            memory::after(&receive.pieces, receive.filled),
            receive.flags,
        );
        let got = if flags & PEEK != 0 {
            if self.unread.is_empty() && self.read_unread().is_none() {
                return false;
            }
            memory::fill(&room, &self.unread)
        } else if !self.unread.is_empty() {
            let copied = memory::fill(&room, &self.unread);
            self.unread.drain(..copied);
            copied
        } else if room.is_empty() {
            0
        } else {
            match self.read_more(|socket, _| receive_pieces(socket, &room)) {
                Some(length) => length,
                None => return false,
            }
        };
        let Some(receive) = self.receives.front_mut() else {
            return false;
        };
        receive.filled += got;
        if receive.is_done() || room.is_empty() {
            let (irp, filled) = (receive.irp, receive.filled);
            self.receives.pop_front();
            self.received = self.received.wrapping_add(1);
            finish(irp, status::SUCCESS, filled);
        }
        true
    }

    /// Reads a chunk into the buffer of unread data, which is empty.
    fn read_unread(&mut self) -> Option<usize> {
        let mut buffer = std::mem::take(&mut self.unread);
        buffer.resize(CHUNK, 0);
        let length = self.read_more(|mut socket, _| {
            std::io::Read::read_vectored(&mut socket, &mut [IoSliceMut::new(&mut buffer)])
        });
        buffer.truncate(length.unwrap_or(0));
        self.unread = buffer;
        length
    }

    /// Calls the receive handler with what is unread. False if there is nothing to tell, or nobody who wants it.
    fn indicate(&mut self) -> bool {
        if self.refused || (self.unread.is_empty() && self.read_unread().is_none()) {
            return false;
        }
        let Some(handler) = self
            .address
            .as_ref()
            .and_then(|address| address.handler(EVENT_RECEIVE))
        else {
            return false;
        };
        let length = self.unread.len();
        // The bytes are there during the call only: they have a block of their own that ends at an inaccessible page.
        let tsdu = arena::alloc(length, Kind::Pool);
        let results = arena::alloc(16, Kind::Pool);
        mem::write_bytes(tsdu, &self.unread);
        let arguments = [
            handler.context as u64,
            self.context,
            INDICATION_FLAGS,
            length as u64,
            length as u64,
            results as u64,
            tsdu as u64,
            results as u64 + 8,
        ];
        let old = irql::raise_to(DISPATCH_LEVEL);
        let answer = irql::guarded("a receive handler", || {
            gate::call_named("ClientEventReceive", handler.routine, &arguments)
        });
        irql::lower_to(old);
        let answer = u32::try_from(answer & 0xffff_ffff)
            .unwrap_or(0)
            .cast_signed();
        let (taken, irp) = (
            peek::<u32>(results) as usize,
            Irp(peek::<usize>(results + 8)),
        );
        poke(results, [0_u64; 2]);
        arena::free(tsdu);
        arena::free(results);
        trace::event(EventKind::Indication, handler.routine, || {
            format!(
                "RECEIVE event, {length} bytes: {}, {taken} taken",
                status::name(answer)
            )
        });
        self.answered(answer, taken, irp)
    }

    fn answered(&mut self, answer: i32, taken: usize, irp: Irp) -> bool {
        if answer != status::DATA_NOT_ACCEPTED && taken > self.unread.len() {
            let (text, length) = (
                "a receive handler took more bytes than were indicated",
                self.unread.len(),
            );
            stop::bug_check(0xc4, [0xe0, taken as u64, length as u64, 0], text);
        }
        match answer {
            status::SUCCESS => {
                self.unread.drain(..taken);
                // "The rest is indicated again": at once if something was taken, else after a moment.
                self.retry = taken == 0;
                taken != 0
            }
            status::MORE_PROCESSING_REQUIRED => {
                self.unread.drain(..taken);
                if let Err(text) = call::accept_handed_back(irp, self.file) {
                    let text = format!("a receive handler handed back IRP {:#x}: {text}", irp.0);
                    stop::bug_check(0xc9, [0x03, irp.0 as u64, 0, 0], text);
                }
                cancel::set_routine(irp, super::engine::cancel_routine());
                self.accept(irp);
                true
            }
            _ => {
                self.refused = true;
                false
            }
        }
    }
}
