//! Blocks by id: the token that a transport is given instead of a pointer. An id is never used twice, so one that a
//! transport keeps too long finds nothing.

use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};

use rxce_engine::{
    Error, mutant,
    spread::{self, Id},
};

use super::{
    Block, Found, Header, Ref,
    segments::{Segment, Segments},
    take,
};
use crate::nt::spin_lock::SpinLock;

static SHARDS: [Shard; spread::SHARDS] =
    [const { Shard(SpinLock::new(Table::new())) }; spread::SHARDS];
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

#[repr(align(64))]
struct Shard(SpinLock<Table>);

struct Table {
    slots: Segments<Slot>,
    /// Slots that were used at least once.
    used: u32,
    /// The first free one of them.
    free: Option<u32>,
}

struct Slot {
    /// What the id in use finds, once it is published.
    block: *mut Header,
    /// How many uses of the slot are over.
    over: u32,
    /// One more than the next free slot; zero at the end of the list.
    next_free: u32,
}

/// What one id costs.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>();

// SAFETY: Blocks are published only while they live, and reached only under the shard's lock.
unsafe impl Send for Table {}

/// An id that no transport knows yet, or knows no longer; given back when it is withdrawn or dropped.
pub(crate) struct OwnedId(
    /// Zero, which is no id, once it was withdrawn.
    AtomicUsize,
);

impl OwnedId {
    /// Takes a new id, which finds nothing until it is published.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) fn new() -> Result<Self, Error> {
        let number = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) & (spread::SHARDS - 1);
        let table = &shard(number).0;
        loop {
            let missing = match table.with(Table::take_slot) {
                Slotted::Slot(index, generation) => {
                    let id = Id::new(number, index, generation);
                    return Ok(Self(AtomicUsize::new(id.raw())));
                }
                Slotted::Full => return Err(Error::InsufficientResources),
                Slotted::Missing(index) => index,
            };
            let segment = Segment::for_element(missing).ok_or(Error::InsufficientResources)?;
            let superfluous = table.with(|table| table.slots.install(segment));
            drop(superfluous);
        }
    }

    /// The token for the transport; zero once it was withdrawn.
    pub(crate) fn raw(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// In which shard it is: ids that are taken one after the other are in different ones.
    pub(crate) fn shard(&self) -> usize {
        Id::from_raw(self.raw()).shard()
    }

    /// Lets look-ups find `block`.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) fn publish<T: Block>(&self, block: &Ref<T>) {
        let id = Id::from_raw(self.raw());
        shard(id.shard()).0.with(|table| {
            if let Some(slot) = table.slot(id) {
                slot.block = block.as_ptr().as_ptr().cast();
            }
        });
    }

    /// Makes look-ups find nothing, from now on for ever.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) fn withdraw(&self) {
        if mutant!(IdOutlivesBlock) {
            return;
        }
        let raw = self.0.swap(0, Ordering::Relaxed);
        if raw != 0 {
            let id = Id::from_raw(raw);
            shard(id.shard()).0.with(|table| table.give_back(id));
        }
    }
}

impl Drop for OwnedId {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Finds the block that a transport's token names.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn find<T: Block>(token: usize) -> Option<Ref<T>> {
    let id = Id::from_raw(token);
    shard(id.shard()).0.with(|table| {
        let slot = if mutant!(StaleIdAccepted) {
            table.slots.get(id.index())
        } else {
            table.slot(id)
        }?;
        let header = NonNull::new(slot.block)?;
        // SAFETY: The block is published, under this lock.
        match unsafe { take(header) } {
            Found::Block(block) => Some(block),
            Found::Nothing | Found::Other => None,
        }
    })
}

/// Frees the tables.
///
/// # Safety
///
/// No id is in use, and nobody uses the registry any more.
pub(crate) unsafe fn clear() {
    for shard in &SHARDS {
        let segments = shard.0.with(|table| {
            let segments = table.slots.clear();
            *table = Table::new();
            segments
        });
        drop(segments);
    }
}

fn shard(number: usize) -> &'static Shard {
    let [first, ..] = &SHARDS;
    SHARDS.get(number).unwrap_or(first)
}

/// Whether there is a slot.
enum Slotted {
    Slot(u32, u32),
    Missing(u32),
    Full,
}

/// The last use of a slot whose end can be told from it.
const LAST_USE: u32 = u32::MAX - 1;

/// An index has 28 bits in an id.
const MOST_SLOTS: u32 = 1 << 28;

impl Table {
    const fn new() -> Self {
        const EMPTY: Slot = Slot {
            block: ptr::null_mut(),
            over: 0,
            next_free: 0,
        };
        Self {
            slots: Segments::new([EMPTY; 16]),
            used: 0,
            free: None,
        }
    }

    fn take_slot(&mut self) -> Slotted {
        let index = self.free.unwrap_or(self.used);
        if index >= MOST_SLOTS {
            return Slotted::Full;
        }
        let Some(slot) = self.slots.get(index) else {
            return Slotted::Missing(index);
        };
        let generation = slot.over.saturating_add(1);
        if self.free.is_some() {
            self.free = slot.next_free.checked_sub(1);
        } else {
            self.used = self.used.saturating_add(1);
        }
        Slotted::Slot(index, generation)
    }

    /// The slot of an id that is in use.
    fn slot(&mut self, id: Id) -> Option<&mut Slot> {
        self.slots
            .get(id.index())
            .filter(|slot| slot.over.saturating_add(1) == id.generation())
    }

    /// Ends the use of an id's slot.
    fn give_back(&mut self, id: Id) {
        let free = self.free;
        let Some(slot) = self.slot(id) else {
            return;
        };
        slot.block = ptr::null_mut();
        slot.over = id.generation();
        if slot.over == LAST_USE {
            // Another use would repeat an id.
            return;
        }
        slot.next_free = free.map_or(0, |next| next.saturating_add(1));
        self.free = Some(id.index());
    }
}
