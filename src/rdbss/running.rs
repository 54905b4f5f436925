//! What sessions run on between start and stop: one transport and one address.

use core::{cell::UnsafeCell, ptr::NonNull};

use rxce_engine::Error;
use wdk_sys::STATUS_REDIRECTOR_NOT_STARTED;

use super::parameters::Parameters;
use crate::{
    abi::{self, Client},
    nt::{
        file::File,
        irql::Pageable,
        pool::{PoolBox, Pooled, Tag},
        rundown::Rundown,
        spin_lock::SpinLock,
    },
};

/// A started redirector.
pub(super) struct Running {
    transport: UnsafeCell<abi::Transport>,
    address: UnsafeCell<abi::Address>,
    /// What the registry said.
    pub(super) parameters: Parameters,
    /// Keeps the driver loaded, also where the image was loaded for its exports first.
    pub(super) keep: File,
    /// Held by whoever uses the address.
    uses: Rundown,
}

impl Pooled for Running {
    const TAG: Tag = Tag::new(*b"RxRu");
}

// SAFETY: The structures are the engine's, which synchronises itself; the rest is only read.
unsafe impl Sync for Running {}
// SAFETY: As above.
unsafe impl Send for Running {}

impl Running {
    /// What is to run; nothing is built yet.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(super) fn new() -> Result<PoolBox<Self>, Error> {
        // SAFETY: All zeroes is the state of a structure before its build.
        let zero_transport = unsafe { core::mem::zeroed() };
        // SAFETY: As above.
        let zero_address = unsafe { core::mem::zeroed() };
        let running = PoolBox::new(Self {
            transport: UnsafeCell::new(zero_transport),
            address: UnsafeCell::new(zero_address),
            parameters: Parameters::read(),
            keep: File::none(),
            uses: Rundown::uninit(),
        })?;
        // SAFETY: The block is at its place, and nobody uses it yet.
        unsafe { running.uses.init() };
        Ok(running)
    }

    /// Waits until nobody uses it. It was withdrawn before.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(super) fn wait(&self, at: &Pageable) {
        self.uses.wait(at);
    }

    /// The transport under all sessions.
    pub(super) fn transport(&self) -> Result<Client<abi::Transport>, Error> {
        Client::new(self.transport.get())
    }

    /// The local address of all sessions.
    pub(super) fn address(&self) -> Result<Client<abi::Address>, Error> {
        Client::new(self.address.get())
    }
}

/// Where it is, while there is one to be used.
struct Shown(Option<NonNull<Running>>);

// SAFETY: The pointer leads to a block that any thread may use.
unsafe impl Send for Shown {}

static SHOWN: SpinLock<Shown> = SpinLock::new(Shown(None));

/// Lets sessions use what runs. Whoever shows it withdraws it, and waits for its uses, before it goes.
pub(super) fn show(running: NonNull<Running>) {
    SHOWN.with(|shown| shown.0 = Some(running));
}

/// From here on, nobody begins to use what runs.
pub(super) fn withdraw() {
    SHOWN.with(|shown| shown.0 = None);
}

/// The use of what runs: it is not torn down before this is dropped.
pub(super) struct Use(NonNull<Running>);

impl core::ops::Deref for Use {
    type Target = Running;

    fn deref(&self) -> &Running {
        // SAFETY: The use keeps it.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        // SAFETY: The use was acquired once, and is released once.
        unsafe { self.uses.release() };
    }
}

/// Uses what runs.
///
/// # Errors
///
/// `STATUS_REDIRECTOR_NOT_STARTED`.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(super) fn running() -> Result<Use, Error> {
    SHOWN.with(|shown| {
        shown
            .0
            // SAFETY: What is shown is not freed before its uses have ended.
            .filter(|running| unsafe { running.as_ref() }.uses.acquire())
            .map(Use)
            .ok_or(Error::Transport(STATUS_REDIRECTOR_NOT_STARTED))
    })
}
