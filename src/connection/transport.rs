//! Transports: one bound TDI provider each (specification 5.1, 5.2).

use core::{
    cell::UnsafeCell,
    mem::offset_of,
    slice,
    sync::atomic::{AtomicI8, Ordering},
};

use rxce_engine::{Error, life::Closing, send::ZeroLength};
use wdk_sys::UNICODE_STRING;

use super::{
    counters::{Stripes, Totals},
    layer::{self, Layer},
    pins::{Child, Pins},
    registry::{Block, Found, Header, Kind, Ref, pointers},
};
use crate::{
    abi::{self, Client, Signed, extension::Counters, write_field},
    nt::{
        device,
        file::File,
        handle_thread::HANDLE_THREAD,
        irql::Pageable,
        mdl::Mdl,
        memory,
        pool::{Bytes, PoolBox, Pooled, Tag},
        spin_lock::SpinLock,
        target::Target,
    },
    tdi::{
        bindings::{
            TDI_PROVIDER_INFO, TDI_QUERY_PROVIDER_INFO, TDI_SERVICE_CONNECTION_MODE,
            TDI_SERVICE_NO_ZERO_LENGTH, TDI_SERVICE_ORDERLY_RELEASE,
        },
        open, request, synchronous,
    },
    trace,
};

/// The private block of an `RXCE_TRANSPORT`.
#[repr(C)]
pub(super) struct Transport {
    header: Header,
    /// `pProviderInfo` points here; written by the build only.
    info: UnsafeCell<TDI_PROVIDER_INFO>,
    name: Name,
    channel: File,
    /// Keeps the driver from being unloaded.
    keep: File,
    quality_of_service: u32,
    stack_size: AtomicI8,
    pins: SpinLock<Pins>,
    totals: Totals,
    stripes: Stripes,
}

// SAFETY: `info` is written before the block is usable and only read afterwards.
unsafe impl Sync for Transport {}

// SAFETY: The header comes first, and only transports have this kind.
unsafe impl Block for Transport {
    const KIND: Kind = Kind::Transport;

    fn header(&self) -> &Header {
        &self.header
    }
}

impl Pooled for Transport {
    const TAG: Tag = Tag::new(*b"RxTr");
}

impl Layer for Transport {
    type Public = abi::Transport;

    fn disconnect(&self, at: &Pageable) {
        HANDLE_THREAD.at_passive(at, || self.channel.close());
    }

    fn release(&self, at: &Pageable) {
        HANDLE_THREAD.at_passive(at, || {
            self.channel.dereference();
        });
    }

    fn retire(&self) {
        self.tell_ended();
        // SAFETY: The structure is registered, and its claimant clears it.
        unsafe { self.public().clear() };
    }
}

/// `RxCeBuildTransport`.
///
/// # Errors
///
/// The documented ones, and the statuses of the open and of the query.
pub(crate) fn build(
    at: &Pageable,
    public: Client<abi::Transport>,
    name: &[u16],
    quality_of_service: u32,
) -> Result<(), Error> {
    layer::require_free(public)?;
    // A stopped service has no thread that could do handle work for this caller.
    device::require_running().or_else(|error| {
        layer::clear_unbuilt(public)?;
        Err(error)
    })?;
    let transport = layer::reserve(public, Transport::new(public, name, quality_of_service))?;
    match transport.bind(at) {
        Ok(()) => {
            pointers::set_usable(&transport);
            trace::transport_built(public.address());
            Ok(())
        }
        Err(error) => {
            dismantle(at, transport);
            Err(error)
        }
    }
}

/// `RxCeTearDownTransport`.
///
/// # Errors
///
/// [`Error::InvalidParameter`] for another kind of structure, a damaged one, one in use, and for what cannot be a
/// transport at all. A transport that is not bound is a success (documented).
pub(crate) fn tear_down(at: &Pageable, public: Client<abi::Transport>) -> Result<(), Error> {
    if !memory::is_system_address(public.address()) {
        return Err(Error::InvalidParameter);
    }
    let transport: Ref<Transport> = match pointers::find(public.address()) {
        Found::Nothing => return Ok(()),
        Found::Other => return Err(Error::InvalidParameter),
        Found::Block(transport) => transport,
    };
    if !transport.is_intact() {
        return Err(Error::InvalidParameter);
    }
    transport.pins.with(Pins::claim)?;
    dismantle(at, transport);
    Ok(())
}

/// Takes a transport apart. The handle that keeps the driver from being unloaded goes last: the engine may end with it.
fn dismantle(at: &Pageable, transport: Ref<Transport>) {
    let keep = transport.keep.take();
    layer::dismantle(at, transport);
    HANDLE_THREAD.at_passive(at, || {
        keep.dereference();
        keep.close();
    });
}

/// Finds a bound transport that nobody has damaged.
///
/// # Errors
///
/// [`Error::InvalidParameter`].
pub(super) fn find(public: Client<abi::Transport>) -> Result<Ref<Transport>, Error> {
    let transport: Ref<Transport> = pointers::find(public.address()).required()?;
    if transport.is_intact() {
        Ok(transport)
    } else {
        Err(Error::InvalidParameter)
    }
}

