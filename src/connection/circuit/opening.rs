//! How a circuit begins: allocated with all that it will need, then opened and associated.

#[cfg(debug_assertions)]
use core::sync::atomic::AtomicUsize;
use core::{
    cell::{Cell, UnsafeCell},
    ptr::{self, NonNull},
    sync::atomic::AtomicBool,
};

use rxce_engine::{Error, ledger::Ledger, life::Life};

use super::{
    Circuit, Competing, Entrant,
    kept::{Kept, Stream},
};
use crate::{
    abi::{self, Client},
    connection::{
        address::Member,
        counters::OfCircuit,
        peer::Connection,
        registry::{self, Header, Ref, ids::OwnedId},
        request::{Handle, Holders, Request, RequestList},
    },
    nt::{
        event::Event, file::File, handle_thread::HANDLE_THREAD, irp::Irp, irql::Pageable,
        pool::PoolBox, spin_lock::SpinLock, target::Target,
    },
    tdi::{bindings::TDI_SERVICE_EXPEDITED_DATA, open, request as call, synchronous::Outcome},
};

/// What the opening of an endpoint needs, so that it does not fail for memory later.
pub(in crate::connection) struct Opening {
    associate: Irp,
    connect: PoolBox<Request>,
}

impl Circuit {
    /// Allocates everything that the circuit and its opening will need.
    pub(in crate::connection) fn new(
        public: Client<abi::Vc>,
        connection: &Connection,
        entrant: Option<Entrant>,
    ) -> Result<(PoolBox<Self>, Opening), Error> {
        let transport = connection.transport();
        let stack_size = transport.stack_size();
        let closing = transport.closing();
        let life = if entrant.is_some() {
            Life::competing(closing)
        } else {
            Life::new(closing)
        };
        let id = OwnedId::new()?;
        let competing = entrant.map(Competing::new).transpose()?;
        let mut circuit = PoolBox::with(|| Self {
            header: Header::new(registry::Kind::Circuit, public),
            connection: NonNull::from(connection),
            stripe: NonNull::from(transport.stripes().of(id.shard())),
            id,
            endpoint: File::none(),
            ledger: SpinLock::new(Ledger::new(life, RequestList::new())),
            counters: OfCircuit::new(),
            progress: Event::uninit(),
            member: Member::new(),
            kept: UnsafeCell::new(Kept::nothing()),
            disconnects: Cell::new(None),
            streams: [const { Stream::new() }; 2],
            competing,
            announced: AtomicBool::new(false),
            #[cfg(debug_assertions)]
            callback_thread: AtomicUsize::new(0),
        })?;
        // SAFETY: The circuit is in its place for good, and nobody else has it.
        unsafe { circuit.progress.init_auto_reset() };
        let block = circuit.as_ptr().cast();
        let expedited = transport.offers(TDI_SERVICE_EXPEDITED_DATA);
        circuit.kept.get_mut().fill(block, stack_size, expedited)?;
        let opening = Opening {
            associate: Irp::new(stack_size)?,
            connect: Request::allocate_connect(block, stack_size)?,
        };
        Ok((circuit, opening))
    }

    /// Opens and associates the endpoint; arms the connect request.
    ///
    /// # Errors
    ///
    /// The status of the step that failed; [`Error::InsufficientResources`] only where the endpoint's device stack is
    /// higher than the transport's was.
    pub(in crate::connection) fn open(
        circuit: &Ref<Self>,
        at: &Pageable,
        opening: Opening,
    ) -> Result<Handle, Error> {
        let Opening { associate, connect } = opening;
        let name = circuit.connection().transport().name();
        let call = call::associate_address(circuit.connection().address().handle());
        let outcome = Outcome::uninit();
        // The transport references the address's handle in its dispatch routine: both steps are for PASSIVE_LEVEL.
        let (associate, device) = HANDLE_THREAD.at_passive(at, || {
            open::endpoint(&circuit.endpoint, name.as_string(), circuit.id.raw())?;
            let target = circuit.target();
            let needed = target.device.stack_size();
            let associate = if needed > associate.stack_count() {
                Irp::new(needed)?
            } else {
                associate
            };
            // SAFETY: The endpoint is open, the packet fits its device, and both stay until the wait below is over.
            unsafe { outcome.send(&associate, &target, &call, ptr::null_mut()) }?;
            Ok((associate, target.device))
        })?;
        // SAFETY: The request was sent.
        let (status, _) = unsafe { outcome.wait(at) };
        drop(associate);
        if !wdk::nt_success(status) {
            return Err(Error::Transport(status));
        }
        let target = circuit.target_at(device);
        let connect = circuit.fit(connect, &target)?;
        let reference = circuit.again().ok_or(Error::InvalidParameter)?.erase();
        let holders = Holders::CompletionAndSubmitter;
        // SAFETY: The request is new, fits the target, and is given up to its parts here.
        Ok(unsafe { Handle::arm(connect.into_raw(), reference, &target, holders) })
    }

    /// Replaces requests whose packets are too small for the endpoint's device: a filter may sit above it.
    fn fit(&self, connect: PoolBox<Request>, target: &Target) -> Result<PoolBox<Request>, Error> {
        if connect.fits(target) {
            return Ok(connect);
        }
        drop(connect);
        let stack_size = target.device.stack_size();
        self.connection().transport().note_stack_size(stack_size);
        let expedited = self
            .connection()
            .transport()
            .offers(TDI_SERVICE_EXPEDITED_DATA);
        // SAFETY: The circuit is reserved, and nobody but its build can find it.
        let kept = unsafe { &mut *self.kept.get() };
        kept.fill(self.block(), stack_size, expedited)?;
        Request::allocate_connect(self.block(), stack_size)
    }
}

impl Competing {
    fn new(entrant: Entrant) -> Result<PoolBox<Self>, Error> {
        let competing = PoolBox::new(Self {
            entrant,
            clean_up: Event::uninit(),
        })?;
        // SAFETY: The event is in its place for good, and nobody else has it.
        unsafe { competing.clean_up.init_manual_reset() };
        Ok(competing)
    }
}
