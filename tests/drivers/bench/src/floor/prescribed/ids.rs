//! Circuits by id: the token that a transport is given instead of a pointer. None is used twice, so one that a transport
//! keeps too long finds nothing (rxce.md §3.6).

use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};

use client_nt::{pool::NonPaged, spin_lock::SpinLock, status::Result};
use wdk_sys::STATUS_INSUFFICIENT_RESOURCES;

use super::{
    circuit::Circuit,
    registry::{Block as _, Ref},
};
use crate::floor::TAG;

/// As many as the engine has.
const SHARDS: usize = 16;
/// Of a shard, which does not grow: 128 circuits are as many as the bench needs.
const SLOTS: usize = 8;

/// The ids.
pub(super) struct Ids {
    shards: [Shard; SHARDS],
    /// New ids come from the shards in turn.
    turn: AtomicUsize,
}

#[repr(C)]
struct Shard {
    table: SpinLock<Table>,
    /// A shard has cache lines of its own.
    _rest_of_lines: [u64; 6],
}

struct Table {
    slots: [Slot; SLOTS],
    /// The first free slot; [`SLOTS`] if there is none.
    free: usize,
}

struct Slot {
    /// What the id finds, once it is published.
    block: *const Circuit,
    /// Which use of the slot this is, from 1.
    generation: u32,
    /// Of a slot that is free again: one more than the next free one. 0 in a slot that was never used: the next one is its
    /// neighbour.
    next: u32,
}

impl Shard {
    const fn new() -> Self {
        const EMPTY: Slot = Slot {
            block: ptr::null(),
            generation: 1,
            next: 0,
        };
        Self {
            table: SpinLock::new(Table {
                slots: [EMPTY; SLOTS],
                free: 0,
            }),
            _rest_of_lines: [0; 6],
        }
    }
}

/// The use of a slot that is not reached.
const LAST_USE: u32 = u32::MAX;

/// Shard, slot and generation of an id, which is not 0.
#[derive(Clone, Copy)]
struct Id {
    shard: usize,
    slot: usize,
    generation: u32,
}

impl Id {
    const fn to_raw(self) -> usize {
        ((self.generation as usize) << 32) | (self.slot << 8) | self.shard
    }

    const fn from_raw(raw: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "32 bits are left")]
        let generation = (raw >> 32) as u32;
        Self {
            shard: raw & 0xFF,
            slot: (raw >> 8) & 0xFF_FFFF,
            generation,
        }
    }
}

impl Ids {
    /// Without an id in use. It is too large for a stack that others use.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    #[inline(never)]
    pub(super) fn allocate() -> Result<NonPaged<Self>> {
        let ids = Self {
            shards: [const { Shard::new() }; SHARDS],
            turn: AtomicUsize::new(0),
        };
        NonPaged::try_new(ids, TAG)
    }

    /// A new id, which finds nothing until it is published.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    pub(super) fn take(&self) -> Result<usize> {
        for _ in 0..SHARDS {
            let number = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let taken = self.shards.get(number).and_then(|shard| {
                let (slot, generation) = shard.table.lock().take()?;
                Some(Id {
                    shard: number,
                    slot,
                    generation,
                })
            });
            if let Some(id) = taken {
                return Ok(id.to_raw());
            }
        }
        Err(STATUS_INSUFFICIENT_RESOURCES)
    }

    /// Runs `run` with the slot of an id that is in use, under the lock of its shard.
    fn with<R>(&self, id: Id, run: impl FnOnce(&mut Table) -> Option<R>) -> Option<R> {
        let mut table = self.shards.get(id.shard)?.table.lock();
        run(&mut table)
    }

    /// Lets look-ups find a circuit by its id.
    pub(super) fn publish(&self, id: usize, circuit: &Ref<Circuit>) {
        let id = Id::from_raw(id);
        let block = circuit.as_non_null().as_ptr();
        self.with(id, |table| {
            table.slot(id)?.block = block;
            Some(())
        });
    }

    /// Makes look-ups find nothing, from now on for ever.
    pub(super) fn give_back(&self, id: usize) {
        let id = Id::from_raw(id);
        self.with(id, |table| table.give_back(id));
    }

    /// Finds a circuit and takes a reference to it.
    pub(super) fn find(&self, token: usize) -> Option<Ref<Circuit>> {
        let id = Id::from_raw(token);
        self.with(id, |table| {
            let block = NonNull::new(table.slot(id)?.block.cast_mut())?;
            // SAFETY: A circuit gives its id back before it goes, under this lock.
            let acquired = unsafe { block.as_ref() }.header().acquire();
            // SAFETY: The reference was taken above.
            acquired.then(|| unsafe { Ref::from_raw(block) })
        })
    }
}

impl Table {
    fn take(&mut self) -> Option<(usize, u32)> {
        let number = self.free;
        let slot = self.slots.get(number)?;
        let next = slot.next.checked_sub(1);
        self.free = next.map_or(number.wrapping_add(1), |next| next as usize);
        Some((number, slot.generation))
    }

    /// The slot of an id that is in use.
    fn slot(&mut self, id: Id) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.slot);
        slot.filter(|slot| slot.generation == id.generation)
    }

    fn give_back(&mut self, id: Id) -> Option<()> {
        let free = self.free;
        let slot = self.slot(id)?;
        slot.block = ptr::null();
        slot.generation = slot.generation.saturating_add(1);
        if slot.generation != LAST_USE {
            #[expect(clippy::cast_possible_truncation, reason = "eight slots")]
            let next = free.wrapping_add(1) as u32;
            slot.next = next;
            self.free = id.slot;
        }
        Some(())
    }
}
