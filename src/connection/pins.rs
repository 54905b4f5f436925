//! How many children a parent has: while there is one, the parent cannot be torn down.
//!
//! The public counters are a mirror of these; these decide.

use rxce_engine::{Error, mutant};

/// A kind of child.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Address,
    Connection,
    Circuit,
}

/// The children of one parent, under the parent's lock.
pub(super) struct Pins {
    alive: bool,
    addresses: u32,
    connections: u32,
    circuits: u32,
}

impl Pins {
    pub(super) const fn new() -> Self {
        Self {
            alive: true,
            addresses: 0,
            connections: 0,
            circuits: 0,
        }
    }

    /// Counts a child.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if the parent is being torn down.
    pub(super) fn pin(&mut self, child: Child) -> Result<(), Error> {
        if !self.alive {
            return Err(Error::InvalidParameter);
        }
        let count = self.count(child);
        *count = count.saturating_add(1);
        Ok(())
    }

    /// Counts a child that has gone.
    pub(super) const fn unpin(&mut self, child: Child) {
        let count = self.count(child);
        *count = count.saturating_sub(1);
    }

    const fn count(&mut self, child: Child) -> &mut u32 {
        match child {
            Child::Address => &mut self.addresses,
            Child::Connection => &mut self.connections,
            Child::Circuit => &mut self.circuits,
        }
    }

    /// Whether there are no children, and no tear-down has begun.
    pub(super) fn is_idle(&self) -> bool {
        if mutant!(ClaimedWithChildren) {
            return self.alive;
        }
        self.alive && self.addresses == 0 && self.connections == 0 && self.circuits == 0
    }

    /// Claims the parent for its tear-down.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] while there are children, and for a second claim.
    pub(super) fn claim(&mut self) -> Result<(), Error> {
        if !self.is_idle() {
            return Err(Error::InvalidParameter);
        }
        self.alive = false;
        Ok(())
    }

    /// The public `ConnectionCount`.
    pub(super) const fn connections(&self) -> i32 {
        self.connections.cast_signed()
    }

    /// The public `VirtualCircuitCount`.
    pub(super) const fn circuits(&self) -> i32 {
        self.circuits.cast_signed()
    }
}
