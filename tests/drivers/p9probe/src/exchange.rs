//! One circuit: built, used for one request at a time, taken down.

use core::ptr::{self, NonNull};

use client_nt::{
    mdl::Mdl,
    pool::{Bytes, NonPaged},
    unicode,
};
use p9::{Assembler, Header, Kind, NOTAG, Reply, Request};
use p9probe_ioctl::{Counters, Disconnected};
use rxce_client::{
    RXCE_SEND_PARTIAL, RXCE_SEND_SYNCHRONOUS, RxCeBuildAddress, RxCeBuildConnection,
    RxCeBuildTransport, RxCeInitiateVCDisconnect, RxCeSend, RxCeTearDownAddress,
    RxCeTearDownConnection, RxCeTearDownTransport, RxCeTearDownVC, ip_address, remote_information,
};
use wdk_sys::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_NETWORK_RESPONSE,
    STATUS_INVALID_PARAMETER, STATUS_SUCCESS, ULONG,
};

use crate::{
    callback,
    counters::{self, COUNTERS},
    link::{Destination, Expected, Link},
    status::{Result, check, from_errno},
};

/// Longest request: an attach with two names of `MAX_NAME` bytes.
const SEND_LEN: usize = 4096;
/// Longest reply but for file data.
pub(crate) const REPLY_LEN: usize = 8192;
/// `P9pL`: a link with the structures of the engine.
const TAG_LINK: ULONG = ULONG::from_le_bytes(*b"P9pL");
/// `P9pB`: message buffers.
pub(crate) const TAG_BYTES: ULONG = ULONG::from_le_bytes(*b"P9pB");

/// How a request is sent.
#[derive(Clone, Copy)]
pub(crate) enum Send {
    /// The send routine waits.
    Synchronous,
    /// The send-complete callback tells.
    Asynchronous,
}

/// A circuit with its parents and buffers.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, in a system worker thread: so the engine's build and disconnect routines ask.
pub(crate) struct Circuit {
    send_mdl: Mdl,
    send: Bytes,
    /// With the link while a reply is due.
    reply: Option<Bytes>,
    link: NonPaged<Link>,
    tag: u16,
    built: Built,
    /// What `RxCeTearDownVC` said.
    tear_down: NTSTATUS,
}

/// How far the building went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Built {
    Nothing,
    Transport,
    Address,
    Connection,
    Circuit,
}

/// The parts of a reply: bytes in the reply buffer, bytes of file data.
struct Lengths {
    reply: usize,
    data: usize,
}

impl Circuit {
    /// Takes the memory; connects nothing yet.
    pub(crate) fn new() -> Result<Self> {
        let link = NonPaged::try_new(Link::new(), TAG_LINK)?;
        // SAFETY: At its final place in nonpaged pool, and known to nobody.
        unsafe { link.initialise() };
        let mut send = Bytes::try_new(SEND_LEN, TAG_BYTES)?;
        // SAFETY: `send` is nonpaged pool and is dropped after the MDL (order of the fields).
        let send_mdl = unsafe { Mdl::over(send.as_mut_ptr(), SEND_LEN) }?;
        let reply = Some(Bytes::try_new(REPLY_LEN, TAG_BYTES)?);
        Ok(Self {
            send_mdl,
            send,
            reply,
            link,
            tag: 0,
            built: Built::Nothing,
            tear_down: STATUS_SUCCESS,
        })
    }

    /// The link, for [`crate::driver::Device::publish`]. Good until [`Self::disconnect`].
    pub(crate) const fn link(&self) -> NonNull<Link> {
        self.link.as_non_null()
    }

