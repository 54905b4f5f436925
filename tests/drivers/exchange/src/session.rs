//! The engine's objects of a session: built, used, torn down.
//!
//! The engine checks every pointer and every state itself, so a request that comes too early or too late is simply passed
//! on: its answer is what a program wants to know. Only building and tearing down keep each other out.

use core::{cell::UnsafeCell, mem, ptr};

use client_nt::{
    event::Event,
    spin_lock::SpinLock,
    status::{Result, check},
    unicode,
};
use exchange_ioctl::{Closed, How, NOT_BUILT, Open, Protocol};
use rxce_client::{
    IP_ADDRESS_LEN, RXCE_ADDRESS, RXCE_CONNECTION, RXCE_SEND_SYNCHRONOUS, RXCE_TRANSPORT, RXCE_VC,
    RxCeBuildAddress, RxCeBuildConnection, RxCeBuildTransport, RxCeInitiateVCDisconnect, RxCeSend,
    RxCeSendDatagram, RxCeTearDownAddress, RxCeTearDownConnection, RxCeTearDownTransport,
    RxCeTearDownVC, ip_address, remote_information,
};
use wdk_sys::{NTSTATUS, PVOID, STATUS_CONNECTION_INVALID, STATUS_SUCCESS};

use crate::{callback, record::Record, send::Send};

/// A session. It lies in nonpaged pool; its record is the context of all callbacks.
pub(crate) struct Session {
    /// The engine's structures. Only the engine looks into them.
    transport: UnsafeCell<RXCE_TRANSPORT>,
    address: UnsafeCell<RXCE_ADDRESS>,
    connection: UnsafeCell<RXCE_CONNECTION>,
    vc: UnsafeCell<RXCE_VC>,
    pub(crate) record: Record,
    /// What was opened last, and how far the building went.
    target: SpinLock<Option<Target>>,
    /// Signalled while nobody builds or tears down.
    turn: Event,
}

// SAFETY: The structures are used through the engine, which synchronises itself; the rest is `Sync`.
unsafe impl Sync for Session {}

#[derive(Clone, Copy)]
struct Target {
    protocol: Protocol,
    remote: [u8; IP_ADDRESS_LEN],
    built: Built,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Built {
    Nothing,
    Transport,
    Address,
    Circuit,
}

impl Session {
    /// A session with nothing built. [`Self::initialise`] must follow once it lies at its place.
    pub(crate) const fn new() -> Self {
        // SAFETY: Plain C structures; the engine fills them, and all zero means "not built".
        let transport = unsafe { mem::zeroed() };
        // SAFETY: As above.
        let address = unsafe { mem::zeroed() };
        // SAFETY: As above.
        let connection = unsafe { mem::zeroed() };
        // SAFETY: As above.
        let vc = unsafe { mem::zeroed() };
        Self {
            transport: UnsafeCell::new(transport),
            address: UnsafeCell::new(address),
            connection: UnsafeCell::new(connection),
            vc: UnsafeCell::new(vc),
            record: Record::new(),
            target: SpinLock::new(None),
            turn: Event::uninitialised(),
        }
    }

    /// Makes the events usable.
    ///
    /// # Safety
    ///
    /// The session lies in nonpaged memory, is not moved any more, and nobody uses it yet.
    pub(crate) unsafe fn initialise(&self) {
        // SAFETY: Forwarded from this function's `# Safety` section.
        unsafe { self.record.initialise() };
        // SAFETY: As above.
        unsafe { self.turn.initialise(true) };
    }

    fn context(&self) -> PVOID {
        (&raw const self.record).cast_mut().cast()
    }

    /// Builds everything; the engine's first failure ends it.
    ///
    /// # Errors
    ///
    /// No memory, or opened before.
    pub(crate) fn open(&self, open: &Open) -> Result<NTSTATUS> {
        self.record.begin(open.room, open.answer)?;
        self.turn.wait();
        let target = Target {
            protocol: open.protocol,
            remote: ip_address(open.ip, open.port),
            built: Built::Nothing,
        };
        *self.target.lock() = Some(target);
        let built = self.build(&target);
        self.turn.set();
        Ok(built.err().unwrap_or(STATUS_SUCCESS))
    }

    fn reached(&self, built: Built) {
        if let Some(target) = &mut *self.target.lock() {
            target.built = built;
        }
    }

