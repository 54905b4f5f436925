//! Pool: the drivers' heap.
//!
//! By default every block is *special pool* (verifier.md §1, class 1): it has pages of its own, ends at an inaccessible
//! one, and is inaccessible for ever once freed. Blocks remember who allocated and freed them. With
//! [`crate::Rules::SPECIAL_POOL`] off, blocks come from a plain size-class allocator, for benches.

mod block;
mod routines;
mod slab;
mod special;

use crate::image::Image;
use crate::stop::{self, Stop};
use crate::thread;

pub use block::{Block, Usage, add_free_hook, by_tag, freed_block, leaks, owner_block, usage};
pub use routines::ROUTINES;
pub(crate) use slab::{free_object as free_plain_object, hand_on, object as plain_object};

/// Which pool memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Always resident.
    NonPaged,
    /// May be paged out: not to be touched at `DISPATCH_LEVEL`.
    Paged,
}

/// What a fresh block contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Zeros.
    Zeroed,
    /// A pattern, so that uninitialised use shows.
    Pattern,
}

/// Byte that fills uninitialised blocks.
pub const UNINITIALISED: u8 = 0xB5;
/// Largest block: what the simulated machine has no memory for.
const LARGEST: usize = 512 << 20;
/// From this length on blocks are page aligned.
const PAGE_ALIGNED_FROM: usize = crate::arena::PAGE;

/// Allocates a block for driver code at `caller`; applies the rules on size and IRQL.
pub fn allocate(
    bytes: usize,
    tag: u32,
    kind: PoolKind,
    contents: Contents,
    caller: usize,
) -> usize {
    let irql = thread::current().irql();
    let number = u64::from(kind == PoolKind::Paged);
    if bytes == 0 {
        stop::violation(
            Stop::verifier(0x00),
            [u64::from(irql), number, 0],
            format!("pool allocation of 0 bytes by {}", stop::describe(caller)),
        );
    }
    let (limit, sub) = if kind == PoolKind::Paged {
        (1, 0x01)
    } else {
        (2, 0x02)
    };
    if irql > limit {
        stop::violation(
            Stop::verifier(sub),
            [u64::from(irql), number, bytes as u64],
            format!(
                "{kind:?} pool allocated at IRQL {irql} by {}",
                stop::describe(caller)
            ),
        );
    }
    if bytes > LARGEST {
        return 0;
    }
    if crate::Rules::SPECIAL_POOL.is_on() {
        special::allocate(bytes, tag, kind, contents, caller)
    } else {
        slab::allocate_tagged(bytes, tag, contents, caller)
    }
}

/// Frees a block on behalf of driver code at `caller`. A tag of 0 matches any.
pub fn release(address: usize, tag: u32, caller: usize) {
    if crate::Rules::SPECIAL_POOL.is_on() {
        special::release(address, tag, caller);
    } else {
        slab::release_tagged(address, caller);
    }
}

/// Allocates zeroed nonpaged memory that the kernel makes for a driver (`owner` is an address in it, 0 for the kernel's
/// own): it is accounted to the driver and freed with [`release`] or [`free_internal`].
pub fn alloc_internal(bytes: usize, tag: u32, owner: usize) -> usize {
    if crate::Rules::SPECIAL_POOL.is_on() {
        special::allocate(
            bytes.max(1),
            tag,
            PoolKind::NonPaged,
            Contents::Zeroed,
            owner,
        )
    } else {
        slab::allocate_tagged(bytes.max(1), tag, Contents::Zeroed, owner)
    }
}

/// Frees what [`alloc_internal`] gave.
pub fn free_internal(address: usize) {
    release(address, 0, 0);
}

/// A pool tag as text.
#[must_use]
pub fn tag_text(tag: u32) -> String {
    tag.to_le_bytes()
        .iter()
        .map(|&byte| {
            if byte.is_ascii_graphic() || byte == b' ' {
                byte as char
            } else {
                '.'
            }
        })
        .collect()
}

/// The number of an image in block records: 0 is the kernel.
fn image_number(image: Option<&Image>) -> u32 {
    image.map_or(0, |image| image.id + 1)
}