impl Transport {
    /// Where it counts, for debuggers: alone, and with its circuits.
    pub(super) const FLOW: usize = offset_of!(Self, totals) + Totals::FLOW;
    pub(super) const STRIPES: usize = offset_of!(Self, stripes);
    /// Where its name is.
    pub(super) const NAME_TEXT: usize =
        offset_of!(Self, name) + offset_of!(Name, bytes) + Bytes::BLOCK;
    pub(super) const NAME_BYTES: usize = offset_of!(Self, name) + offset_of!(Name, length);

    fn new(
        public: Client<abi::Transport>,
        name: &[u16],
        quality_of_service: u32,
    ) -> Result<PoolBox<Self>, Error> {
        let name = Name::new(name)?;
        PoolBox::with(|| Self {
            header: Header::new(Kind::Transport, public),
            info: UnsafeCell::new(TDI_PROVIDER_INFO::default()),
            name,
            channel: File::none(),
            keep: File::none(),
            quality_of_service,
            stack_size: AtomicI8::new(0),
            pins: SpinLock::new(Pins::new()),
            totals: Totals::new(),
            stripes: Stripes::new(),
        })
    }

    /// Opens the control channel, asks the provider what it can do, and publishes the structure.
    fn bind(&self, at: &Pageable) -> Result<(), Error> {
        let name = self.name.string();
        HANDLE_THREAD.at_passive(at, || {
            device::keep_loaded(&self.keep)?;
            open::control_channel(&self.channel, name.as_string())
        })?;
        self.query_provider(at)?;
        let target = self.control_target();
        self.note_stack_size(target.device.stack_size());
        let value = abi::Transport {
            Signature: 0,
            Name: *name.as_string(),
            pDeviceObject: target.device.as_ptr(),
            ControlChannel: self.channel.handle(),
            pControlChannelFileObject: self.channel.object(),
            pProviderInfo: self.info.get(),
            ConnectionCount: 0,
            VirtualCircuitCount: 0,
            QualityOfService: self.quality_of_service,
        };
        // SAFETY: The structure is reserved by this build.
        unsafe { self.public().publish(value) };
        Ok(())
    }

    fn query_provider(&self, at: &Pageable) -> Result<(), Error> {
        const LENGTH: u32 = 0x28;
        const { assert!(size_of::<TDI_PROVIDER_INFO>() == LENGTH as usize) };
        // SAFETY: The block is nonpaged pool and outlives the request, which is waited for.
        let mdl = unsafe { Mdl::of_pool(self.info.get().cast(), LENGTH) }?;
        let target = self.control_target();
        let call = request::query_information(TDI_QUERY_PROVIDER_INFO);
        // SAFETY: The channel is open, and the MDL lives until the request is over.
        let (status, written) = unsafe { synchronous::perform(at, &target, &call, mdl.as_ptr()) }?;
        // A provider may know more than the structure holds.
        let accepted = wdk::nt_success(status)
            || (status == wdk_sys::STATUS_BUFFER_OVERFLOW && written >= LENGTH as usize);
        if accepted {
            Ok(())
        } else {
            Err(Error::Transport(status))
        }
    }

    /// Whether the client's structure still says what the build wrote.
    fn is_intact(&self) -> bool {
        // SAFETY: The structure is registered.
        let public = unsafe { self.public().snapshot() };
        public.Signature == abi::Transport::SIGNATURE
            && public.ControlChannel == self.channel.handle()
            && public.pControlChannelFileObject == self.channel.object()
            && public.pProviderInfo == self.info.get()
    }

    /// Whether the signature is intact: all that is asked of a parent.
    pub(super) fn is_signed(&self) -> bool {
        // SAFETY: The structure is registered as long as the block is pinned.
        unsafe { self.public().is_signed() }
    }

    /// The client's structure, for a child's field.
    pub(super) const fn public(&self) -> Client<abi::Transport> {
        self.header.structure()
    }

    /// Counts a child in; its mirror follows.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if the transport is being torn down.
    pub(super) fn pin(&self, child: Child) -> Result<(), Error> {
        self.pins.with(|pins| {
            pins.pin(child)?;
            self.mirror(pins);
            Ok(())
        })
    }

    /// Counts a child out: its last touch of the transport.
    pub(super) fn unpin(&self, child: Child) {
        self.pins.with(|pins| {
            pins.unpin(child);
            self.mirror(pins);
        });
    }

    fn mirror(&self, pins: &Pins) {
        // The structure is registered, and the counters change only under this lock.
        write_field!(self.public(), ConnectionCount, pins.connections());
        write_field!(self.public(), VirtualCircuitCount, pins.circuits());
    }

    /// What is counted for it, but for the flow of its circuits.
    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The flow of its circuits.
    pub(super) const fn stripes(&self) -> &Stripes {
        &self.stripes
    }

