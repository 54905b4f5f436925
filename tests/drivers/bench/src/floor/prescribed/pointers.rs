//! Blocks by the address of the client's structure: a hash in shards, each with a lock (rxce.md §3.6).

use core::ptr::{self, NonNull};

use client_nt::{pool::NonPaged, spin_lock::SpinLock, status::Result};

use super::registry::{Block, Header, Ref};
use crate::floor::TAG;

/// As many as the engine has (`rxce_engine::spread`), and as many chains in each as the engine begins with: some hundred
/// circuits have one each.
const SHARDS: usize = 16;
const CHAINS: usize = 16;

/// The blocks that can be found.
pub(super) struct Pointers([Shard; SHARDS]);

/// The first blocks of each chain.
type Chains = [*const Header; CHAINS];

#[repr(C)]
struct Shard {
    chains: SpinLock<Chains>,
    /// A shard has cache lines of its own.
    _rest_of_lines: [u64; 7],
}

impl Pointers {
    /// Without a block. It is too large for a stack that others use.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    #[inline(never)]
    pub(super) fn allocate() -> Result<NonPaged<Self>> {
        let shards = [const {
            Shard {
                chains: SpinLock::new([ptr::null(); CHAINS]),
                _rest_of_lines: [0; 7],
            }
        }; SHARDS];
        NonPaged::try_new(Self(shards), TAG)
    }

    fn place(&self, key: usize) -> (&SpinLock<Chains>, usize) {
        // The upper half of the product depends on all bits.
        let hash = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let Self([first, ..]) = self;
        let shard = self.0.get(hash % SHARDS).unwrap_or(first);
        (&shard.chains, (hash / SHARDS) % CHAINS)
    }

    /// Finds a block that is built and takes a reference to it.
    pub(super) fn find<T: Block>(&self, key: usize) -> Option<Ref<T>> {
        let (shard, chain) = self.place(key);
        let chains = shard.lock();
        let mut at = chains.get(chain).copied().unwrap_or(ptr::null());
        // SAFETY: What is listed lives until it is removed, under this lock.
        while let Some(header) = unsafe { at.as_ref() } {
            if header.key == key {
                let wanted = header.usable.get() && header.kind == T::KIND && header.acquire();
                let block = NonNull::new(at.cast_mut().cast::<T>()).filter(|_| wanted)?;
                // SAFETY: Of this type by its kind; the reference was taken above.
                return Some(unsafe { Ref::from_raw(block) });
            }
            at = header.next.get();
        }
        None
    }

    /// Lists a block that no look-up finds yet, and takes a reference to it; `None` if there is one for its structure.
    ///
    /// # Safety
    ///
    /// The block is initialised and lives until it is removed.
    pub(super) unsafe fn reserve<T: Block>(&self, block: NonNull<T>) -> Option<Ref<T>> {
        // SAFETY: Forwarded.
        let own = unsafe { block.as_ref() }.header();
        let (shard, chain) = self.place(own.key);
        let mut chains = shard.lock();
        let first = chains.get_mut(chain)?;
        let mut at = *first;
        // SAFETY: What is listed lives until it is removed, under this lock.
        while let Some(header) = unsafe { at.as_ref() } {
            if header.key == own.key {
                return None;
            }
            at = header.next.get();
        }
        if !own.acquire() {
            return None;
        }
        own.next.set(*first);
        *first = block.cast().as_ptr();
        // SAFETY: The reference was taken above.
        Some(unsafe { Ref::from_raw(block) })
    }

    /// Lets look-ups find a block.
    pub(super) fn lift_reservation<T: Block>(&self, block: &Ref<T>) {
        let header = block.header();
        let (shard, _) = self.place(header.key);
        let _chains = shard.lock();
        header.usable.set(true);
    }

    /// Unlists a block.
    pub(super) fn remove<T: Block>(&self, block: &T) {
        let header = block.header();
        let (shard, chain) = self.place(header.key);
        let mut chains = shard.lock();
        let Some(first) = chains.get_mut(chain) else {
            return;
        };
        if ptr::eq(*first, header) {
            *first = header.next.get();
            return;
        }
        let mut at = *first;
        // SAFETY: What is listed lives until it is removed, under this lock.
        while let Some(previous) = unsafe { at.as_ref() } {
            at = previous.next.get();
            if ptr::eq(at, header) {
                previous.next.set(header.next.get());
                return;
            }
        }
    }
}
