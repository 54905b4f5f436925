//! Requests: what is remembered of a packet while a transport has it (rxce.md §3.6, "Requests").

use core::{
    cell::Cell,
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use client_nt::{pool::NonPaged, status::Result};
use wdk_sys::{NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL, PVOID, STATUS_MORE_PROCESSING_REQUIRED};

use super::{
    circuit::Circuit,
    list::{Linked, Links},
    packet::Packet,
    registry::Ref,
    root::Driver,
};
use crate::{
    client::Sent,
    floor::{TAG, file::File, request},
};

/// Where a request goes when its last part was dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// On the transport's shelf, for the next send.
    Shelf,
    /// Nowhere: it is freed.
    Pool,
    /// It is a part of its circuit.
    Circuit,
}

/// A request.
pub(super) struct Record {
    links: Links<Self>,
    packet: Packet,
    /// Whose it is; one that was armed has a reference.
    circuit: Cell<NonNull<Circuit>>,
    /// The client's, of a send.
    context: Cell<PVOID>,
    /// One for the sender until the transport has returned, and one for the completion routine.
    parts: AtomicU32,
    /// Whether it is under way; under the circuit's lock.
    listed: Cell<bool>,
    /// Whether `IofCallDriver` is known to have handed it over; set under the circuit's lock.
    called: AtomicBool,
    home: Home,
}

impl Linked for Record {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Record {
    /// An idle request.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    pub(super) fn new(stack_size: i8, home: Home) -> Result<Self> {
        Ok(Self {
            links: Links::new(),
            packet: Packet::new(stack_size)?,
            circuit: Cell::new(NonNull::dangling()),
            context: Cell::new(ptr::null_mut()),
            parts: AtomicU32::new(0),
            listed: Cell::new(false),
            called: AtomicBool::new(false),
            home,
        })
    }

    /// The same in a block of its own.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    pub(super) fn allocate(stack_size: i8, home: Home) -> Result<NonPaged<Self>> {
        NonPaged::try_new(Self::new(stack_size, home)?, TAG)
    }

    #[inline]
    pub(super) const fn packet(&self) -> &Packet {
        &self.packet
    }

    /// Whether it is under way. The caller holds the circuit's lock.
    pub(super) const fn is_listed(&self) -> bool {
        self.listed.get()
    }

    /// It is listed, or unlisted since it is over. The caller holds the circuit's lock.
    pub(super) fn note_listed(&self, listed: bool) {
        self.listed.set(listed);
        self.called.store(!listed, Ordering::Release);
    }

    /// How it ended.
    ///
    /// # Safety
    ///
    /// It is over, and not used again yet.
    pub(super) unsafe fn status(&self) -> NTSTATUS {
        // SAFETY: Forwarded: the packet is ours again.
        unsafe { request::status(self.packet.irp().as_ptr()) }
    }

    /// Arms an idle request: it has two parts from now on, and the reference to the circuit.
    ///
    /// # Safety
    ///
    /// The request is idle and the caller's. Whoever drops its last part frees it where its home is the pool or the shelf.
    pub(super) unsafe fn arm(this: NonNull<Self>, circuit: Ref<Circuit>, context: PVOID) {
        // SAFETY: Forwarded.
        let record = unsafe { this.as_ref() };
        record.circuit.set(circuit.into_raw());
        record.context.set(context);
        record.parts.store(2, Ordering::Relaxed);
    }

    /// Sends it to a device; the sender's part is left.
    ///
    /// # Safety
    ///
    /// It was armed and listed, fits the device, and its file is the circuit's. What parameters and MDL point to stays
    /// until it is over.
    pub(super) unsafe fn send(
        this: NonNull<Self>,
        (file, device): (&File, PDEVICE_OBJECT),
        call: (u8, [usize; 4]),
        mdl: PMDL,
    ) {
        // SAFETY: The caller has a part.
        let record = unsafe { this.as_ref() };
        let irp = record.packet.irp();
        let end: request::Routine = ended;
        // SAFETY: Forwarded; the completion routine's part keeps the request.
        unsafe { request::prepare(irp, file, call, mdl, (end, this.as_ptr().cast())) };
        // SAFETY: The request's reference keeps the circuit.
        let circuit = unsafe { record.circuit.get().as_ref() };
        circuit.root().transport.driver.acquire();
        // SAFETY: Prepared above.
        unsafe { request::call(device, irp) };
        // One that is over was handed over: its end has said so.
        if !record.called.load(Ordering::Acquire) {
            circuit.hold(|_| record.called.store(true, Ordering::Release));
        }
    }

    /// Gives a request back that was armed and not listed.
    ///
    /// # Safety
    ///
    /// Nobody else knows it.
    pub(super) unsafe fn disarm(this: NonNull<Self>) {
        // SAFETY: Forwarded.
        unsafe { this.as_ref() }.parts.store(1, Ordering::Relaxed);
        // SAFETY: The only part.
        unsafe { Self::drop_part(this) };
    }

    /// Gives a part back; the last one frees the request or leaves it where it belongs, and releases the circuit.
    ///
    /// # Safety
    ///
    /// The caller has a part.
    #[inline]
    pub(super) unsafe fn drop_part(this: NonNull<Self>) {
        // SAFETY: The part keeps the request.
        let record = unsafe { this.as_ref() };
        let (circuit, home) = (record.circuit.get(), record.home);
        if record.parts.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        // SAFETY: The request's reference, which goes with the last part.
        let circuit = unsafe { Ref::from_raw(circuit) };
        match home {
            Home::Circuit => (),
            // SAFETY: Made by `allocate` and given up when it was armed.
            Home::Pool => drop(unsafe { NonPaged::from_raw(this, TAG) }),
            Home::Shelf => {
                // SAFETY: As above.
                let record = unsafe { NonPaged::from_raw(this, TAG) };
                circuit.shelf().put(record);
            }
        }
    }
}

/// The end of a request.
unsafe extern "C" fn ended(_device: PDEVICE_OBJECT, irp: PIRP, context: PVOID) -> NTSTATUS {
    // SAFETY: The context of a packet that `Record::send` has sent.
    let this = unsafe { NonNull::new_unchecked(context.cast::<Record>()) };
    // SAFETY: The completion routine's part keeps the request.
    let record = unsafe { this.as_ref() };
    // SAFETY: The request's reference keeps the circuit.
    let circuit = unsafe { record.circuit.get().as_ref() };
    let driver = circuit.root().transport.driver.handle();
    circuit.unlist(record);
    // SAFETY: The packet is ours again, and was completed.
    let status = unsafe { request::status(irp) };
    // SAFETY: The client's context, or NULL.
    unsafe { Sent::end(record.context.get(), status) };
    // SAFETY: The completion routine's part.
    unsafe { Record::drop_part(this) };
    // SAFETY: Taken before the request was sent.
    unsafe { Driver::release(driver) };
    STATUS_MORE_PROCESSING_REQUIRED
}
