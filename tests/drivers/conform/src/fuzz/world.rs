//! The structures of a program, which of them are built, and the pointers that stand in for them.

use alloc::{boxed::Box, vec::Vec};
use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering},
};

use rxce_client::{RXCE_CONNECTION_COMPLETION_CONTEXT, RXCE_VC};
use wdk_sys::{NTSTATUS, PIRP};

use super::slot::LARGEST;
pub(super) use super::slot::{Slot, Sort};
use crate::{
    nt::{irql, mdl::Buffer, pool::Block, sim::Faults},
    outcome::{Outcome, Trouble},
};

/// Contexts of the addresses and connections count from here.
pub(super) const ADDRESS_CONTEXT: usize = 0x6000;
pub(super) const CONNECTION_CONTEXT: usize = 0x6100;

/// What a routine must make of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// It is not built, or damaged.
    Refused,
    /// It depends on members that the engine need not look at.
    Either,
    /// It is built, and as the engine left it.
    Admitted,
}

/// A pointer for a routine, and what it is.
#[derive(Clone, Copy)]
pub(super) struct Pointer {
    pub(super) address: *mut u8,
    /// The slot, if it is that of one of the right sort.
    pub(super) slot: Option<usize>,
}

impl Pointer {
    /// As a routine's parameter.
    pub(super) const fn cast<T>(self) -> *mut T {
        self.address.cast()
    }
}

/// A competition of transports.
pub(super) struct Race {
    pub(super) context: Block<RXCE_CONNECTION_COMPLETION_CONTEXT>,
    pub(super) connection: usize,
    pub(super) vc: usize,
    /// The parents by index, as they were given.
    pub(super) addresses: Vec<Option<usize>>,
}

/// Everything.
pub(super) struct World {
    pub(super) transports: Vec<Slot>,
    pub(super) addresses: Vec<Slot>,
    pub(super) connections: Vec<Slot>,
    pub(super) vcs: Vec<Slot>,
    decoy: Block<[u64; LARGEST / 8]>,
    freed: *mut u8,
    pub(super) race: Option<Race>,
    pub(super) irps: Vec<PIRP>,
    pub(super) buffers: Vec<Buffer>,
    pub(super) faults: Option<Faults>,
    pub(super) fault: Option<u32>,
    /// Of the next call.
    pub(super) level: u8,
    /// A competition was on: its losers hold their addresses for a while.
    pub(super) raced: bool,
}

/// Lets callbacks find out whether a circuit is alive: the start of each slot, and its flag.
pub(super) static ALIVE: [(AtomicPtr<u8>, AtomicBool); 8] =
    [const { (AtomicPtr::new(ptr::null_mut()), AtomicBool::new(false)) }; 8];
/// Nested calls that callbacks make.
pub(super) static NEST: AtomicU8 = AtomicU8::new(0);

impl World {
    /// Nothing is built.
    pub(super) fn new() -> Outcome<Box<Self>> {
        let slots = |count: usize, sort| -> Outcome<Vec<Slot>> {
            (0..count).map(|_| Slot::new(sort)).collect()
        };
        let decoy = Block::filled(0xCC).ok_or_else(Trouble::no_memory)?;
        let freed = Block::<[u64; LARGEST / 8]>::filled(0xCC).ok_or_else(Trouble::no_memory)?;
        let world = Box::new(Self {
            transports: slots(2, Sort::Transport)?,
            addresses: slots(3, Sort::Address)?,
            connections: slots(3, Sort::Connection)?,
            vcs: slots(5, Sort::Vc)?,
            decoy,
            freed: freed.ptr().cast(),
            race: None,
            irps: Vec::new(),
            buffers: Vec::new(),
            faults: Faults::find(),
            fault: None,
            level: irql::PASSIVE,
            raced: false,
        });
        for (entry, slot) in ALIVE.iter().zip(&world.vcs) {
            entry.0.store(slot.start(), Ordering::SeqCst);
            entry.1.store(false, Ordering::SeqCst);
        }
        Ok(world)
    }

    /// The structures of a sort.
    pub(super) fn of(&self, sort: Sort) -> &[Slot] {
        match sort {
            Sort::Transport => &self.transports,
            Sort::Address => &self.addresses,
            Sort::Connection => &self.connections,
            Sort::Vc => &self.vcs,
        }
    }

    /// The structures of a sort.
    pub(super) fn of_mut(&mut self, sort: Sort) -> &mut [Slot] {
        match sort {
            Sort::Transport => &mut self.transports,
            Sort::Address => &mut self.addresses,
            Sort::Connection => &mut self.connections,
            Sort::Vc => &mut self.vcs,
        }
    }

    /// The number of the structure that a choice names.
    pub(super) fn index(&self, sort: Sort, choice: u8) -> usize {
        usize::from(choice & 15)
            .checked_rem(self.of(sort).len())
            .unwrap_or_default()
    }

    /// The pointer that a choice stands for, to be looked up and not to be written to.
    pub(super) fn pointer(&self, sort: Sort, choice: u8) -> Pointer {
        let index = self.index(sort, choice);
        let low = usize::from(choice & 15);
        let real = self
            .of(sort)
            .get(index)
            .map_or(ptr::null_mut(), Slot::start);
        let nowhere = |address| Pointer {
            address,
            slot: None,
        };
        match choice >> 4 {
            9 => nowhere(ptr::null_mut()),
            10 => nowhere(real.wrapping_add(1).wrapping_add(low % 7)),
            11 => nowhere(self.freed),
            12 => nowhere(ptr::without_provenance_mut(
                0xFFFF_8000_0000_1000_usize.wrapping_add(low << 3),
            )),
            13 => nowhere(ptr::without_provenance_mut(0x1000)),
            14 => nowhere(self.copy(sort, index)),
            15 => nowhere(self.other(sort, choice)),
            _ => Pointer {
                address: real,
                slot: Some(index),
            },
        }
    }

