//! One structure of a client: its memory, and whether it is built, and changed.

use alloc::vec::Vec;

use rxce_client::{RXCE_ADDRESS, RXCE_CONNECTION, RXCE_TRANSPORT, RXCE_VC};

use crate::{
    nt::pool::Block,
    outcome::{Outcome, Trouble},
};

/// Bytes of the largest structure.
pub(super) const LARGEST: usize = 128;

/// What a structure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Transport,
    Address,
    Connection,
    Vc,
}

impl Sort {
    /// Decodes one.
    pub(super) const fn new(value: u8) -> Self {
        match value & 3 {
            0 => Self::Transport,
            1 => Self::Address,
            2 => Self::Connection,
            _ => Self::Vc,
        }
    }

    const fn size(self) -> usize {
        match self {
            Self::Transport => size_of::<RXCE_TRANSPORT>(),
            Self::Address => size_of::<RXCE_ADDRESS>(),
            Self::Connection => size_of::<RXCE_CONNECTION>(),
            Self::Vc => size_of::<RXCE_VC>(),
        }
    }

    /// Where the members end that the engine compares with its own copy: the signature, and for circuits parent, handle
    /// and file object.
    const fn compared(self, offset: usize) -> bool {
        offset < 4 || (matches!(self, Self::Vc) && offset >= 8 && offset < 0x20)
    }
}

/// A byte that was changed.
#[derive(Clone, Copy)]
struct Changed {
    offset: usize,
    was: u8,
    is: u8,
}

/// One structure.
pub(super) struct Slot {
    block: Block<[u64; LARGEST / 8]>,
    sort: Sort,
    /// Of the sort above.
    pub(super) parent: usize,
    pub(super) built: bool,
    changed: Option<Changed>,
}

impl Slot {
    /// Storage only.
    pub(super) fn new(sort: Sort) -> Outcome<Self> {
        let block = Block::filled(0xCC).ok_or_else(Trouble::no_memory)?;
        Ok(Self {
            block,
            sort,
            parent: 0,
            built: false,
            changed: None,
        })
    }

    /// The storage ends where the block ends, so that nothing behind a structure can be touched unseen.
    pub(super) fn start(&self) -> *mut u8 {
        let start = self.block.ptr().cast::<u8>();
        start.wrapping_add(LARGEST.saturating_sub(self.sort.size()))
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let all = self.block.bytes();
        all.get(LARGEST.saturating_sub(self.sort.size())..)
            .unwrap_or_default()
            .to_vec()
    }

    /// Whether it was changed where the engine looks.
    pub(super) fn is_damaged(&self) -> bool {
        self.changed
            .is_some_and(|changed| self.sort.compared(changed.offset))
    }

    /// Whether its signature was left alone.
    pub(super) fn is_signed(&self) -> bool {
        self.changed.is_none_or(|changed| changed.offset >= 4)
    }

    /// Whether a byte was changed.
    pub(super) const fn is_changed(&self) -> bool {
        self.changed.is_some()
    }

    /// Forgets a change: the structure was built, or torn down.
    pub(super) const fn forget_change(&mut self) {
        self.changed = None;
    }

    /// Changes a byte, once.
    pub(super) fn change(&mut self, offset: u32, with: u32) {
        let offset = (offset as usize)
            .checked_rem(self.sort.size())
            .unwrap_or_default();
        let with = match with.to_le_bytes()[0] {
            0 => 1,
            with => with,
        };
        // A tear-down waits for the event that a client puts there (rxce.md §5.13): any other value is the client's fault.
        let clean_up_event = self.sort == Sort::Vc && offset >= 0x38;
        if !self.built || self.changed.is_some() || clean_up_event {
            return;
        }
        let at = self.start().wrapping_add(offset);
        // SAFETY: Inside the block.
        let was = unsafe { at.read_volatile() };
        let is = was ^ with;
        // A state is not to be taken for another one that the engine writes.
        let state = self.sort == Sort::Vc && (0x20..0x24).contains(&offset);
        if state && matches!(is, 0 | 0xAA | 0xBB | 0xDD) {
            return;
        }
        // SAFETY: As above.
        unsafe { at.write_volatile(is) };
        self.changed = Some(Changed { offset, was, is });
    }

    /// Undoes a change, unless the engine has written there since.
    pub(super) fn repair(&mut self) {
        if let Some(changed) = self.changed.take() {
            let at = self.start().wrapping_add(changed.offset);
            // SAFETY: Inside the block.
            if unsafe { at.read_volatile() } == changed.is {
                // SAFETY: As above.
                unsafe { at.write_volatile(changed.was) };
            }
        }
    }
}
