//! Special pool: each block on pages of its own.

use super::block::{self, Block};
use super::{Contents, PAGE_ALIGNED_FROM, PoolKind, UNINITIALISED, slab, tag_text};
use crate::PoolGuard;
use crate::arena::{self, PAGE};
use crate::pageable;
use crate::stop::{self, Stop};
use crate::thread;
use crate::trace::{self, EventKind};
use core::sync::atomic::{AtomicBool, Ordering};

/// Fills the part of a block's pages that is not the block's; checked at the free.
const SLACK: u8 = 0xE5;
/// Alignment of pool blocks on x64 ("ExAllocatePool2").
const ALIGNMENT: usize = 16;
/// Live special blocks above which new ones share pages: each takes two of the host's mappings (`vm.max_map_count`).
const MOST_SPECIAL: usize = 24_000;

static SHARED_SAID: AtomicBool = AtomicBool::new(false);

pub(super) fn allocate(
    bytes: usize,
    tag: u32,
    kind: PoolKind,
    contents: Contents,
    caller: usize,
) -> usize {
    if block::live_count() >= MOST_SPECIAL {
        return shared(bytes, tag, kind, contents, caller);
    }
    let page_bytes = arena::pages(bytes);
    let pages = arena::reserve(bytes);
    arena::protect(pages, page_bytes, libc::PROT_READ | libc::PROT_WRITE);
    // A page or more is page aligned; less ends at the next page, as far as the alignment allows, or starts at a page.
    let at_start = crate::options().pool_guard == PoolGuard::Start;
    let offset = if bytes >= PAGE_ALIGNED_FROM || at_start {
        0
    } else {
        PAGE - bytes.next_multiple_of(ALIGNMENT)
    };
    let address = pages + offset;
    fill(pages, offset, SLACK);
    fill(address + bytes, page_bytes - offset - bytes, SLACK);
    if contents == Contents::Pattern {
        fill(address, bytes, UNINITIALISED);
    }
    if kind == PoolKind::Paged {
        pageable::add(pages, page_bytes, libc::PROT_READ | libc::PROT_WRITE);
    }
    block::add(Block {
        address,
        bytes,
        tag,
        kind,
        allocated_by: caller,
        freed_by: None,
        pages,
        page_bytes,
    });
    address
}

fn shared(bytes: usize, tag: u32, kind: PoolKind, contents: Contents, caller: usize) -> usize {
    if !SHARED_SAID.swap(true, Ordering::Relaxed) {
        trace::event(EventKind::Pool, caller, || {
            format!(
                "more than {MOST_SPECIAL} blocks are alive: further ones are without guard pages"
            )
        });
    }
    let address = slab::allocate(bytes);
    fill(
        address,
        bytes,
        if contents == Contents::Pattern {
            UNINITIALISED
        } else {
            0
        },
    );
    block::add(Block {
        address,
        bytes,
        tag,
        kind,
        allocated_by: caller,
        freed_by: None,
        pages: 0,
        page_bytes: 0,
    });
    address
}

pub(super) fn release(address: usize, tag: u32, caller: usize) {
    let Some(found) = block::at(address) else {
        bad_free(address, caller)
    };
    let irql = thread::current().irql();
    let (limit, sub) = if found.kind == PoolKind::Paged {
        (1, 0x11)
    } else {
        (2, 0x12)
    };
    if irql > limit {
        stop::violation(
            Stop::verifier(sub),
            [
                u64::from(irql),
                u64::from(found.kind == PoolKind::Paged),
                address as u64,
            ],
            format!(
                "freed at IRQL {irql} by {}: {}",
                stop::describe(caller),
                found.describe()
            ),
        );
    }
    if tag != 0 && tag != found.tag {
        // Bug check 0xC2, type 0x0A: freed with the wrong tag.
        stop::bug_check(
            0xC2,
            [0x0A, address as u64, u64::from(found.tag), u64::from(tag)],
            format!(
                "freed with tag '{}' by {}: {}",
                tag_text(tag),
                stop::describe(caller),
                found.describe()
            ),
        );
    }
    check_slack(&found, caller);
    block::run_free_hooks(found.address, found.bytes, caller);
    let Some(block) = block::take(address, caller) else {
        bad_free(address, caller)
    };
    if block.pages == 0 {
        fill(block.address, block.bytes, 0xDD);
        slab::free(block.address, block.bytes);
    } else {
        if block.kind == PoolKind::Paged {
            pageable::remove(block.pages, block.page_bytes);
        }
        arena::retire(block.pages, block.page_bytes);
    }
}

fn bad_free(address: usize, caller: usize) -> ! {
    let by = stop::describe(caller);
    if let Some(block) = block::freed_block(address).filter(|block| block.address == address) {
        stop::violation(
            Stop::verifier(0x13),
            [0, address as u64, 0],
            format!("double free by {by}: {}", block.describe()),
        );
    }
    if let Some(block) = block::owner_block(address) {
        let text = format!(
            "{by} freed 0x{address:X}, which is not the start of {}",
            block.describe()
        );
        stop::violation(Stop::verifier(0x16), [0, address as u64, 0], text);
    }
    if arena::explain(address).is_some_and(|known| known.kind == arena::Kind::Irp) {
        let text = format!("{by} freed the IRP 0x{address:X} as if it were pool");
        stop::violation(Stop::verifier(0x105), [address as u64, 0, 0], text);
    }
    stop::violation(
        Stop::verifier(0x10),
        [address as u64, 0, 0],
        format!("{by} freed 0x{address:X}, which was never allocated from pool"),
    );
}

fn check_slack(block: &Block, caller: usize) {
    if block.pages == 0 {
        return;
    }
    let before = block.address - block.pages;
    let after = block.page_bytes - before - block.bytes;
    // Bug check 0xC1, parameter 4: 0x23 bytes near the block, 0x24 bytes after its end.
    for (start, length, kind, place) in [
        (block.pages, before, 0x23, "before"),
        (block.address + block.bytes, after, 0x24, "after the end of"),
    ] {
        // SAFETY: The block is alive, so that its pages are readable; drivers may write them, but the bytes are read once.
        let slack = unsafe { core::slice::from_raw_parts(start as *const u8, length) };
        if let Some(position) = slack.iter().position(|&byte| byte != SLACK) {
            stop::bug_check(
                0xC1,
                [
                    block.address as u64,
                    (start + position) as u64,
                    block.bytes as u64,
                    kind,
                ],
                format!(
                    "bytes {place} a block were overwritten (at 0x{:X}), found at the free by {}: {}",
                    start + position,
                    stop::describe(caller),
                    block.describe()
                ),
            );
        }
    }
}

fn fill(address: usize, bytes: usize, value: u8) {
    // SAFETY: Callers pass ranges inside the writable pages of a block that no driver knows yet, or knows no longer.
    unsafe { core::ptr::write_bytes(address as *mut u8, value, bytes) };
}
