//! Circuits by hand.

use core::{
    cell::UnsafeCell,
    ffi::c_int,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use bench_ioctl::Provider;
use client_nt::status::Result;
use rxce_client::remote_information;
use wdk_sys::{
    EX_RUNDOWN_REF, NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL, PVOID, STATUS_INVALID_DEVICE_STATE,
    STATUS_MORE_PROCESSING_REQUIRED, STATUS_SUCCESS, ULONG,
    ntddk::{
        ExAcquireRundownProtection, ExInitializeRundownProtection, ExReleaseRundownProtection,
        ExWaitForRundownProtectionRelease,
    },
};

use super::{
    file::File,
    request::{self, RELEASE, Request},
};
use crate::client::{self, Sent};

/// One circuit.
pub(super) struct Circuit {
    /// Requests under way.
    references: UnsafeCell<EX_RUNDOWN_REF>,
    /// We have not begun to disconnect, and the peer has not aborted: it may as soon as the transport has connected.
    connected: AtomicBool,
    /// Written by the build and the tear-down, which keep each other out; read by whoever has a reference.
    endpoint: UnsafeCell<Option<File>>,
}

impl Circuit {
    /// One that is not built.
    pub(super) const fn new() -> Self {
        Self {
            // SAFETY: Integers and pointers; `build` gives them a meaning.
            references: UnsafeCell::new(unsafe { core::mem::zeroed() }),
            connected: AtomicBool::new(false),
            endpoint: UnsafeCell::new(None),
        }
    }

    /// Opens, associates and connects. It is not built when this is called.
    ///
    /// # Errors
    ///
    /// The status of the step that failed.
    pub(super) fn build(&self, provider: Provider, address: &File) -> Result {
        let context = ptr::from_ref(self).expose_provenance().to_ne_bytes();
        let endpoint = File::open(&client::device(provider), b"ConnectionContext", &context)?;
        let handle = address.handle().expose_provenance();
        // SAFETY: The endpoint is open, and so is the address.
        unsafe { request::perform(&endpoint, request::ASSOCIATE_ADDRESS, [handle, 0, 0, 0]) }?;
        let mut peer = client::peer(provider);
        let information = remote_information(&mut peer);
        let requested = (&raw const information).expose_provenance();
        self.connected.store(true, Ordering::Release);
        // SAFETY: The information lives across the call.
        unsafe { request::perform(&endpoint, request::CONNECT, [0, requested, 0, 0]) }?;
        // SAFETY: Nobody else uses a circuit that is not built.
        unsafe { *self.endpoint.get() = Some(endpoint) };
        // SAFETY: As above.
        unsafe { ExInitializeRundownProtection(self.references.get()) };
        Ok(())
    }

    /// Sends; `sent` follows the end.
    ///
    /// # Errors
    ///
    /// Not connected, or no memory.
    ///
    /// # Safety
    ///
    /// As [`client::Client::send`].
    pub(super) unsafe fn send(&self, mdl: PMDL, length: u32, context: PVOID) -> Result {
        // SAFETY: Forwarded.
        unsafe {
            self.submit(
                request::SEND,
                [length as usize, 0, 0, 0],
                mdl,
                sent,
                context,
            )
        }
    }

    /// Begins to disconnect.
    ///
    /// # Errors
    ///
    /// Not connected, or no memory.
    pub(super) fn disconnect(&self) -> Result {
        let (minor, parameters) = (request::DISCONNECT, [RELEASE, 0, 0, 0]);
        let (mdl, none) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: The request points nowhere.
        unsafe { self.submit(minor, parameters, mdl, disconnected, none) }?;
        self.connected.store(false, Ordering::Release);
        Ok(())
    }

    /// # Safety
    ///
    /// What parameters, MDL and context point to stays until the routine runs.
    #[inline(always)]
    unsafe fn submit(
        &self,
        minor: u8,
        parameters: [usize; 4],
        mdl: PMDL,
        routine: request::Routine,
        context: PVOID,
    ) -> Result {
        if !self.acquire() {
            return Err(STATUS_INVALID_DEVICE_STATE);
        }
        // SAFETY: The reference was taken above.
        let endpoint = unsafe { self.endpoint() };
        let submitted = match endpoint {
            Some(endpoint) if self.is_connected() => {
                let notes = [ptr::from_ref(self).cast_mut().cast(), context];
                Request::new(endpoint, notes).map(|request| {
                    // SAFETY: Forwarded; the reference keeps the endpoint.
                    unsafe { request.send(endpoint, minor, parameters, mdl, routine) };
                })
            }
            _ => Err(STATUS_INVALID_DEVICE_STATE),
        };
        if submitted.is_err() {
            // SAFETY: Taken above, and no request has it.
            unsafe { self.release() };
        }
        submitted
    }

    /// Takes a reference, unless the circuit is being torn down.
    #[inline]
    pub(super) fn acquire(&self) -> bool {
        // SAFETY: Initialised by the build, which is over.
        unsafe { ExAcquireRundownProtection(self.references.get()) != 0 }
    }

    /// Whether sends are welcome.
    #[inline]
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// The open endpoint.
    ///
    /// # Safety
    ///
    /// The caller has a reference: the tear-down takes the endpoint away when all are gone.
    #[inline]
    pub(super) unsafe fn endpoint(&self) -> Option<&File> {
        // SAFETY: Forwarded.
        unsafe { (*self.endpoint.get()).as_ref() }
    }

    /// # Safety
    ///
    /// The caller has a reference.
    pub(super) unsafe fn release(&self) {
        // SAFETY: Forwarded.
        unsafe { ExReleaseRundownProtection(self.references.get()) };
    }

    /// Waits for all requests and closes the endpoint.
    pub(super) fn tear_down(&self) {
        // SAFETY: Only the owner tears down and builds.
        let endpoint = unsafe { &mut *self.endpoint.get() };
        if endpoint.is_some() {
            // SAFETY: Initialised by the build.
            unsafe { ExWaitForRundownProtectionRelease(self.references.get()) };
            *endpoint = None;
        }
    }
}

/// The peer disconnects. An orderly end leaves our side open, and owes our own disconnect.
pub(super) unsafe extern "C" fn peer_disconnects(
    _context: PVOID,
    connection: PVOID,
    _data_length: c_int,
    _data: PVOID,
    _information_length: c_int,
    _information: PVOID,
    flags: ULONG,
) -> NTSTATUS {
    // SAFETY: The context that the endpoint was opened with: a circuit, which outlives its endpoint and so the events.
    let circuit = unsafe { &*connection.cast::<Circuit>() };
    if flags as usize & RELEASE == 0 {
        circuit.connected.store(false, Ordering::Release);
    }
    STATUS_SUCCESS
}

/// The end of a send.
unsafe extern "C" fn sent(_device: PDEVICE_OBJECT, irp: PIRP, _context: PVOID) -> NTSTATUS {
    // SAFETY: The completion routine of a request of `submit`.
    let ([circuit, context], status) = unsafe { request::take(irp) };
    // SAFETY: The client's context.
    unsafe { Sent::end(context, status) };
    // SAFETY: The request's reference keeps the circuit.
    let circuit = unsafe { &*circuit.cast::<Circuit>() };
    // SAFETY: It is given up here.
    unsafe { circuit.release() };
    STATUS_MORE_PROCESSING_REQUIRED
}

/// The end of a disconnect.
unsafe extern "C" fn disconnected(_device: PDEVICE_OBJECT, irp: PIRP, _context: PVOID) -> NTSTATUS {
    // SAFETY: The completion routine of a request of `submit`.
    let ([circuit, _], _) = unsafe { request::take(irp) };
    // SAFETY: The request's reference keeps the circuit.
    let circuit = unsafe { &*circuit.cast::<Circuit>() };
    // SAFETY: It is given up here.
    unsafe { circuit.release() };
    STATUS_MORE_PROCESSING_REQUIRED
}
