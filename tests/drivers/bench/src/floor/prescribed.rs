//! A send by hand with every call of the kernel that the engine's contract prescribes for one, and nothing more: what the
//! contract costs, whoever keeps it.
//!
//! The contract is rxce.md §3.6 and R6: the level is looked at; the circuit is found by the address of the client's structure
//! under the lock of a shard, which takes a reference; the device is the one that the file object leads to now; the packet is
//! one that was used before; the request is listed and unlisted under the circuit's lock, so that a tear-down can cancel it;
//! and a reference to the driver lasts from before the hand-over to the end of the completion routine. What the engine checks
//! and counts without the kernel is left out.

use alloc::vec::Vec;
use core::{
    array,
    cell::Cell,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use client_nt::{pool::NonPaged, spin_lock::SpinLock, status::Result};
use wdk_sys::{
    _POOL_TYPE::NonPagedPoolNx,
    DISPATCH_LEVEL, IRP, NTSTATUS, PDEVICE_OBJECT, PEX_RUNDOWN_REF_CACHE_AWARE, PIRP, PMDL, PVOID,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_STATE, STATUS_INVALID_PARAMETER,
    STATUS_MORE_PROCESSING_REQUIRED, STATUS_SUCCESS,
    ntddk::{
        ExAcquireRundownProtectionCacheAware, ExAllocateCacheAwareRundownProtection,
        ExFreeCacheAwareRundownProtection, ExReleaseRundownProtectionCacheAware,
        ExWaitForRundownProtectionReleaseCacheAware, IoAllocateIrp, IoFreeIrp,
        IoGetRelatedDeviceObject, IoReuseIrp, KeGetCurrentIrql,
    },
};

use super::{Floor, TAG, circuit::Circuit, request};
use crate::client::{Sender, Sent};

/// As many as the engine has (`rxce_engine::spread`), and as many chains in each as the engine begins with: some hundred
/// circuits have one each.
const SHARDS: usize = 16;
const CHAINS: usize = 16;

/// Sends on the circuits of a [`Floor`], which stay as they are.
pub(crate) struct Prescribed<'a> {
    shards: NonPaged<Shards>,
    /// The engine's reference to its driver.
    driver: PEX_RUNDOWN_REF_CACHE_AWARE,
    circuits: Vec<NonPaged<Guarded<'a>>>,
}

struct Shards([Shard; SHARDS]);

/// The first circuits of each chain.
#[repr(C)]
struct Shard {
    chains: SpinLock<[*const Guarded<'static>; CHAINS]>,
    /// A shard has cache lines of its own.
    _rest_of_lines: [u64; 7],
}

/// A circuit with what the contract asks for.
struct Guarded<'a> {
    circuit: &'a Circuit,
    driver: PEX_RUNDOWN_REF_CACHE_AWARE,
    /// The next one in its chain, which is made once.
    next: *const Guarded<'static>,
    /// The requests under way.
    listed: SpinLock<*mut Sending>,
    /// A request for the next send.
    kept: AtomicPtr<Sending>,
}

/// A request.
struct Sending {
    next: Cell<*mut Sending>,
    previous: Cell<*mut Sending>,
    irp: NonNull<IRP>,
    circuit: *const Guarded<'static>,
    context: PVOID,
    /// One for the sender until the transport has returned, and one for the completion routine.
    parts: AtomicU32,
}

impl<'a> Prescribed<'a> {
    /// Lists the circuits of a floor.
    ///
    /// # Errors
    ///
    /// No memory.
    pub(crate) fn new(floor: &'a Floor) -> Result<Self> {
        let shards = Shards(array::from_fn(|_| Shard {
            chains: SpinLock::new([ptr::null(); CHAINS]),
            _rest_of_lines: [0; 7],
        }));
        let shards = NonPaged::try_new(shards, TAG)?;
        // SAFETY: A nonpaged pool type.
        let driver = unsafe { ExAllocateCacheAwareRundownProtection(NonPagedPoolNx, TAG) };
        if driver.is_null() {
            return Err(STATUS_INSUFFICIENT_RESOURCES);
        }
        let mut all = Self {
            shards,
            driver,
            circuits: Vec::new(),
        };
        let room = all.circuits.try_reserve(floor.circuits.len());
        room.map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
        for circuit in &floor.circuits {
            let circuit = Guarded {
                circuit,
                driver,
                next: ptr::null(),
                listed: SpinLock::new(ptr::null_mut()),
                kept: AtomicPtr::new(ptr::null_mut()),
            };
            let circuit = NonPaged::try_new(circuit, TAG)?;
            let place = circuit.as_non_null().cast::<Guarded<'static>>().as_ptr();
            let (shard, chain) = all.place(place.addr());
            let mut chains = shard.chains.lock();
            if let Some(first) = chains.get_mut(chain) {
                // SAFETY: Nobody else knows it yet.
                unsafe { (*place).next = *first };
                *first = place;
            }
            drop(chains);
            all.circuits.push(circuit);
        }
        Ok(all)
    }