    /// What was counted: its own, and the flow of its circuits.
    pub(super) fn counted(&self) -> Counters {
        let mut report = self.totals.report();
        self.stripes.add_to(&mut report);
        report
    }

    fn tell_ended(&self) {
        let total = self.counted();
        trace::transport_ended(
            self.public().address(),
            total.Sends,
            total.BytesSent,
            total.SendFailures,
            total.Receives,
            total.BytesReceived,
            total.ReceivesRefused,
            total.Connects,
            total.ConnectFailures,
            total.LocalDisconnects,
            total.RemoteDisconnects,
            total.AddressErrors,
        );
    }

    /// The provider's device name.
    pub(super) fn name(&self) -> DeviceName {
        self.name.string()
    }

    /// What the provider said of itself, as bytes.
    pub(super) const fn provider_info(&self) -> &[u8] {
        // SAFETY: The build has written it, and nobody writes it again; the structure has no padding that matters.
        unsafe { slice::from_raw_parts(self.info.get().cast(), size_of::<TDI_PROVIDER_INFO>()) }
    }

    /// The public summary.
    pub(super) fn information(&self) -> abi::TransportInformation {
        // SAFETY: The build has written it, and nobody writes it again; it is plain data.
        let provider = unsafe { self.info.get().read() };
        let connections = self.pins.with(|pins| pins.connections());
        abi::TransportInformation {
            Provider: provider,
            ConnectionCount: connections.cast_unsigned(),
            QualityOfService: self.quality_of_service,
        }
    }

    /// The longest datagram the provider takes, if it says so.
    pub(super) fn longest_datagram(&self) -> Option<u32> {
        // SAFETY: The build has written it, and nobody writes it again.
        let longest = unsafe { (*self.info.get()).MaxDatagramSize };
        (longest != 0).then_some(longest)
    }

    /// Where queries of the provider go at this moment.
    pub(super) fn control_target(&self) -> Target {
        // SAFETY: The file object is referenced from the open until after the run-down.
        unsafe { self.channel.target() }
    }

    /// What the provider can do (`TDI_SERVICE_` flags).
    pub(super) fn services(&self) -> u32 {
        // SAFETY: The build has written it, and nobody writes it again.
        unsafe { (*self.info.get()).ServiceFlags }
    }

    /// Whether the provider offers a service.
    pub(super) fn offers(&self, service: u32) -> bool {
        self.services() & service != 0
    }

    /// Whether the provider has connections.
    pub(super) fn has_connections(&self) -> bool {
        self.offers(TDI_SERVICE_CONNECTION_MODE)
    }

    /// How the provider's circuits are closed.
    pub(super) fn closing(&self) -> Closing {
        if self.offers(TDI_SERVICE_ORDERLY_RELEASE) {
            Closing::Orderly
        } else {
            Closing::AbortOnly
        }
    }

    /// Whether the provider takes sends of no bytes.
    pub(super) fn zero_length(&self) -> ZeroLength {
        if self.offers(TDI_SERVICE_NO_ZERO_LENGTH) {
            ZeroLength::Refused
        } else {
            ZeroLength::Allowed
        }
    }

    /// How many stack locations requests to the provider need, as far as is known: what the control channel needed when it was
    /// opened, or an endpoint since then. An endpoint may need more.
    pub(super) fn stack_size(&self) -> i8 {
        self.stack_size.load(Ordering::Relaxed)
    }

    /// An endpoint needs that many.
    pub(super) fn note_stack_size(&self, stack_size: i8) {
        self.stack_size.fetch_max(stack_size, Ordering::Relaxed);
    }
}

/// Copies of device names.
const NAME_TAG: Tag = Tag::new(*b"RxNa");

/// A copy of the provider's name, with a NUL behind it.
struct Name {
    bytes: Bytes,
    length: u16,
}

impl Name {
    fn new(name: &[u16]) -> Result<Self, Error> {
        let length = u16::try_from(size_of_val(name)).map_err(|_| Error::InvalidParameter)?;
        let maximum = length.checked_add(NUL).ok_or(Error::InvalidParameter)?;
        let mut bytes = Bytes::new(maximum.into(), NAME_TAG)?;
        for (to, from) in bytes.chunks_exact_mut(size_of::<u16>()).zip(name) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        Ok(Self { bytes, length })
    }

    fn string(&self) -> DeviceName {
        DeviceName(UNICODE_STRING {
            Length: self.length,
            MaximumLength: self.length.saturating_add(NUL),
            Buffer: self.bytes.as_ptr().cast(),
        })
    }
}

/// The bytes of a terminating NUL.
const NUL: u16 = 2;

/// A device name whose buffer the transport keeps.
pub(super) struct DeviceName(UNICODE_STRING);

impl DeviceName {
    /// The string.
    pub(super) const fn as_string(&self) -> &UNICODE_STRING {
        &self.0
    }
}

// SAFETY: The buffer is only read.
unsafe impl Send for DeviceName {}
// SAFETY: As above.
unsafe impl Sync for DeviceName {}
