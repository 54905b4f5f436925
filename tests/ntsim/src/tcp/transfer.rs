//! Data of a connection: sends, receives and the receive event (rules: spec tdi.md §5.1).
//!
//! A receive request takes from what was read before, then from the socket. It is filled as far as the data goes and never
//! waits for more: it completes when it is full, when the socket has nothing more now, or when the connection ended, so a
//! large read costs one completion while data flows. With TDI_RECEIVE_NO_PUSH it waits until it is full or the peer closed.
//! TDI_RECEIVE_PEEK gets what was read before, or one reading of the socket, and leaves it there.

use std::io::IoSlice;
use std::mem::MaybeUninit;

use socket2::{MaybeUninitSlice, Socket};

use super::circuit::Circuit;
use crate::arena::{self, Kind};
use crate::gate;
use crate::io::{call, cancel, status};
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::Irp;
use crate::mem::{self, peek, poke};
use crate::own::{self, Own};
use crate::tdi::engine::{self, Endpoint as _};
use crate::tdi::memory::{self, Piece};
use crate::tdi::{self, errno_status, finish, handlers, would_block};
use crate::trace::{self, EventKind};

/// The flags of an indication.
const INDICATION_FLAGS: u32 = tdi::RECEIVE_NORMAL | tdi::RECEIVE_AT_DISPATCH_LEVEL;
/// TDI_RECEIVE.
const RECEIVE_REQUEST: u8 = 8;
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

    /// The rest of the client's buffer.
    fn room(&self) -> Vec<Piece> {
        memory::after(&self.pieces, self.filled)
    }

    /// Whether what has arrived completes the request now that no more is there.
    fn is_done(&self, remote_closed: bool) -> bool {
        let waits = self.flags & tdi::RECEIVE_NO_PUSH != 0 && !remote_closed;
        self.filled == self.length || (self.filled > 0 && !waits)
    }
}

/// What reading the socket brought.
enum Reading {
    Bytes(usize),
    /// Nothing now, or never again.
    Nothing,
    /// The connection is broken.
    Broken(i32),
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

    /// Looks at the receives that were posted.
    pub(super) fn take_posted(&mut self) {
        for irp in self.order.take() {
            if self.is_connected() {
                self.accept(irp);
            } else {
                self.finish_receive(irp, status::CONNECTION_INVALID, 0);
            }
        }
    }

    /// Takes over a receive request, posted or handed back; it may be cancelled already.
    fn accept(&mut self, irp: Irp) {
        self.refused = false;
        if irp.cancel().get() != 0 {
            return self.finish_receive(irp, status::CANCELLED, 0);
        }
        self.receives.push_back(Receive::new(irp));
    }

    /// Completes a receive request.
    pub(super) fn finish_receive(&self, irp: Irp, result: i32, filled: usize) {
        self.order.begin_completion();
        finish(irp, result, filled);
        self.order.end_completion();
    }

    /// Completes all receives: the connection has ended.
    pub(super) fn end_receives(&mut self, result: i32) {
        for receive in std::mem::take(&mut self.receives) {
            self.finish_receive(receive.irp, result, receive.filled);
        }
        for irp in self.order.take() {
            self.finish_receive(irp, result, 0);
        }
    }