    /// Builds transport, address, and connection with its first circuit.
    ///
    /// # Errors
    ///
    /// The engine's status. [`Self::disconnect`] takes down what was built.
    pub(crate) fn connect(&mut self, ip: [u8; 4], port: u16) -> Result {
        let context = self.link.as_non_null().as_ptr().cast();
        let mut name = unicode!("\\Device\\Tcp");
        // SAFETY: Nonpaged and live until the tear-down; the name is copied.
        check(unsafe { RxCeBuildTransport(self.link.transport.get(), &raw mut name, 0) })?;
        self.built = Built::Transport;

        let mut wild_card = ip_address([0; 4], 0);
        let mut handlers = callback::address_handlers();
        // SAFETY: As above; address and table are copied; the link outlives the address.
        check(unsafe {
            RxCeBuildAddress(
                self.link.address.get(),
                self.link.transport.get(),
                wild_card.as_mut_ptr().cast(),
                &raw mut handlers,
                context,
            )
        })?;
        self.built = Built::Address;

        let mut remote = ip_address(ip, port);
        let mut information = remote_information(&mut remote);
        let mut handlers = callback::connection_handlers();
        // SAFETY: As above; information and table are copied; the link outlives the connection.
        check(unsafe {
            RxCeBuildConnection(
                self.link.address.get(),
                &raw mut information,
                &raw mut handlers,
                context,
                self.link.connection.get(),
                self.link.vc.get(),
            )
        })?;
        self.built = Built::Circuit;
        COUNTERS.circuits.one();
        Ok(())
    }

    /// Sends a request and returns the reply.
    ///
    /// # Errors
    ///
    /// Why the circuit failed, or what the server's error number stands for.
    pub(crate) fn ask(&mut self, request: &Request<'_>) -> Result<Reply<'_>> {
        let lengths = self.exchange(request, Send::Synchronous, None)?;
        self.reply(lengths.reply)
    }

    /// Sends a read and returns the number of bytes in the destination.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`].
    ///
    /// # Safety
    ///
    /// `start` points to `len` bytes of nonpaged pool (`len > 0`) which nobody else uses during the call.
    pub(crate) unsafe fn read(
        &mut self,
        fid: u32,
        offset: u64,
        start: *mut u8,
        len: u32,
    ) -> Result<usize> {
        let room = usize::try_from(len).map_err(|_| STATUS_INVALID_PARAMETER)?;
        // SAFETY: Forwarded from this function's `# Safety` section; `exchange` drops it before it returns.
        let destination = unsafe { Destination::new(start, room) }?;
        let request = Request::Read {
            fid,
            offset,
            count: len,
        };
        let lengths = self.exchange(&request, Send::Asynchronous, Some((destination, room)))?;
        let reply = self.reply.as_deref().unwrap_or_default();
        match Header::decode(reply) {
            Ok(Header {
                kind: Kind::Rread, ..
            }) => Ok(lengths.data),
            _ => self
                .reply(lengths.reply)
                .and(Err(STATUS_INVALID_NETWORK_RESPONSE)),
        }
    }

    /// What the engine counted, of a circuit that was built.
    ///
    /// # Errors
    ///
    /// The engine's status.
    pub(crate) fn counters(&self) -> Result<Counters> {
        Ok(Counters {
            transport: counters::of_engine(self.link.transport.get().cast())?,
            address: counters::of_engine(self.link.address.get().cast())?,
            connection: counters::of_engine(self.link.connection.get().cast())?,
            circuit: counters::of_engine(self.link.vc.get().cast())?,
        })
    }

    /// Whether requests can still be made.
    pub(crate) fn failure(&self) -> Option<NTSTATUS> {
        self.link.failure()
    }

    /// The reply as a message; a broken one makes the circuit useless.
    fn reply(&self, len: usize) -> Result<Reply<'_>> {
        let message = self
            .reply
            .as_deref()
            .and_then(|reply| reply.get(..len))
            .unwrap_or_default();
        match Reply::decode(message) {
            Ok((_, Reply::Lerror { errno })) => Err(from_errno(errno)),
            Ok((_, reply)) => Ok(reply),
            Err(_) => Err(self.broken()),
        }
    }

    /// Notes that the server broke the protocol.
    pub(crate) fn broken(&self) -> NTSTATUS {
        COUNTERS.protocol_errors.one();
        self.link.fail(STATUS_INVALID_NETWORK_RESPONSE);
        STATUS_INVALID_NETWORK_RESPONSE
    }

