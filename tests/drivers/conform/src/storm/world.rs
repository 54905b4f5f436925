//! What a storm works with: the structures, the sends, and the numbers that callbacks are recognised by.

use alloc::{boxed::Box, vec::Vec};
use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering},
};

use conform_ioctl::{StormFlags, StormRequest};
use rxce_client::{RXCE_ADDRESS, RXCE_CONNECTION, RXCE_TRANSPORT, RXCE_VC};
use wdk_sys::PMDL;

use super::{chance::Chance, datagrams::Room, slot::Slot};
use crate::{
    fixture::{self, Ipv4},
    nt::{mdl::Buffer, pool::Block, sim::Faults, watch::Watch},
    outcome::{Outcome, Trouble},
};

/// Addresses, each with one connection that circuits share.
pub(super) const SHARED: usize = 2;
/// Contexts of the shared connections and of the addresses count from here.
pub(super) const SHARED_CONTEXT: usize = 0x5000;
pub(super) const ADDRESS_CONTEXT: usize = 0x4000;
/// Contexts of a storage's own connections: this, the storage, and the number of the life.
const OWN_CONTEXT: usize = 0x100_0000;

/// Asynchronous sends in one round.
const TICKETS: usize = 2048;
/// Completion contexts count from here.
const TICKET_CONTEXT: usize = 0x7000_0000;

/// One asynchronous send: how often each thing has happened to it.
#[derive(Default)]
pub(super) struct Ticket {
    pub(super) slot: AtomicUsize,
    pub(super) used: AtomicBool,
    pub(super) accepted: AtomicBool,
    pub(super) refused: AtomicBool,
    pub(super) completed: AtomicU32,
    pub(super) submitted: AtomicU32,
}

/// Data to send.
pub(super) struct Payload {
    elements: Vec<Buffer>,
    /// Of the whole chain.
    pub(super) length: u32,
}

impl Payload {
    fn new(lengths: &[usize]) -> Option<Self> {
        let mut elements: Vec<Buffer> = Vec::new();
        let mut length = 0_u32;
        for &bytes in lengths {
            let element = Buffer::new(&alloc::vec![0x5A; bytes])?;
            length = length.saturating_add(element.length());
            if let Some(last) = elements.last() {
                last.chain(element.mdl());
            }
            elements.push(element);
        }
        Some(Self { elements, length })
    }

    /// The chain; none for no bytes.
    pub(super) fn mdl(&self) -> PMDL {
        self.elements.first().map_or(ptr::null_mut(), Buffer::mdl)
    }
}

/// Where the rounds begin and end.
pub(super) struct Gate {
    pub(super) round: u32,
    pub(super) running: usize,
    pub(super) stop: bool,
}

/// Everything.
pub(super) struct World {
    pub(super) request: StormRequest,
    pub(super) gate: Watch<Gate>,
    pub(super) slots: Vec<Slot>,
    pub(super) transport: Block<RXCE_TRANSPORT>,
    pub(super) addresses: Vec<Block<RXCE_ADDRESS>>,
    pub(super) shared: Vec<Block<RXCE_CONNECTION>>,
    pub(super) peer: Block<Ipv4>,
    /// For datagrams, one for each address.
    pub(super) rooms: Vec<Room>,
    pub(super) payloads: Vec<Payload>,
    pub(super) faults: Option<Faults>,
    /// What each thread is at, for the report of a hang.
    pub(super) doing: Vec<AtomicU32>,
    tickets: Vec<Ticket>,
    next_ticket: AtomicUsize,
    /// For chance in callbacks.
    pub(super) callbacks: AtomicU32,
}

static WORLD: AtomicPtr<World> = AtomicPtr::new(ptr::null_mut());

/// The storm that is on, for callbacks and for the transport.
pub(super) fn current() -> Option<&'static World> {
    // SAFETY: Set while the storm is on; every circuit and every task of the transport is gone before it is freed.
    unsafe { WORLD.load(Ordering::Acquire).as_ref() }
}