    fn place(&self, key: usize) -> (&Shard, usize) {
        // The upper half of the product depends on all bits.
        let hash = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let Shards([first, ..]) = &*self.shards;
        let shard = self.shards.0.get(hash % SHARDS).unwrap_or(first);
        (shard, (hash / SHARDS) % CHAINS)
    }

    /// Finds a circuit and takes a reference to it.
    fn find(&self, key: usize) -> Option<&Guarded<'static>> {
        let (shard, chain) = self.place(key);
        let chains = shard.chains.lock();
        let mut at = chains.get(chain).copied().unwrap_or(ptr::null());
        // SAFETY: What is listed lives as long as `self`.
        while let Some(circuit) = unsafe { at.as_ref() } {
            if at.addr() == key {
                return circuit.circuit.acquire().then_some(circuit);
            }
            at = circuit.next;
        }
        None
    }
}

impl Drop for Prescribed<'_> {
    fn drop(&mut self) {
        // SAFETY: Allocated once; every send is over or ends meanwhile.
        unsafe { ExWaitForRundownProtectionReleaseCacheAware(self.driver) };
        // SAFETY: As above: run down, and nobody acquires any more.
        unsafe { ExFreeCacheAwareRundownProtection(self.driver) };
    }
}

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        Sending::free(*self.kept.get_mut());
    }
}

impl Sender for Prescribed<'_> {
    unsafe fn send(&self, index: u32, mdl: PMDL, length: u32, context: PVOID) -> Result {
        // SAFETY: It only reads the processor's state.
        if u32::from(unsafe { KeGetCurrentIrql() }) > DISPATCH_LEVEL {
            return Err(STATUS_INVALID_PARAMETER);
        }
        let client = self.circuits.get(index as usize);
        let key = client.ok_or(STATUS_INVALID_PARAMETER)?.as_non_null();
        let found = self.find(key.addr().get());
        let circuit = found.ok_or(STATUS_INVALID_DEVICE_STATE)?;
        // SAFETY: Forwarded; `find` has taken the reference.
        let sent = unsafe { circuit.send(mdl, length, context) };
        if sent.is_err() {
            // SAFETY: Taken by `find`, and no request has it.
            unsafe { circuit.circuit.release() };
        }
        sent
    }
}

