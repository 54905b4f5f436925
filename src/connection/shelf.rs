//! Idle requests of sends, so that a send needs no memory where one came before.

use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use rxce_engine::Error;

use super::{
    registry::Header,
    request::{Purpose, Request},
};
use crate::nt::{pool::PoolBox, target::Target};

/// A place for one idle request of a send, so that the next send needs no memory. It belongs to a transport, whose circuits
/// share it.
pub(super) struct Shelf(AtomicPtr<Request>);

impl Shelf {
    /// An empty one.
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// A request in a packet for the target: the one that lies here if it fits, or a new one.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) fn request(
        &self,
        owner: NonNull<Header>,
        purpose: Purpose,
        target: &Target,
    ) -> Result<PoolBox<Request>, Error> {
        match self.take().filter(|request| request.fits(target)) {
            Some(mut request) => {
                request.assign(owner, purpose);
                Ok(request)
            }
            None => Request::allocate(owner, purpose, target.device.stack_size()),
        }
    }

    /// Takes the request, if there is one.
    fn take(&self) -> Option<PoolBox<Request>> {
        let request = NonNull::new(self.0.swap(ptr::null_mut(), Ordering::Acquire))?;
        // SAFETY: `put` gave it up, and nobody else takes it now.
        Some(unsafe { PoolBox::from_raw(request) })
    }

    /// Leaves an idle request here, or frees it if there is one already.
    pub(super) fn put(&self, request: PoolBox<Request>) {
        let request = request.into_raw();
        let (empty, full) = (ptr::null_mut(), request.as_ptr());
        let put = self
            .0
            .compare_exchange(empty, full, Ordering::Release, Ordering::Relaxed);
        if put.is_err() {
            // SAFETY: Given up above, and taken by nobody.
            drop(unsafe { PoolBox::from_raw(request) });
        }
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        drop(self.take());
    }
}
