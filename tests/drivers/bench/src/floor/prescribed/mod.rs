//! The contract by hand: circuits with every call of the kernel that the engine's contract prescribes for their build, their
//! sends, their disconnect and their tear-down, and nothing more: what the contract costs, whoever keeps it.
//!
//! The contract is rxce.md §3.1 and §3.3 to §3.6, §4 and §5.10 to §5.13. Each routine looks at the level. Connection and
//! circuits are found by the address of the client's structure, under the lock of a shard, with a reference; the transport
//! has an id. A circuit counts at its three parents, each under its own lock, and has packets for what must not fail for
//! memory. What is decided about a circuit is decided under its lock, and so is every request listed and unlisted; it goes
//! to the device that the file object leads to then, in a packet of which the sender and the completion routine have a part
//! each; and a reference to the driver lasts from before the hand-over to the end of the completion routine.
//!
//! Left out is what the engine does without the kernel (checks of structures, of the chain and of the length, public
//! counters, tracing), and what the transports of the bench never make necessary: the thread for handles (callers above
//! `PASSIVE_LEVEL`, or with APCs disabled, are refused), and the time-outs of a tear-down with what follows them, as
//! [`super::Floor`] has none. So nothing is ever cancelled; that the transport has been called is noted all the same.
//!
//! ```text
//! build     open, associate, connect
//! end       disconnect and tear-down
//! send      sends
//! events    what the transport tells
//! circuit   a circuit's block
//! life      what is decided under its lock
//! record    requests
//! root      connection, address, transport and the driver
//! ids       circuits by id
//! pointers  blocks by the client's structure
//! registry  what can be found, and references to it
//! list      intrusive lists
//! packet    packets that are kept
//! ```

mod build;
mod circuit;
mod end;
mod events;
mod ids;
mod life;
mod list;
mod packet;
mod pointers;
mod record;
mod registry;
mod root;
mod send;

use alloc::vec::Vec;
use core::ptr::NonNull;

use bench_ioctl::Provider;
use client_nt::{pool::NonPaged, status::Result};
use rxce_client::RXCE_VC;
use wdk_sys::{
    DISPATCH_LEVEL, PASSIVE_LEVEL, PMDL, PVOID, STATUS_CONNECTION_DISCONNECTED,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    ntddk::{KeAreAllApcsDisabled, KeGetCurrentIrql},
};

use self::{circuit::Circuit, registry::Ref, root::Root};
use super::TAG;
use crate::client::{Client, Inbox};

/// An address, a connection and its circuits.
pub(crate) struct Prescribed {
    root: NonPaged<Root>,
    /// The client's structures: zeroed where no circuit is built.
    circuits: Vec<NonPaged<RXCE_VC>>,
}

impl Prescribed {
    /// Opens an address and builds `circuits` circuits on it.
    ///
    /// # Errors
    ///
    /// The first failure; nothing is open then.
    pub(crate) fn new(provider: Provider, circuits: u32) -> Result<Self> {
        let mut client = Self {
            root: Root::new(provider)?,
            circuits: Vec::new(),
        };
        let room = client.circuits.try_reserve(circuits as usize);
        room.map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
        for index in 0..circuits {
            let public = NonPaged::try_new(RXCE_VC::default(), TAG)?;
            client.circuits.push(public);
            client.build(index)?;
        }
        Ok(client)
    }

    fn public(&self, index: u32) -> Result<NonNull<RXCE_VC>> {
        let public = self.circuits.get(index as usize);
        public
            .map(NonPaged::as_non_null)
            .ok_or(STATUS_INVALID_PARAMETER)
    }

    /// Finds a circuit that is built.
    fn find(&self, index: u32) -> Option<Ref<Circuit>> {
        let key = self.circuits.get(index as usize)?.as_non_null().addr();
        self.root.pointers.find(key.get())
    }
}

impl Drop for Prescribed {
    fn drop(&mut self) {
        for index in 0..self.circuits.len() {
            #[expect(clippy::cast_possible_truncation, reason = "made of as many")]
            let index = index as u32;
            // One that is not built refuses.
            let _ = self.tear_down(index);
        }
    }
}

impl Client for Prescribed {
    unsafe fn send(&self, index: u32, mdl: PMDL, length: u32, context: PVOID) -> Result {
        require_dispatch()?;
        let circuit = self.find(index).ok_or(STATUS_CONNECTION_DISCONNECTED)?;
        // SAFETY: Forwarded.
        unsafe { send::send(circuit, mdl, length, context) }
    }

    fn disconnect(&self, index: u32) -> Result {
        require_dispatch()?;
        end::disconnect(self.find(index).ok_or(STATUS_INVALID_PARAMETER)?)
    }

    fn tear_down(&self, index: u32) -> Result {
        require_passive()?;
        end::tear_down(self.find(index).ok_or(STATUS_INVALID_PARAMETER)?)
    }

    fn build(&self, index: u32) -> Result {
        require_passive()?;
        build::build(&self.root, self.public(index)?)
    }

    fn inbox(&self) -> &Inbox {
        &self.root.inbox
    }
}

fn level() -> u32 {
    // SAFETY: It only reads the processor's state.
    u32::from(unsafe { KeGetCurrentIrql() })
}

/// Refuses callers above `DISPATCH_LEVEL` (§3.1).
fn require_dispatch() -> Result {
    if level() > DISPATCH_LEVEL {
        return Err(STATUS_INVALID_PARAMETER);
    }
    Ok(())
}

/// Refuses callers where handles cannot be opened and closed (§3.1): neither changes until the routine returns.
fn require_passive() -> Result {
    // SAFETY: It only reads the state of this thread.
    if level() != PASSIVE_LEVEL || unsafe { KeAreAllApcsDisabled() } != 0 {
        return Err(STATUS_INVALID_PARAMETER);
    }
    Ok(())
}
