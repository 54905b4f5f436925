//! What circuits stand on: connection, address and transport, each with its count of circuits under its own lock, the
//! registry, and the reference to the driver (rxce.md §3.5, §3.6).

use core::{
    cell::UnsafeCell,
    mem,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use bench_ioctl::Provider;
use client_nt::{pool::NonPaged, spin_lock::SpinLock, status::Result};
use rxce_client::{
    IP_ADDRESS_LEN, RXCE_CONNECTION, RXCE_VC, TDI_CONNECTION_INFORMATION, remote_information,
};
use wdk_sys::{
    _POOL_TYPE::NonPagedPoolNx,
    PEX_RUNDOWN_REF_CACHE_AWARE, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    ntddk::{
        ExAcquireRundownProtectionCacheAware, ExAllocateCacheAwareRundownProtection,
        ExFreeCacheAwareRundownProtection, ExReleaseRundownProtectionCacheAware,
        ExWaitForRundownProtectionReleaseCacheAware,
    },
};

use super::{
    circuit::Circuit,
    events,
    ids::Ids,
    list::List,
    pointers::Pointers,
    record::{Home, Record},
    registry::{Block, Header, Kind},
};
use crate::{
    client::{self, Inbox},
    floor::{self, TAG, file::File},
};

/// All of it. It does not move once it is in use.
pub(super) struct Root {
    pub(super) provider: Provider,
    /// It goes first: its handlers use the rest.
    pub(super) address: Address,
    pub(super) transport: Transport,
    pub(super) connection: Connection,
    pub(super) pointers: NonPaged<Pointers>,
    pub(super) ids: NonPaged<Ids>,
    pub(super) inbox: NonPaged<Inbox>,
    /// The client's structure of the connection, of which only the address counts.
    public: NonPaged<RXCE_CONNECTION>,
}

/// The remote peer.
#[repr(C)]
pub(super) struct Connection {
    header: Header,
    circuits: SpinLock<u32>,
    remote: UnsafeCell<[u8; IP_ADDRESS_LEN]>,
    /// Points to `remote`.
    information: UnsafeCell<TDI_CONNECTION_INFORMATION>,
}

// SAFETY: The header comes first, and only connections have this kind.
unsafe impl Block for Connection {
    const KIND: Kind = Kind::Connection;

    fn header(&self) -> &Header {
        &self.header
    }
}

/// The local address.
pub(super) struct Address {
    pub(super) file: File,
    circuits: SpinLock<Live>,
}

/// The circuits of an address.
struct Live {
    count: u32,
    list: List<Circuit>,
}

/// The provider.
pub(super) struct Transport {
    circuits: SpinLock<u32>,
    pub(super) driver: Driver,
    shelves: [Shelf; SHELVES],
}

/// As many as the engine has.
const SHELVES: usize = 8;

/// A place for one idle request, so that the next send needs no memory.
#[repr(C)]
pub(super) struct Shelf {
    record: AtomicPtr<Record>,
    /// A shelf has a cache line of its own.
    _rest_of_line: [u64; 7],
}

impl Shelf {
    const fn new() -> Self {
        Self {
            record: AtomicPtr::new(ptr::null_mut()),
            _rest_of_line: [0; 7],
        }
    }

    /// A request for stacks of this size: the one that lies here if it fits, or a new one.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    #[inline]
    pub(super) fn take(&self, stack_size: i8) -> Result<NonPaged<Record>> {
        let idle = NonNull::new(self.record.swap(ptr::null_mut(), Ordering::Acquire));
        // SAFETY: `put` gave it up, and nobody else takes it now.
        let idle = idle.map(|record| unsafe { NonPaged::from_raw(record, TAG) });
        match idle.filter(|record| stack_size <= record.packet().stack_size()) {
            Some(record) => {
                // SAFETY: Idle.
                unsafe { record.packet().reuse() };
                Ok(record)
            }
            None => Record::allocate(stack_size, Home::Shelf),
        }
    }

    /// Leaves an idle request here, unless there is one.
    #[inline]
    pub(super) fn put(&self, record: NonPaged<Record>) {
        let (empty, record) = (ptr::null_mut(), record.into_raw());
        let put = self.record.compare_exchange(
            empty,
            record.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if put.is_err() {
            // SAFETY: Given up above, and taken by nobody.
            drop(unsafe { NonPaged::from_raw(record, TAG) });
        }
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        if let Some(record) = NonNull::new(*self.record.get_mut()) {
            // SAFETY: `put` gave it up, and nobody takes it any more.
            drop(unsafe { NonPaged::from_raw(record, TAG) });
        }
    }
}

/// The reference that keeps the driver's code while a completion routine may run.
pub(super) struct Driver(PEX_RUNDOWN_REF_CACHE_AWARE);

impl Driver {
    fn new() -> Result<Self> {
        // SAFETY: A nonpaged pool type.
        let protection = unsafe { ExAllocateCacheAwareRundownProtection(NonPagedPoolNx, TAG) };
        if protection.is_null() {
            return Err(STATUS_INSUFFICIENT_RESOURCES);
        }
        Ok(Self(protection))
    }

    /// Takes a reference, before a request is sent: the run-down begins when all circuits are gone.
    #[inline]
    pub(super) fn acquire(&self) {
        // SAFETY: The protection exists as long as there are circuits.
        let _held = unsafe { ExAcquireRundownProtectionCacheAware(self.0) };
    }

    /// For [`Self::release`], where the circuit may be gone.
    #[inline]
    pub(super) const fn handle(&self) -> PEX_RUNDOWN_REF_CACHE_AWARE {
        self.0
    }

    /// # Safety
    ///
    /// A reference was taken to this protection and is given up here.
    #[inline]
    pub(super) unsafe fn release(handle: PEX_RUNDOWN_REF_CACHE_AWARE) {
        // SAFETY: Forwarded: the reference keeps the protection.
        unsafe { ExReleaseRundownProtectionCacheAware(handle) };
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: Allocated once; every request is over or ends meanwhile.
        unsafe { ExWaitForRundownProtectionReleaseCacheAware(self.0) };
        // SAFETY: As above: run down, and nobody acquires any more.
        unsafe { ExFreeCacheAwareRundownProtection(self.0) };
    }
}

impl Root {
    /// Opens an address and registers its handlers.
    ///
    /// # Errors
    ///
    /// The first failure; nothing is open then.
    pub(super) fn new(provider: Provider) -> Result<NonPaged<Self>> {
        let inbox = NonPaged::try_new(Inbox::new(), TAG)?;
        // SAFETY: In its place, in nonpaged pool.
        unsafe { inbox.initialise() };
        let public = NonPaged::try_new(RXCE_CONNECTION::default(), TAG)?;
        let key = public.as_non_null().addr().get();
        let root = Self {
            provider,
            address: Address {
                file: File::address(provider)?,
                circuits: SpinLock::new(Live {
                    count: 0,
                    list: List::new(),
                }),
            },
            transport: Transport {
                circuits: SpinLock::new(0),
                driver: Driver::new()?,
                shelves: [const { Shelf::new() }; SHELVES],
            },
            connection: Connection {
                header: Header::new(Kind::Connection, key),
                circuits: SpinLock::new(0),
                remote: UnsafeCell::new(client::peer(provider)),
                // SAFETY: Integers and pointers.
                information: UnsafeCell::new(unsafe { mem::zeroed() }),
            },
            pointers: Pointers::allocate()?,
            ids: Ids::allocate()?,
            inbox,
            public,
        };
        let root = NonPaged::try_new(root, TAG)?;
        let connection = &root.connection;
        // SAFETY: In its place for good, and nobody uses it yet.
        unsafe { connection.header.initialise() };
        // SAFETY: As above.
        let remote = unsafe { &mut *connection.remote.get() };
        // SAFETY: As above.
        unsafe { *connection.information.get() = remote_information(remote) };
        // SAFETY: It lives as long as the registry does.
        let reserved = unsafe { root.pointers.reserve(NonNull::from(connection)) };
        root.pointers
            .lift_reservation(&reserved.ok_or(STATUS_INVALID_PARAMETER)?);
        let context = root.as_non_null().as_ptr().expose_provenance();
        // SAFETY: The root outlives its address.
        unsafe {
            floor::register(
                &root.address.file,
                context,
                events::peer_disconnects,
                events::receive,
            )
        }?;
        Ok(root)
    }

    /// What the connection is found by.
    pub(super) const fn connection_key(&self) -> NonNull<RXCE_CONNECTION> {
        self.public.as_non_null()
    }

    /// The shelf of the circuits of a structure. Neighbours have different ones.
    #[inline]
    pub(super) fn shelf(&self, public: NonNull<RXCE_VC>) -> &Shelf {
        let [first, ..] = &self.transport.shelves;
        // A structure is as long as a cache line.
        const { assert!(size_of::<RXCE_VC>() == 64) };
        let number = public.addr().get() >> 6;
        self.transport
            .shelves
            .get(number % SHELVES)
            .unwrap_or(first)
    }

    /// Counts a circuit in (§5.10 step 2). The parents live, since their circuits are gone before them.
    pub(super) fn pin(&self) {
        count_in(&mut self.connection.circuits.lock());
        count_in(&mut self.address.circuits.lock().count);
        count_in(&mut self.transport.circuits.lock());
    }

    /// Links a circuit into the list of its address (§5.10 step 7).
    ///
    /// # Safety
    ///
    /// It is not linked, and lives until it is counted out.
    pub(super) unsafe fn link(&self, circuit: &Circuit) {
        // SAFETY: Forwarded.
        unsafe { self.address.circuits.lock().list.insert(circuit) };
    }

    /// Counts a circuit out, and unlinks it if it was linked (§5.13 step 10); the connection comes last, since it pins the
    /// others.
    ///
    /// # Safety
    ///
    /// A circuit was counted in, and none but this one, if there is one.
    pub(super) unsafe fn unpin(&self, circuit: Option<&Circuit>) {
        let mut live = self.address.circuits.lock();
        if let Some(circuit) = circuit {
            // SAFETY: Forwarded: in this list or never in one.
            unsafe { live.list.remove(circuit) };
        }
        count_out(&mut live.count);
        drop(live);
        count_out(&mut self.transport.circuits.lock());
        count_out(&mut self.connection.circuits.lock());
    }
}

impl Connection {
    /// What a connect asks for.
    pub(super) const fn information(&self) -> *mut TDI_CONNECTION_INFORMATION {
        self.information.get()
    }
}

const fn count_in(count: &mut u32) {
    *count = count.saturating_add(1);
}

const fn count_out(count: &mut u32) {
    *count = count.saturating_sub(1);
}
