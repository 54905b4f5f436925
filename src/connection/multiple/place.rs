//! The client's structures while nobody knows yet who wins: reserved, so that nothing else is built there.

use core::{cell::Cell, ffi::c_void, ptr::NonNull};

use rxce_engine::Error;

use super::request::Request;
use crate::{
    abi::{self, Client},
    connection::{
        circuit::Circuit,
        layer,
        peer::Connection,
        registry::{Block, Header, Kind, Ref, pointers},
    },
    nt::pool::{PoolBox, Pooled, Tag},
};

/// A reservation of one structure.
#[repr(C)]
pub(super) struct Placeholder {
    header: Header,
    /// The race that reserved it; written before the reservation.
    race: Cell<Option<NonNull<c_void>>>,
}

impl Placeholder {
    /// The race, which lives at least as long as this is registered.
    pub(super) const fn race(&self) -> Option<NonNull<c_void>> {
        self.race.get()
    }
}

// SAFETY: The header comes first, and only placeholders have this kind.
unsafe impl Block for Placeholder {
    const KIND: Kind = Kind::Placeholder;

    fn header(&self) -> &Header {
        &self.header
    }
}

impl Pooled for Placeholder {
    const TAG: Tag = Tag::new(*b"RxPh");
}

/// The reservations of a race.
pub(super) struct Places {
    connection: Client<abi::Connection>,
    vc: Client<abi::Vc>,
    blocks: [PoolBox<Placeholder>; 2],
    reserved: Cell<bool>,
}

impl Places {
    /// Refuses structures that are built, before anything is allocated for them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`].
    pub(super) fn require_free(request: &Request<'_>) -> Result<(), Error> {
        layer::require_free(request.connection)?;
        layer::require_free(request.vc)
    }

    /// Zeroes structures for which nothing could be allocated.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if something was built there meanwhile.
    pub(super) fn clear_unbuilt(request: &Request<'_>) -> Result<(), Error> {
        layer::clear_unbuilt(request.connection)?;
        layer::clear_unbuilt(request.vc)
    }

    /// Allocates the reservations.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(super) fn new(request: &Request<'_>) -> Result<Self, Error> {
        let block = |structure: Client<c_void>| {
            PoolBox::new(Placeholder {
                header: Header::new(Kind::Placeholder, structure),
                race: Cell::new(None),
            })
        };
        let blocks = [block(request.connection.cast())?, block(request.vc.cast())?];
        for block in &blocks {
            // SAFETY: The block is in its place for good, and nobody knows it.
            unsafe { block.header().rundown().init() };
        }
        Ok(Self {
            connection: request.connection,
            vc: request.vc,
            blocks,
            reserved: Cell::new(false),
        })
    }

    /// Reserves both structures for a race, or none.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if one is taken.
    pub(super) fn reserve(&self, race: NonNull<c_void>) -> Result<(), Error> {
        let [connection, vc] = &self.blocks;
        // The circuit's structure is the one by which a build is found.
        vc.race.set(Some(race));
        // SAFETY: The block lives until it is removed or replaced.
        let first: Ref<Placeholder> = unsafe { pointers::reserve(connection.as_ptr()) }?;
        drop(first);
        // SAFETY: As above.
        let second: Result<Ref<Placeholder>, Error> = unsafe { pointers::reserve(vc.as_ptr()) };
        if let Err(error) = second.map(drop) {
            // SAFETY: The first one was reserved above.
            unsafe { pointers::remove(connection.as_ptr()) };
            return Err(error);
        }
        self.reserved.set(true);
        Ok(())
    }

    /// Zeroes both structures and lets others build them.
    pub(super) fn clear(&self) {
        if !self.reserved.replace(false) {
            return;
        }
        // SAFETY: Both structures are reserved by this race.
        unsafe { self.connection.clear() };
        // SAFETY: As above.
        unsafe { self.vc.clear() };
        for block in &self.blocks {
            // SAFETY: The block is registered, and removed once.
            unsafe { pointers::remove(block.as_ptr()) };
        }
    }

    /// Puts the winner into both places.
    pub(super) fn give(&self, connection: PoolBox<Connection>, circuit: &Ref<Circuit>) {
        if !self.reserved.replace(false) {
            return;
        }
        let [connection_place, vc_place] = &self.blocks;
        let connection: NonNull<Connection> = connection.into_raw();
        // SAFETY: The place is registered under the same key; the connection lives until it is torn down.
        unsafe { pointers::replace(connection_place.as_ptr(), connection) };
        // SAFETY: As above, for the circuit.
        unsafe { pointers::replace(vc_place.as_ptr(), circuit.as_ptr()) };
    }
}