impl Guarded<'static> {
    /// # Safety
    ///
    /// As [`Sender::send`]; the caller has a reference, which a success takes.
    unsafe fn send(&self, mdl: PMDL, length: u32, context: PVOID) -> Result {
        // SAFETY: Forwarded: the reference keeps the endpoint.
        let endpoint = unsafe { self.circuit.endpoint() };
        let endpoint = endpoint.ok_or(STATUS_INVALID_DEVICE_STATE)?;
        // SAFETY: The endpoint is open.
        let device = unsafe { IoGetRelatedDeviceObject(endpoint.object()) };
        let sending = self.request(device)?;
        // SAFETY: Made by `request`, and known to nobody else until it is listed.
        let request = unsafe { &mut *sending.as_ptr() };
        request.circuit = self;
        request.context = context;
        request.parts = AtomicU32::new(2);
        let irp = request.irp;
        if !self.list(sending) {
            Sending::free(sending.as_ptr());
            return Err(STATUS_INVALID_DEVICE_STATE);
        }
        let parameters = [length as usize, 0, 0, 0];
        // SAFETY: The packet is ours and fits the device.
        unsafe {
            request::prepare(
                irp,
                endpoint,
                (request::SEND, parameters),
                mdl,
                (ended, sending.as_ptr().cast()),
            );
        }
        // SAFETY: The protection exists as long as there are circuits.
        let _held = unsafe { ExAcquireRundownProtectionCacheAware(self.driver) };
        // SAFETY: Prepared above.
        unsafe { request::call(device, irp) };
        // SAFETY: The sender's part.
        unsafe { Sending::drop_part(sending.as_ptr()) };
        Ok(())
    }

    /// The request that is kept, or a new one.
    fn request(&self, device: PDEVICE_OBJECT) -> Result<NonNull<Sending>> {
        let kept = self.kept.swap(ptr::null_mut(), Ordering::Acquire);
        if let Some(kept) = NonNull::new(kept) {
            // SAFETY: Kept, so nobody has it.
            let request = unsafe { kept.as_ref() };
            // SAFETY: As above: its packet is idle.
            unsafe { IoReuseIrp(request.irp.as_ptr(), STATUS_SUCCESS) };
            return Ok(kept);
        }
        // SAFETY: An open file keeps its device.
        let stack_size = unsafe { (*device).StackSize };
        // SAFETY: IoAllocateIrp has no requirements beyond the level.
        let irp = unsafe { IoAllocateIrp(stack_size, 0) };
        let irp = NonNull::new(irp).ok_or(STATUS_INSUFFICIENT_RESOURCES)?;
        let sending = Sending {
            next: Cell::new(ptr::null_mut()),
            previous: Cell::new(ptr::null_mut()),
            irp,
            circuit: self,
            context: ptr::null_mut(),
            parts: AtomicU32::new(0),
        };
        NonPaged::try_new(sending, TAG)
            .map(NonPaged::into_raw)
            // SAFETY: Allocated above.
            .inspect_err(|_| unsafe { IoFreeIrp(irp.as_ptr()) })
    }

    /// Lists a request if the circuit is connected.
    fn list(&self, sending: NonNull<Sending>) -> bool {
        let mut first = self.listed.lock();
        if !self.circuit.is_connected() {
            return false;
        }
        // SAFETY: Listed requests live, and their links belong to this lock.
        if let Some(after) = unsafe { first.as_ref() } {
            after.previous.set(sending.as_ptr());
        }
        // SAFETY: The caller's.
        let request = unsafe { sending.as_ref() };
        request.previous.set(ptr::null_mut());
        request.next.set(*first);
        *first = sending.as_ptr();
        true
    }

    /// The request is listed.
    fn unlist(&self, sending: &Sending) {
        let mut first = self.listed.lock();
        let (previous, next) = (sending.previous.get(), sending.next.get());
        // SAFETY: Listed requests live, and their links belong to this lock.
        match unsafe { previous.as_ref() } {
            Some(previous) => previous.next.set(next),
            None => *first = next,
        }
        // SAFETY: As above.
        if let Some(next) = unsafe { next.as_ref() } {
            next.previous.set(previous);
        }
    }
}

impl Sending {
    /// Frees a request, if it is one.
    fn free(sending: *mut Self) {
        if let Some(sending) = NonNull::new(sending) {
            // SAFETY: The caller's.
            let irp = unsafe { sending.as_ref() }.irp;
            // SAFETY: As above: the packet is idle.
            unsafe { IoFreeIrp(irp.as_ptr()) };
            // SAFETY: Made by `Guarded::request`, with this tag.
            drop(unsafe { NonPaged::from_raw(sending, TAG) });
        }
    }

    /// Gives a part back; the last one keeps the request for the next send, and releases the circuit.
    ///
    /// # Safety
    ///
    /// The caller has a part.
    unsafe fn drop_part(sending: *mut Self) {
        // SAFETY: Forwarded: the part keeps the request.
        let request = unsafe { &*sending };
        // SAFETY: The request's reference keeps the circuit.
        let circuit = unsafe { &*request.circuit };
        if request.parts.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let (empty, release) = (ptr::null_mut(), Ordering::Release);
        let kept = &circuit.kept;
        if kept
            .compare_exchange(empty, sending, release, Ordering::Relaxed)
            .is_err()
        {
            Self::free(sending);
        }
        // SAFETY: The request's reference.
        unsafe { circuit.circuit.release() };
    }
}

/// The end of a send.
unsafe extern "C" fn ended(_device: PDEVICE_OBJECT, irp: PIRP, context: PVOID) -> NTSTATUS {
    let sending: *mut Sending = context.cast();
    // SAFETY: The completion routine's part keeps the request.
    let request = unsafe { &*sending };
    // SAFETY: The request's reference keeps the circuit.
    let circuit = unsafe { &*request.circuit };
    let driver = circuit.driver;
    circuit.unlist(request);
    // SAFETY: The packet is ours again, and was completed.
    let status = unsafe { request::status(irp) };
    // SAFETY: The client's context.
    unsafe { Sent::end(request.context, status) };
    // SAFETY: The completion routine's part.
    unsafe { Sending::drop_part(sending) };
    // SAFETY: Taken before the request was sent.
    unsafe { ExReleaseRundownProtectionCacheAware(driver) };
    STATUS_MORE_PROCESSING_REQUIRED
}