    /// The pointer that a choice stands for where a routine may write a structure.
    pub(super) fn output(&self, sort: Sort, choice: u8) -> Pointer {
        let other = Sort::new(choice);
        let other_built = choice >> 4 == 15
            && other != sort
            && self
                .of(other)
                .get(self.index(other, choice))
                .is_some_and(|slot| slot.built);
        match choice >> 4 {
            9 | 10 => self.pointer(sort, choice),
            15 if other_built => self.pointer(sort, choice),
            _ => self.pointer(sort, choice & 15),
        }
    }

    /// A copy of a structure at another address.
    fn copy(&self, sort: Sort, index: usize) -> *mut u8 {
        let bytes = self
            .of(sort)
            .get(index)
            .map(Slot::bytes)
            .unwrap_or_default();
        let start = self.decoy.ptr().cast::<u8>();
        for (offset, byte) in bytes.into_iter().enumerate().take(LARGEST) {
            // SAFETY: Inside the block.
            unsafe { start.wrapping_add(offset).write_volatile(byte) };
        }
        start
    }

    /// A structure of another sort, if the choice says one.
    fn other(&self, sort: Sort, choice: u8) -> *mut u8 {
        let other = Sort::new(choice);
        if other == sort {
            return self.freed;
        }
        let index = self.index(other, choice);
        self.of(other)
            .get(index)
            .map_or(ptr::null_mut(), Slot::start)
    }

    /// Bytes of the copy: nobody but the program writes there.
    pub(super) fn decoy(&self) -> Vec<u8> {
        self.decoy.bytes()
    }

    /// What a routine must make of a pointer to a structure that should be built.
    pub(super) fn expect(&self, sort: Sort, pointer: Pointer) -> Expect {
        let Some(slot) = pointer.slot.and_then(|index| self.of(sort).get(index)) else {
            return Expect::Refused;
        };
        let races = self.races(sort, pointer.slot);
        let children_race = matches!(sort, Sort::Transport | Sort::Address);
        if races && !children_race {
            return Expect::Either;
        }
        if !slot.built || slot.is_damaged() {
            return Expect::Refused;
        }
        let parents = self.parents(sort, slot);
        if parents.iter().any(|parent| !parent.is_signed()) {
            return Expect::Refused;
        }
        if races || slot.is_changed() || parents.iter().any(|parent| parent.is_changed()) {
            return Expect::Either;
        }
        Expect::Admitted
    }

    fn parents(&self, sort: Sort, slot: &Slot) -> Vec<&Slot> {
        let mut parents = Vec::new();
        let mut next = match sort {
            Sort::Transport => None,
            Sort::Address => Some((Sort::Transport, slot.parent)),
            Sort::Connection => Some((Sort::Address, slot.parent)),
            Sort::Vc => Some((Sort::Connection, slot.parent)),
        };
        while let Some((sort, index)) = next {
            let Some(parent) = self.of(sort).get(index) else {
                break;
            };
            parents.push(parent);
            next = match sort {
                Sort::Transport | Sort::Vc => None,
                Sort::Address => Some((Sort::Transport, parent.parent)),
                Sort::Connection => Some((Sort::Address, parent.parent)),
            };
        }
        parents
    }

    /// Whether a competition is on that may change the structure, or counts as its child.
    pub(super) fn races(&self, sort: Sort, index: Option<usize>) -> bool {
        match sort {
            Sort::Transport | Sort::Address => self.raced,
            Sort::Connection => self
                .race
                .as_ref()
                .is_some_and(|race| index == Some(race.connection)),
            Sort::Vc => self
                .race
                .as_ref()
                .is_some_and(|race| index == Some(race.vc)),
        }
    }

    /// Whether a structure has children.
    pub(super) fn has_children(&self, sort: Sort, index: usize) -> bool {
        let child = match sort {
            Sort::Transport => Sort::Address,
            Sort::Address => Sort::Connection,
            Sort::Connection => Sort::Vc,
            Sort::Vc => return false,
        };
        self.of(child)
            .iter()
            .any(|slot| slot.built && slot.parent == index)
    }

    /// Notes that a structure was built, or that it was not.
    pub(super) fn note_built(&mut self, sort: Sort, index: usize, parent: usize, status: NTSTATUS) {
        if sort == Sort::Vc {
            set_alive(index, status >= 0);
        }
        if let Some(slot) = self.of_mut(sort).get_mut(index)
            && status >= 0
        {
            slot.built = true;
            slot.parent = parent;
            slot.forget_change();
        }
    }

    /// Notes that a structure was torn down.
    pub(super) fn note_gone(&mut self, sort: Sort, index: usize) {
        if sort == Sort::Vc {
            set_alive(index, false);
        }
        if let Some(slot) = self.of_mut(sort).get_mut(index) {
            slot.built = false;
            slot.forget_change();
        }
    }
}

/// Callbacks may name this circuit from now on, or not any more.
pub(super) fn set_alive(index: usize, alive: bool) {
    if let Some(entry) = ALIVE.get(index) {
        entry.1.store(alive, Ordering::SeqCst);
    }
}

/// Whether a circuit that a callback names may be named.
pub(super) fn is_alive(vc: *const RXCE_VC) -> bool {
    ALIVE.iter().any(|(start, alive)| {
        start.load(Ordering::SeqCst).cast_const().cast() == vc && alive.load(Ordering::SeqCst)
    })
}