    fn exchange(
        &mut self,
        request: &Request<'_>,
        how: Send,
        destination: Option<(Destination, usize)>,
    ) -> Result<Lengths> {
        self.tag = match request {
            Request::Version { .. } => NOTAG,
            _ => self.tag.wrapping_add(1) & 0x7fff,
        };
        let len = request
            .encode(self.tag, &mut self.send)
            .map_err(|_| STATUS_INVALID_PARAMETER)?
            .len();
        let reply = match self.reply.take() {
            Some(reply) => reply,
            None => Bytes::try_new(REPLY_LEN, TAG_BYTES)?,
        };
        let (destination, wanted) = match destination {
            Some((destination, wanted)) => (Some(destination), wanted),
            None => (None, 0),
        };
        let assembler = Assembler::new(self.tag, request.reply_kind(), wanted);
        let expected = Expected {
            assembler,
            reply,
            destination,
        };
        let result = self
            .link
            .expect(expected)
            .and_then(|()| self.send(len, how))
            .and_then(|()| self.link.wait());
        if let Err(failure) = result {
            self.link.fail(failure);
        }
        let expected = match self.link.take() {
            Some(expected) => Some(expected),
            None => {
                // The engine still uses a buffer of ours. A torn-down circuit uses nothing.
                self.tear_down_circuit();
                self.link.take_after_tear_down()
            }
        };
        let Expected {
            assembler, reply, ..
        } = expected.ok_or(STATUS_INSUFFICIENT_RESOURCES)?;
        self.reply = Some(reply);
        result.map(|()| Lengths {
            reply: assembler.reply_len(),
            data: assembler.data_len(),
        })
    }

    fn send(&self, len: usize, how: Send) -> Result {
        let length = u32::try_from(len).map_err(|_| STATUS_INVALID_PARAMETER)?;
        let options = match how {
            Send::Synchronous => {
                COUNTERS.sends_synchronous.one();
                RXCE_SEND_PARTIAL | RXCE_SEND_SYNCHRONOUS
            }
            Send::Asynchronous => {
                COUNTERS.sends_asynchronous.one();
                self.link.begin_send();
                RXCE_SEND_PARTIAL
            }
        };
        // SAFETY: The circuit was built; MDL and buffer live until the send is over (`exchange` waits or tears down).
        let status = unsafe {
            RxCeSend(
                self.link.vc.get(),
                options,
                self.send_mdl.as_ptr(),
                length,
                ptr::null_mut(),
            )
        };
        let result = check(status);
        if let (Send::Asynchronous, Err(failure)) = (how, result) {
            // Refused: there is no callback.
            self.link.end_send(failure);
        }
        result
    }

    fn tear_down_circuit(&mut self) {
        if self.built == Built::Circuit {
            // SAFETY: Built, and this is no callback. The structure is unbuilt afterwards, whatever the status.
            self.tear_down = unsafe { RxCeTearDownVC(self.link.vc.get()) };
            self.built = Built::Connection;
        }
    }

    /// Disconnects and takes everything down, in the reverse order of building.
    ///
    /// # Errors
    ///
    /// The engine refused to take a part down. What it still knows is then given up for good: a leak that can be
    /// seen is better than freed memory in use.
    pub(crate) fn disconnect(mut self) -> Result<Disconnected> {
        let mut initiate = STATUS_SUCCESS;
        if self.built == Built::Circuit {
            // SAFETY: Built, and this is a system worker thread.
            initiate = unsafe { RxCeInitiateVCDisconnect(self.link.vc.get()) };
        }
        self.tear_down_circuit();
        let result = self.tear_down_parents();
        let report = Disconnected {
            was_connected: 1,
            initiate,
            tear_down: self.tear_down,
        };
        match result {
            Ok(()) => Ok(report),
            Err(status) => {
                self.link.leak();
                Err(status)
            }
        }
    }

    fn tear_down_parents(&mut self) -> Result {
        if self.built >= Built::Connection {
            // SAFETY: Built; it has no circuit any more.
            check(unsafe { RxCeTearDownConnection(self.link.connection.get()) })?;
            self.built = Built::Address;
        }
        if self.built >= Built::Address {
            // SAFETY: Built; it has no connection any more.
            check(unsafe { RxCeTearDownAddress(self.link.address.get()) })?;
            self.built = Built::Transport;
        }
        if self.built >= Built::Transport {
            // SAFETY: Built; it has no address any more.
            check(unsafe { RxCeTearDownTransport(self.link.transport.get()) })?;
            self.built = Built::Nothing;
        }
        Ok(())
    }
}
