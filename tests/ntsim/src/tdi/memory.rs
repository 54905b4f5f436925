//! The data of a request: its MDL chain as pieces of memory.

use crate::layout::io::Irp;
use crate::mem::{self, peek};
use crate::own::{self, Own};

/// MDL_MAPPED_TO_SYSTEM_VA or MDL_SOURCE_IS_NONPAGED_POOL.
const HAS_SYSTEM_ADDRESS: u16 = 0x1 | 0x4;
/// MDL_PAGES_LOCKED or MDL_PARTIAL.
const LOCKED: u16 = 0x2 | 0x10;

/// TDI_SEND, the first request that carries data, and TDI_RECEIVE_DATAGRAM, the last; the length of each is its first parameter.
const SEND: u8 = 0x07;
const RECEIVE_DATAGRAM: u8 = 0x0a;

/// A piece of driver memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) address: usize,
    pub(crate) length: usize,
}

/// The pieces of the first `length` bytes that an IRP's MDL chain describes.
///
/// A chain that is shorter, or not locked, is a driver bug that a real transport would answer with a crash.
pub(crate) fn pieces(irp: Irp, length: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut left = length;
    let mut mdl = irp.mdl().get();
    while left != 0 {
        if mdl == 0 {
            let text = format!(
                "the MDL chain of IRP {:#x} is {left} bytes shorter than its length of {length}",
                irp.0
            );
            own::violation(Own::ChainTooShort, [irp.0 as u64, 0, 0], text);
        }
        let flags: u16 = peek(mdl + 0x0a);
        let address = if flags & HAS_SYSTEM_ADDRESS != 0 {
            peek::<usize>(mdl + 0x18)
        } else if flags & LOCKED != 0 {
            peek::<usize>(mdl + 0x20) + peek::<u32>(mdl + 0x2c) as usize
        } else {
            let text = format!(
                "MDL {mdl:#x} is neither locked nor of nonpaged pool (MdlFlags {flags:#x})"
            );
            own::violation(Own::ChainNotLocked, [irp.0 as u64, mdl as u64, 0], text);
        };
        let here = left.min(peek::<u32>(mdl + 0x28) as usize);
        if here != 0 {
            pieces.push(Piece {
                address,
                length: here,
            });
        }
        left -= here;
        mdl = peek(mdl);
    }
    pieces
}

/// Looks at the chain of a request that carries data in its dispatch routine, where the client's stack is: a transport that
/// meets a bad chain later cannot say who made it.
pub(crate) fn check(irp: Irp) {
    let stack = irp.current();
    if matches!(stack.minor().get(), SEND..=RECEIVE_DATAGRAM) {
        pieces(irp, stack.parameter::<u32>(0).get() as usize);
    }
}

/// What is left of pieces after `skip` bytes.
pub(crate) fn after(pieces: &[Piece], mut skip: usize) -> Vec<Piece> {
    let mut rest = Vec::new();
    for piece in pieces {
        let gone = skip.min(piece.length);
        skip -= gone;
        if gone < piece.length {
            rest.push(Piece {
                address: piece.address + gone,
                length: piece.length - gone,
            });
        }
    }
    rest
}

/// Copies host bytes into pieces; returns how many fitted.
pub(crate) fn fill(pieces: &[Piece], bytes: &[u8]) -> usize {
    let mut copied = 0;
    for piece in pieces {
        let rest = bytes.get(copied..).unwrap_or_default();
        let here = rest.get(..piece.length.min(rest.len())).unwrap_or_default();
        mem::write_bytes(piece.address, here);
        copied += here.len();
    }
    copied
}

/// The bytes of pieces, in one buffer of the host.
pub(crate) fn gather(pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(pieces.iter().map(|piece| piece.length).sum());
    for piece in pieces {
        bytes.extend(mem::read_bytes(piece.address, piece.length));
    }
    bytes
}
