//! Records of pool blocks: alive, freed, and whose they are.

use super::{PoolKind, image_number, tag_text};
use crate::image::{self, Image};
use crate::stop;
use core::time::Duration;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};

/// A pool block, alive or freed.
#[derive(Clone, Debug)]
pub struct Block {
    /// Address that the driver got.
    pub address: usize,
    /// Bytes that it asked for.
    pub bytes: usize,
    /// Pool tag.
    pub tag: u32,
    /// Which pool.
    pub kind: PoolKind,
    /// Who allocated it: an address in driver code, or 0.
    pub allocated_by: usize,
    /// Who freed it, once freed.
    pub freed_by: Option<usize>,
    /// First page of the block's own pages; 0 if it shares a page.
    pub(super) pages: usize,
    /// Bytes of these pages.
    pub(super) page_bytes: usize,
}

impl Block {
    /// Number of the owning image plus one, 0 for the kernel.
    fn owner(&self) -> u32 {
        image_number(image::find(self.allocated_by))
    }

    /// One line about the block.
    #[must_use]
    pub fn describe(&self) -> String {
        let freed = self
            .freed_by
            .map(|by| format!(", freed by {}", stop::describe(by)))
            .unwrap_or_default();
        format!(
            "{:?} pool block 0x{:X}, {} bytes, tag '{}', allocated by {}{freed}",
            self.kind,
            self.address,
            self.bytes,
            tag_text(self.tag),
            stop::describe(self.allocated_by)
        )
    }
}

/// Freed blocks that are remembered for reports.
const REMEMBERED: usize = 200_000;

#[derive(Default)]
pub(super) struct Blocks {
    live: BTreeMap<usize, Block>,
    freed: BTreeMap<usize, Block>,
    order: VecDeque<usize>,
    /// Per image number and tag.
    usage: BTreeMap<(u32, u32), Usage>,
}

/// Live blocks and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blocks.
    pub blocks: u64,
    /// The bytes that were asked for, without what a kernel adds to each block.
    pub bytes: u64,
}

impl Usage {
    const fn plus(self, other: Self) -> Self {
        Self {
            blocks: self.blocks + other.blocks,
            bytes: self.bytes + other.bytes,
        }
    }
}

static BLOCKS: Mutex<Option<Blocks>> = Mutex::new(None);
static HOOKS: Mutex<Vec<FreeHook>> = Mutex::new(Vec::new());

/// Called before a block is freed with its address, its length and the caller: for rules about live kernel objects
/// inside freed memory.
pub(super) type FreeHook = fn(usize, usize, usize);

/// Adds a hook that looks at every block before it is freed.
pub fn add_free_hook(hook: fn(usize, usize, usize)) {
    HOOKS.lock().push(hook);
}

pub(super) fn run_free_hooks(address: usize, bytes: usize, caller: usize) {
    let hooks = HOOKS.lock().clone();
    for hook in hooks {
        hook(address, bytes, caller);
    }
}

pub(super) fn add(block: Block) {
    let mut blocks = BLOCKS.lock();
    let blocks = blocks.get_or_insert_default();
    let usage = blocks.usage.entry((block.owner(), block.tag)).or_default();
    usage.blocks += 1;
    usage.bytes += block.bytes as u64;
    blocks.live.insert(block.address, block);
}

/// Adjusts the counters only (plain allocator).
pub(super) fn count(owner: u32, tag: u32, blocks_delta: i64, bytes_delta: i64) {
    let mut blocks = BLOCKS.lock();
    let usage = blocks
        .get_or_insert_default()
        .usage
        .entry((owner, tag))
        .or_default();
    usage.blocks = usage.blocks.wrapping_add_signed(blocks_delta);
    usage.bytes = usage.bytes.wrapping_add_signed(bytes_delta);
}

/// Takes a live block out and remembers it as freed.
pub(super) fn take(address: usize, caller: usize) -> Option<Block> {
    let mut blocks = BLOCKS.lock();
    let blocks = blocks.get_or_insert_default();
    let mut block = blocks.live.remove(&address)?;
    if let Some(usage) = blocks.usage.get_mut(&(block.owner(), block.tag)) {
        usage.blocks -= 1;
        usage.bytes -= block.bytes as u64;
    }
    block.freed_by = Some(caller);
    if blocks.order.len() >= REMEMBERED
        && let Some(oldest) = blocks.order.pop_front()
    {
        blocks.freed.remove(&oldest);
    }
    blocks.order.push_back(address);
    blocks.freed.insert(address, block.clone());
    Some(block)
}

/// The live block at exactly this address.
pub(super) fn at(address: usize) -> Option<Block> {
    BLOCKS.lock().as_ref()?.live.get(&address).cloned()
}

pub(super) fn live_count() -> usize {
    BLOCKS.lock().as_ref().map_or(0, |blocks| blocks.live.len())
}

/// The live block whose memory (or pages, or the guard page after them) contains this address.
#[must_use]
pub fn owner_block(address: usize) -> Option<Block> {
    let blocks = BLOCKS.try_lock_for(Duration::from_millis(200))?;
    nearby(&blocks.as_ref()?.live, address)
}

/// The same for freed blocks.
#[must_use]
pub fn freed_block(address: usize) -> Option<Block> {
    let blocks = BLOCKS.try_lock_for(Duration::from_millis(200))?;
    nearby(&blocks.as_ref()?.freed, address)
}

fn nearby(blocks: &BTreeMap<usize, Block>, address: usize) -> Option<Block> {
    if crate::options().pool_guard == crate::PoolGuard::Start
        && let Some((_, block)) = blocks.range(address..=address + crate::arena::PAGE).next()
        && block.address == block.pages
        && address < block.pages
    {
        // The page in front of it is its guard, not that of its neighbour.
        return Some(block.clone());
    }
    // A block starts inside its first page: it may lie after an address in the same page.
    let (_, block) = blocks
        .range(..=address | (crate::arena::PAGE - 1))
        .next_back()?;
    let (start, end) = if block.pages == 0 {
        (block.address, block.address + block.bytes)
    } else {
        (
            block.pages,
            block.pages + block.page_bytes + crate::arena::PAGE,
        )
    };
    (start <= address && address < end).then(|| block.clone())
}

/// What an image has, or everybody, under one tag or under all.
#[must_use]
pub fn usage(of: Option<&Image>, tag: Option<u32>) -> Usage {
    by_tag(of)
        .into_iter()
        .filter(|&(known, _)| tag.is_none_or(|tag| tag == known))
        .fold(Usage::default(), |sum, (_, usage)| sum.plus(usage))
}

/// What an image has under each tag, or everybody. A tag that was in use once stays in the list.
#[must_use]
pub fn by_tag(of: Option<&Image>) -> BTreeMap<u32, Usage> {
    let mut tags = BTreeMap::new();
    if let Some(blocks) = BLOCKS.lock().as_ref() {
        for (&(owner, tag), &usage) in &blocks.usage {
            if of.is_none_or(|image| owner == image_number(Some(image))) {
                let sum: &mut Usage = tags.entry(tag).or_default();
                *sum = sum.plus(usage);
            }
        }
    }
    tags
}

/// The live blocks of an image.
#[must_use]
pub fn leaks(of: &Image) -> Vec<Block> {
    let blocks = BLOCKS.lock();
    let Some(blocks) = blocks.as_ref() else {
        return Vec::new();
    };
    blocks
        .live
        .values()
        .filter(|block| block.owner() == image_number(Some(of)))
        .cloned()
        .collect()
}
