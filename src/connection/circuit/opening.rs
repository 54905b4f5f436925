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
        request::{Handle, Parts, Purpose, Request, RequestList, Returned},
    },
    nt::{
        event::Event, file::File, handle_thread::HANDLE_THREAD, irp::Irp, irql::Pageable,
        pool::PoolBox, spin_lock::SpinLock, target::Target,
    },
    tdi::{
        bindings::TDI_SERVICE_EXPEDITED_DATA,
        open, request as call,
        synchronous::{self, Submit},
    },
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
        let mut circuit = PoolBox::new(Self {
            header: Header::new(registry::Kind::Circuit, public.address()),
            public,
            connection: NonNull::from(connection),
            id: OwnedId::new()?,
            endpoint: File::none(),
            ledger: SpinLock::new(Ledger::new(life, RequestList::new())),
            progress: Event::uninit(),
            member: Member::new(),
            kept: UnsafeCell::new(Kept::nothing()),
            disconnects: Cell::new(None),
            streams: [Stream::new(), Stream::new()],
            counters: OfCircuit::new(),
            competing: entrant.map(Competing::new).transpose()?,
            announced: AtomicBool::new(false),
            #[cfg(debug_assertions)]
            callback_thread: AtomicUsize::new(0),
        })?;
        // SAFETY: The circuit is in its place for good, and nobody else has it.
        unsafe { circuit.progress.init_auto_reset() };
        let block = circuit.as_ptr().cast();
        let expedited = transport.offers(TDI_SERVICE_EXPEDITED_DATA);
        *circuit.kept.get_mut() = Kept::new(block, stack_size, expedited)?;
        let opening = Opening {
            associate: Irp::new(stack_size)?,
            connect: new_connect(block, stack_size)?,
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
        let Opening {
            mut associate,
            connect,
        } = opening;
        let name = circuit.connection().transport().name();
        HANDLE_THREAD.at_passive(at, || {
            open::endpoint(&circuit.endpoint, name.as_string(), circuit.id.raw())
        })?;
        let target = circuit.target();
        let connect = circuit.fit(connect, &target)?;
        if target.device.stack_size() > associate.stack_count() {
            associate = Irp::new(target.device.stack_size())?;
        }
        let call = call::associate_address(circuit.connection().address().handle());
        let (none, submit) = (ptr::null_mut(), Submit::AtPassive);
        // SAFETY: The endpoint is open, and the packet fits its device.
        let (status, _) =
            unsafe { synchronous::perform_with(at, associate, &target, &call, none, submit) }?;
        if !wdk::nt_success(status) {
            return Err(Error::Transport(status));
        }
        let reference = circuit.again().ok_or(Error::InvalidParameter)?.erase();
        let parts = Parts::CompletionAndSubmitter;
        // SAFETY: The request is new, fits the target, and is given up to its parts here.
        Ok(unsafe { Handle::arm(connect.into_raw(), reference, &target, parts) })
    }

    /// Replaces requests whose packets are too small for the endpoint's device: a filter may sit above it.
    fn fit(&self, connect: PoolBox<Request>, target: &Target) -> Result<PoolBox<Request>, Error> {
        if connect.fits(target) {
            return Ok(connect);
        }
        drop(connect);
        let stack_size = target.device.stack_size();
        let expedited = self
            .connection()
            .transport()
            .offers(TDI_SERVICE_EXPEDITED_DATA);
        let kept = Kept::new(self.block(), stack_size, expedited)?;
        // SAFETY: The circuit is reserved, and nobody but its build can find it.
        unsafe { *self.kept.get() = kept };
        new_connect(self.block(), stack_size)
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

fn new_connect(circuit: NonNull<Header>, stack_size: i8) -> Result<PoolBox<Request>, Error> {
    Request::allocate(circuit, Purpose::Connect(Returned::new()?), stack_size)
}