    fn build(&self, target: &Target) -> Result {
        let mut name = match target.protocol {
            Protocol::Tcp => unicode!("\\Device\\Tcp"),
            Protocol::Udp => unicode!("\\Device\\Udp"),
        };
        // SAFETY: Nonpaged and live until the tear-down; the name is copied.
        check(unsafe { RxCeBuildTransport(self.transport.get(), &raw mut name, 0) })?;
        self.reached(Built::Transport);

        let mut wild_card = ip_address([0; 4], 0);
        let mut handlers = callback::address_handlers();
        // SAFETY: As above; address and table are copied; the record outlives the address.
        check(unsafe {
            RxCeBuildAddress(
                self.address.get(),
                self.transport.get(),
                wild_card.as_mut_ptr().cast(),
                &raw mut handlers,
                self.context(),
            )
        })?;
        self.reached(Built::Address);
        if target.protocol == Protocol::Udp {
            return Ok(());
        }

        let mut remote = target.remote;
        let mut information = remote_information(&mut remote);
        let mut handlers = callback::connection_handlers();
        // SAFETY: As above; information and table are copied; the record outlives the connection.
        check(unsafe {
            RxCeBuildConnection(
                self.address.get(),
                &raw mut information,
                &raw mut handlers,
                self.context(),
                self.connection.get(),
                self.vc.get(),
            )
        })?;
        self.reached(Built::Circuit);
        Ok(())
    }

    /// Sends bytes, or a datagram; the engine's answer.
    ///
    /// # Errors
    ///
    /// No memory, or never opened.
    pub(crate) fn send(&self, how: How, bytes: &[u8]) -> Result<NTSTATUS> {
        let target = (*self.target.lock()).ok_or(STATUS_CONNECTION_INVALID)?;
        let send = Send::try_new(bytes)?;
        let (mdl, len) = (send.mdl(), send.len());
        if target.protocol == Protocol::Tcp && how == How::Synchronous {
            // SAFETY: MDL and bytes live until the call is over, which is when the send is.
            return Ok(unsafe {
                RxCeSend(
                    self.vc.get(),
                    RXCE_SEND_SYNCHRONOUS,
                    mdl,
                    len,
                    ptr::null_mut(),
                )
            });
        }
        let context = send.into_raw().as_ptr().cast();
        let status = match target.protocol {
            // SAFETY: The callback takes the memory back.
            Protocol::Tcp => unsafe { RxCeSend(self.vc.get(), 0, mdl, len, context) },
            Protocol::Udp => {
                let mut remote = target.remote;
                let mut information = remote_information(&mut remote);
                // SAFETY: As above; the information is copied.
                unsafe {
                    RxCeSendDatagram(
                        self.address.get(),
                        &raw mut information,
                        0,
                        mdl,
                        len,
                        context,
                    )
                }
            }
        };
        if check(status).is_err() {
            // SAFETY: Refused: there is no callback.
            drop(unsafe { Send::from_context(context) });
        }
        Ok(status)
    }

    /// Begins to disconnect; the engine's answer.
    pub(crate) fn disconnect(&self) -> NTSTATUS {
        // SAFETY: The engine checks the pointer; this is a system worker thread.
        unsafe { RxCeInitiateVCDisconnect(self.vc.get()) }
    }

    /// Tears down what was built, in the reverse order.
    ///
    /// # Errors
    ///
    /// The engine refused to take a parent down: it still knows this session.
    pub(crate) fn close(&self) -> Result<Closed> {
        self.turn.wait();
        let built = (*self.target.lock()).map_or(Built::Nothing, |target| target.built);
        let closed = self.tear_down(built);
        self.turn.set();
        closed
    }

    fn tear_down(&self, built: Built) -> Result<Closed> {
        let mut closed = Closed {
            circuit: NOT_BUILT,
            connection: NOT_BUILT,
            address: NOT_BUILT,
            transport: NOT_BUILT,
        };
        if built >= Built::Circuit {
            // SAFETY: Built, and this is no callback. It is unbuilt afterwards, whatever the status.
            closed.circuit = unsafe { RxCeTearDownVC(self.vc.get()) };
            // SAFETY: Built; it has no circuit any more.
            closed.connection = unsafe { RxCeTearDownConnection(self.connection.get()) };
            check(closed.connection)?;
            self.reached(Built::Address);
        }
        if built >= Built::Address {
            // SAFETY: Built; it has no connection any more.
            closed.address = unsafe { RxCeTearDownAddress(self.address.get()) };
            check(closed.address)?;
            self.reached(Built::Transport);
        }
        if built >= Built::Transport {
            // SAFETY: Built; it has no address any more.
            closed.transport = unsafe { RxCeTearDownTransport(self.transport.get()) };
            check(closed.transport)?;
            self.reached(Built::Nothing);
        }
        Ok(closed)
    }
}
