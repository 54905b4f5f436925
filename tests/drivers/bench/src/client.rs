//! What the engine and the hand-written client can both do, and what they tell the bench.

use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bench_ioctl::Provider;
use client_nt::{
    event::Event,
    status::{Result, check},
    unicode,
};
use rxce_client::{IP_ADDRESS_LEN, ip_address};
use wdk_sys::{NTSTATUS, PMDL, PVOID, STATUS_UNSUCCESSFUL, UNICODE_STRING};

/// Bytes of the sends whose length does not matter.
pub(crate) const SHORT: u32 = 64;

/// A client with circuits of its own, numbered from 0.
pub(crate) trait Client {
    /// Sends; the end is told to the [`Sent`] at `context`, if it is not NULL.
    ///
    /// # Errors
    ///
    /// The status of the client; nobody is told then.
    ///
    /// # Safety
    ///
    /// The chain describes `length` bytes and stays until the send is over, and so does what `context` points to.
    unsafe fn send(&self, index: u32, mdl: PMDL, length: u32, context: PVOID) -> Result;

    /// Begins to disconnect.
    ///
    /// # Errors
    ///
    /// The status of the client.
    fn disconnect(&self, index: u32) -> Result;

    /// Waits for the end of the circuit and closes it.
    ///
    /// # Errors
    ///
    /// The status of the client.
    fn tear_down(&self, index: u32) -> Result;

    /// Builds the circuit again.
    ///
    /// # Errors
    ///
    /// The status of the client.
    fn build(&self, index: u32) -> Result;

    /// What its circuits receive.
    fn inbox(&self) -> &Inbox;
}

/// The device of a provider.
pub(crate) const fn device(provider: Provider) -> UNICODE_STRING {
    match provider {
        Provider::Null => unicode!(bench_ioctl::TRANSPORT_NAME),
        Provider::Pending => unicode!(bench_ioctl::PENDING_NAME),
        Provider::Tcp(_) => unicode!(r"\Device\Tcp"),
    }
}

/// The peer behind a provider; those of the bench look at no address.
pub(crate) const fn peer(provider: Provider) -> [u8; IP_ADDRESS_LEN] {
    match provider {
        Provider::Null | Provider::Pending => ip_address([127, 0, 0, 1], 564),
        Provider::Tcp(port) => ip_address([127, 0, 0, 1], port),
    }
}

/// A local address of the system's choice.
pub(crate) const LOCAL: [u8; IP_ADDRESS_LEN] = ip_address([127, 0, 0, 1], 0);

/// One send under way.
pub(crate) struct Sent {
    over: Event,
    failed: AtomicBool,
}

impl Sent {
    /// Nothing is under way. [`Self::initialise`] must follow.
    pub(crate) const fn new() -> Self {
        Self {
            over: Event::uninitialised(),
            failed: AtomicBool::new(false),
        }
    }

    /// # Safety
    ///
    /// It is in its place for good, in nonpaged memory, and nobody uses it yet.
    pub(crate) unsafe fn initialise(&self) {
        // SAFETY: Forwarded.
        unsafe { self.over.initialise(true) };
    }

    /// Waits until nothing is under way.
    ///
    /// # Errors
    ///
    /// The last send has failed.
    pub(crate) fn wait(&self) -> Result {
        self.over.wait();
        if self.failed.load(Ordering::Relaxed) {
            return Err(STATUS_UNSUCCESSFUL);
        }
        Ok(())
    }

    /// Nothing is under way although [`Self::wait`] was called.
    pub(crate) fn give_back(&self) {
        self.over.set();
    }

    /// The end of a send.
    ///
    /// # Safety
    ///
    /// `context` is NULL or the `Sent` of a send that ends now.
    pub(crate) unsafe fn end(context: PVOID, status: NTSTATUS) {
        // SAFETY: Forwarded.
        if let Some(sent) = unsafe { context.cast::<Self>().as_ref() } {
            sent.failed.store(check(status).is_err(), Ordering::Relaxed);
            sent.over.set();
        }
    }
}

/// Counts received bytes.
pub(crate) struct Inbox {
    missing: AtomicI64,
    arrived: Event,
}

impl Inbox {
    /// Expects nothing. [`Self::initialise`] must follow.
    pub(crate) const fn new() -> Self {
        Self {
            missing: AtomicI64::new(0),
            arrived: Event::uninitialised(),
        }
    }

    /// # Safety
    ///
    /// It is in its place for good, in nonpaged memory, and nobody uses it yet.
    pub(crate) unsafe fn initialise(&self) {
        // SAFETY: Forwarded.
        unsafe { self.arrived.initialise(false) };
    }

    /// Expects so many more bytes.
    pub(crate) fn expect(&self, bytes: u32) {
        self.missing.fetch_add(bytes.into(), Ordering::AcqRel);
    }

    /// Waits until the last expected byte has come.
    pub(crate) fn wait(&self) {
        self.arrived.wait();
    }

    /// Bytes have come.
    pub(crate) fn receive(&self, bytes: u32) {
        let bytes = i64::from(bytes);
        if self.missing.fetch_sub(bytes, Ordering::AcqRel) == bytes {
            self.arrived.set();
        }
    }
}
