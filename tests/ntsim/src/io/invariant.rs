//! Invariant MDLs: nobody may change the buffer of a request that writes while a driver below has the request.
//!
//! The contents are hashed at `IoCallDriver` and when the driver below completes it. What a request reads into may change, of
//! course: only requests that write are watched (IRP_MJ_WRITE, TDI_SEND and TDI_SEND_DATAGRAM).

use std::hash::{DefaultHasher, Hasher as _};

use super::irp::Phase;
use crate::layout::io::{Irp, MJ_INTERNAL_DEVICE_CONTROL, Stack};
use crate::mem::{peek, read_bytes};
use crate::rules::Rules;
use crate::stop::{self, Stop};
use crate::tdi::memory::Piece;

const MJ_WRITE: u8 = 0x04;
const TDI_SEND: u8 = 0x07;
const TDI_SEND_DATAGRAM: u8 = 0x09;
/// MDL_MAPPED_TO_SYSTEM_VA or MDL_SOURCE_IS_NONPAGED_POOL.
const HAS_SYSTEM_ADDRESS: u16 = 0x1 | 0x4;

/// What a buffer held when its request was sent.
#[derive(Debug)]
pub(crate) struct Contents {
    mdl: usize,
    pieces: Vec<Piece>,
    hash: u64,
}

/// Remembers the buffer of a request that is about to be sent, if it is to be watched.
pub(super) fn begin(irp: Irp, stack: Stack, before: Phase) -> Option<Contents> {
    let rules = crate::options().rules;
    let watched = rules.contains(Rules::INVARIANT_MDL_DRIVER)
        || (rules.contains(Rules::INVARIANT_MDL_STACK) && before == Phase::Idle);
    if !watched || !rules.contains(Rules::IO) || !writes(stack) {
        return None;
    }
    let mdl = irp.mdl().get();
    // Each of the three has its length first.
    let pieces = pieces(mdl, stack.parameter::<u32>(0).get() as usize);
    (!pieces.is_empty()).then(|| Contents {
        mdl,
        hash: hash(&pieces),
        pieces,
    })
}

fn writes(stack: Stack) -> bool {
    let (major, minor) = (stack.major().get(), stack.minor().get());
    major == MJ_WRITE
        || (major == MJ_INTERNAL_DEVICE_CONTROL && matches!(minor, TDI_SEND | TDI_SEND_DATAGRAM))
}

/// The memory of a chain. Whether the chain is right is the driver's below to find out.
fn pieces(mut mdl: usize, mut left: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while mdl != 0 && left != 0 {
        let address = if peek::<u16>(mdl + 0x0a) & HAS_SYSTEM_ADDRESS != 0 {
            peek::<usize>(mdl + 0x18)
        } else {
            peek::<usize>(mdl + 0x20) + peek::<u32>(mdl + 0x2c) as usize
        };
        let length = left.min(peek::<u32>(mdl + 0x28) as usize);
        pieces.push(Piece { address, length });
        left -= length;
        mdl = peek(mdl);
    }
    pieces
}

fn hash(pieces: &[Piece]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for piece in pieces {
        hasher.write(&read_bytes(piece.address, piece.length));
    }
    hasher.finish()
}

impl Contents {
    /// The driver below has completed the request.
    pub(super) fn check(&self, irp: Irp) {
        if hash(&self.pieces) != self.hash {
            stop::enforce(
                Stop::verifier(0x1011),
                [irp.0 as u64, self.mdl as u64, 0],
                format!(
                    "the buffer of request {:#x} (MDL {:#x}) was changed while a driver below had the request",
                    irp.0, self.mdl
                ),
            );
        }
    }
}
