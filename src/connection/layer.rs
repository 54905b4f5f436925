//! What building and tearing down have in common, whichever the structure: reserve, publish, dismantle.

use core::ptr::NonNull;

use rxce_engine::{Error, mutant};

use super::registry::{self, Block, Ref, pointers};
use crate::{
    abi::{Client, Signed},
    nt::{
        irql::Pageable,
        pool::{PoolBox, Pooled},
    },
};

/// A block behind one of the client's structures.
pub(super) trait Layer: Block + Pooled {
    /// The client's structure.
    type Public: Signed;

    /// Stops the network from reaching the block: no event finds it, and what is outstanding ends.
    fn disconnect(&self, at: &Pageable);

    /// Gives back what was opened; nobody else has the block.
    fn release(&self, at: &Pageable);

    /// Zeroes the client's structure and lets the parents go.
    fn retire(&self);
}

/// Puts a new block behind the structure at its key, or leaves the structure zeroed.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if something lives there, which stays as it is; the error of the allocations, after
/// zeroing the structure.
pub(super) fn reserve<T: Layer>(
    public: Client<T::Public>,
    block: Result<PoolBox<T>, Error>,
) -> Result<Ref<T>, Error> {
    match block {
        Ok(block) => {
            // SAFETY: The block is in its place for good, and nobody knows it.
            unsafe { block.header().rundown().init() };
            // SAFETY: The block lives until `dismantle` or the line below.
            match unsafe { pointers::reserve(block.as_ptr()) } {
                Ok(reserved) => {
                    let _ = block.into_raw();
                    Ok(reserved)
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(unbuilt(public, error)),
    }
}

/// The answer of a build that has no block for the structure, and so leaves it zeroed: [`Error::InvalidParameter`] if something
/// lives there, which stays as it is.
pub(super) fn unbuilt<P: Signed>(public: Client<P>, error: Error) -> Error {
    match error {
        Error::InvalidParameter => error,
        _ => clear_unbuilt(public).err().unwrap_or(error),
    }
}

/// Zeroes a structure for which a build failed before it was reserved.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if something else was built there meanwhile.
pub(super) fn clear_unbuilt<P: Signed>(public: Client<P>) -> Result<(), Error> {
    // SAFETY: Nothing is registered for the structure and nobody can reserve it now, so the build that the caller asked
    // for is the only one to write to it.
    pointers::while_free(public.address(), || unsafe { public.clear() })
}

/// Whether two structures that one build fills share memory.
pub(super) fn overlap<P, Q>(first: Client<P>, second: Client<Q>) -> bool {
    let (start, other) = (first.address(), second.address());
    start < other.saturating_add(size_of::<Q>()) && other < start.saturating_add(size_of::<P>())
}

/// Refuses a structure that is registered, before anything is allocated for it.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub(super) fn require_free<P>(public: Client<P>) -> Result<(), Error> {
    if pointers::is_taken(public.address()) {
        Err(Error::InvalidParameter)
    } else {
        Ok(())
    }
}

/// Undoes [`reserve`]; nothing was written to the client's structure.
pub(super) fn withdraw<T: Layer>(at: &Pageable, block: Ref<T>) {
    let block = block.run_down(at);
    // SAFETY: The block is the caller's alone after the run-down.
    unsafe { free(block) };
}

/// Removes a block from the registry and frees it.
///
/// # Safety
///
/// It is registered, nobody has a reference to it, and its claimant or builder calls this.
unsafe fn free<T: Layer>(block: NonNull<T>) {
    // SAFETY: Forwarded.
    unsafe { pointers::remove(block) };
    // SAFETY: Nobody finds the block any more, and nobody has a reference.
    drop(unsafe { PoolBox::from_raw(block) });
}

/// Takes apart what the caller has claimed, or built half.
pub(super) fn dismantle<T: Layer>(at: &Pageable, block: Ref<T>) {
    block.disconnect(at);
    let block: NonNull<T> = if mutant!(NoRundown) {
        block.into_raw()
    } else {
        block.run_down(at)
    };
    // SAFETY: The block is the caller's alone after the run-down.
    let layer = unsafe { block.as_ref() };
    layer.release(at);
    layer.retire();
    // SAFETY: As above.
    unsafe { free(block) };
}

/// Frees what the engine keeps between structures.
///
/// # Safety
///
/// No structure is built, and none will be.
pub(crate) unsafe fn end() {
    // SAFETY: Forwarded.
    unsafe { registry::pointers::clear() };
    // SAFETY: Forwarded.
    unsafe { registry::ids::clear() };
}