    /// Gives data to whoever wants it: an outstanding receive first, else the receive handler.
    pub(super) fn deliver(&mut self) {
        for _ in 0..TURN {
            // A completion routine or a handler may have posted one just now, on this thread.
            self.take_posted();
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

    /// Reads from the socket.
    fn read(&mut self, read: impl FnOnce(&Socket) -> std::io::Result<usize>) -> Reading {
        let Some(socket) = self.socket.as_ref().filter(|_| !self.remote_closed) else {
            return Reading::Nothing;
        };
        match read(socket) {
            Ok(0) => {
                self.remote_closed = true;
                Reading::Nothing
            }
            Ok(length) => Reading::Bytes(length),
            Err(error) if would_block(&error) => Reading::Nothing,
            Err(error) => Reading::Broken(errno_status(&error)),
        }
    }

    /// Fills the first receive request as far as the data goes. False if it has to wait.
    fn fill_receive(&mut self) -> bool {
        let Some(mut receive) = self.receives.pop_front() else {
            return false;
        };
        let mut broken = None;
        if receive.flags & tdi::RECEIVE_PEEK != 0 {
            if self.unread.is_empty()
                && let Reading::Broken(result) = self.read_unread()
            {
                broken = Some(result);
            }
            receive.filled = memory::fill(&receive.pieces, &self.unread);
        } else {
            let copied = memory::fill(&receive.room(), &self.unread);
            self.unread.drain(..copied);
            receive.filled += copied;
            while receive.filled < receive.length {
                let room = receive.room();
                match self.read(|socket| receive_pieces(socket, &room)) {
                    Reading::Bytes(length) => receive.filled += length,
                    Reading::Nothing => break,
                    Reading::Broken(result) => {
                        broken = Some(result);
                        break;
                    }
                }
            }
        }
        // Data comes before the end of the connection.
        let done = receive.is_done(self.remote_closed || broken.is_some());
        if done {
            self.received = self.received.wrapping_add(1);
            self.finish_receive(receive.irp, status::SUCCESS, receive.filled);
        } else {
            self.receives.push_front(receive);
        }
        if let Some(result) = broken {
            self.broken(result);
        }
        done
    }

    /// Reads a chunk into the buffer of unread data, which is empty.
    fn read_unread(&mut self) -> Reading {
        let mut buffer = std::mem::take(&mut self.unread);
        buffer.reserve(CHUNK);
        // Its capacity as it is: to write zeroes first took half of the time of a walk over a tree of small files.
        let room = buffer.spare_capacity_mut();
        let room = room.get_mut(..CHUNK).unwrap_or_default();
        let reading = self.read(|socket| socket.recv(room));
        if let Reading::Bytes(length) = reading {
            // SAFETY: The socket has written so many bytes to the front of the spare capacity; the buffer was empty.
            unsafe { buffer.set_len(length) };
        }
        self.unread = buffer;
        reading
    }

    /// Calls the receive handler with what is unread. False if there is nothing to tell, or nobody who wants it.
    fn indicate(&mut self) -> bool {
        if self.refused {
            return false;
        }
        if self.unread.is_empty() {
            match self.read_unread() {
                Reading::Bytes(_) => {}
                Reading::Nothing => return false,
                Reading::Broken(result) => {
                    self.broken(result);
                    return false;
                }
            }
        }
        let Some(handler) = self
            .address
            .as_ref()
            .and_then(|address| address.handlers.get(handlers::RECEIVE))
        else {
            return false;
        };
        if !self.order.begin_indication() {
            // Another thread posted a receive meanwhile: the data is for that.
            return true;
        }
        let length = self.unread.len();
        // The bytes are there during the call only: they have a block of their own that ends at an inaccessible page.
        let tsdu = arena::alloc(length, Kind::Pool);
        let results = arena::alloc(16, Kind::Pool);
        mem::write_bytes(tsdu, &self.unread);
        let arguments = [
            handler.context as u64,
            self.context,
            INDICATION_FLAGS.into(),
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
        let answer = tdi::answer_of(answer);
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
        let goes_on = [status::SUCCESS, status::MORE_PROCESSING_REQUIRED].contains(&answer);
        self.order.end_indication(!goes_on);
        self.answered(answer, taken, irp)
    }

    fn answered(&mut self, answer: i32, taken: usize, irp: Irp) -> bool {
        if answer != status::DATA_NOT_ACCEPTED && taken > self.unread.len() {
            let (text, length) = (
                "a receive handler took more bytes than were indicated",
                self.unread.len(),
            );
            own::violation(Own::TookTooMuch, [taken as u64, length as u64, 0], text);
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
                if let Err(text) = call::accept_handed_back(irp, RECEIVE_REQUEST, self.file) {
                    let text = format!("a receive handler handed back IRP {:#x}: {text}", irp.0);
                    own::violation(Own::HandedBack, [irp.0 as u64, 0, 0], text);
                }
                cancel::set_routine(irp, engine::cancel_routine());
                self.order.handed_back();
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