impl World {
    /// A world with nothing built, which [`current`] finds from now on.
    pub(super) fn open(request: StormRequest) -> Outcome<&'static Self> {
        let no_memory = Trouble::no_memory;
        let threads = request.threads as usize;
        let count = threads.saturating_add(2);
        let slots: Outcome<Vec<Slot>> = (0..count).map(|_| Slot::new()).collect();
        let lengths: [&[usize]; 5] = [&[], &[1], &[100], &[10, 1, 300], &[1500, 600]];
        let payloads: Option<Vec<Payload>> = lengths.into_iter().map(Payload::new).collect();
        let addresses: Option<Vec<_>> = (0..SHARED).map(|_| Block::filled(0xCC)).collect();
        let shared: Option<Vec<_>> = (0..SHARED).map(|_| Block::filled(0xCC)).collect();
        let rooms: Outcome<Vec<Room>> = (0..SHARED).map(|_| Room::new()).collect();
        let world = Box::new(Self {
            gate: Watch::new(Gate {
                round: 0,
                running: 0,
                stop: false,
            }),
            slots: slots?,
            transport: Block::filled(0xCC).ok_or_else(no_memory)?,
            addresses: addresses.ok_or_else(no_memory)?,
            shared: shared.ok_or_else(no_memory)?,
            peer: Block::new(fixture::PEER).ok_or_else(no_memory)?,
            rooms: rooms?,
            payloads: payloads.ok_or_else(no_memory)?,
            faults: if request.flags.has(StormFlags::FAULTS) {
                Faults::find()
            } else {
                None
            },
            doing: (0..threads).map(|_| AtomicU32::new(0)).collect(),
            tickets: (0..TICKETS).map(|_| Ticket::default()).collect(),
            next_ticket: AtomicUsize::new(0),
            callbacks: AtomicU32::new(0),
            request,
        });
        let world = Box::into_raw(world);
        WORLD.store(world, Ordering::Release);
        // SAFETY: Made above; freed by `close` alone.
        Ok(unsafe { &*world })
    }

    /// Frees the world.
    ///
    /// # Safety
    ///
    /// Nothing is built, no thread and no task is left, and nobody keeps a reference.
    pub(super) unsafe fn close() {
        let world = WORLD.swap(ptr::null_mut(), Ordering::AcqRel);
        if !world.is_null() {
            // SAFETY: Made by `open`; by this function's contract nobody uses it.
            drop(unsafe { Box::from_raw(world) });
        }
    }

    /// The storage behind a circuit that a callback names.
    pub(super) fn slot_of(&self, vc: *const RXCE_VC) -> Option<(usize, &Slot)> {
        self.slots
            .iter()
            .enumerate()
            .find(|(_, slot)| slot.vc.ptr().cast_const() == vc)
    }

    /// The storage and the stream behind a chain that a callback names.
    pub(super) fn room_of(&self, chain: PMDL) -> Option<(usize, usize, &Slot)> {
        self.slots.iter().enumerate().find_map(|(index, slot)| {
            (0..super::slot::LANES)
                .find(|&lane| slot.chain(lane) == chain)
                .map(|lane| (lane, index, slot))
        })
    }

    /// One of the addresses.
    pub(super) fn any_address(&self, chance: &mut Chance) -> Option<&Block<RXCE_ADDRESS>> {
        let count = u32::try_from(self.addresses.len()).unwrap_or(1);
        self.addresses.get(chance.below(count) as usize)
    }

    /// What the storage's own connection is built with.
    pub(super) fn own_context(index: usize, life: u32) -> usize {
        OWN_CONTEXT | (index << 16) | (life as usize & 0xFFFF)
    }

    /// A ticket that was not used in this round, with its completion context.
    pub(super) fn ticket(&self, slot: usize) -> Option<(&Ticket, usize)> {
        let index = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let ticket = self.tickets.get(index)?;
        ticket.slot.store(slot, Ordering::Relaxed);
        ticket.used.store(true, Ordering::Release);
        Some((ticket, TICKET_CONTEXT.saturating_add(index)))
    }

    /// The ticket behind a completion context.
    pub(super) fn ticket_of(&self, context: usize) -> Option<&Ticket> {
        let ticket = self.tickets.get(context.checked_sub(TICKET_CONTEXT)?)?;
        ticket.used.load(Ordering::Acquire).then_some(ticket)
    }

    /// The tickets of this round.
    pub(super) fn used_tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets
            .iter()
            .filter(|ticket| ticket.used.load(Ordering::Relaxed))
    }

    /// Forgets the tickets. Nothing is under way.
    pub(super) fn forget_tickets(&self) {
        for ticket in self.used_tickets() {
            ticket.accepted.store(false, Ordering::Relaxed);
            ticket.refused.store(false, Ordering::Relaxed);
            ticket.completed.store(0, Ordering::Relaxed);
            ticket.submitted.store(0, Ordering::Relaxed);
            ticket.used.store(false, Ordering::Relaxed);
        }
        self.next_ticket.store(0, Ordering::Relaxed);
    }
}

/// The byte of a stream at an offset: no two circuits and no two streams have the same.
pub(super) const fn pattern(token: usize, lane: usize, offset: u32) -> u8 {
    let token = token as u64;
    let mixed = (token ^ (token >> 29))
        .wrapping_mul(31)
        .wrapping_add(lane as u64 * 101)
        .wrapping_add((offset as u64).wrapping_mul(0x9E37_79B9) >> 5);
    mixed.to_le_bytes()[0] ^ mixed.to_le_bytes()[2]
}
