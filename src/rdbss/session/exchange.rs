//! One request and its answer.

use core::{
    cell::UnsafeCell,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU32, Ordering, fence},
};

use p9::{Assembler, Header, Kind, Reply, Request, Step};
use rxce_engine::Error;
use wdk_sys::STATUS_INVALID_NETWORK_RESPONSE;

use crate::nt::{
    event::Event,
    mdl::Mdl,
    pool::{Bytes, PoolBox, Pooled, Tag},
};

/// The longest answer without its data: an `Rwalk` of sixteen names.
const REPLY: usize = 256;
/// Encoded requests.
const MESSAGE_TAG: Tag = Tag::new(*b"RxMe");

/// A request that was sent, or is about to be.
pub(super) struct Exchange {
    /// Who still needs the block: whoever waits, and the send until it is over.
    parts: AtomicU32,
    /// The answer is whole, or will not be.
    done: Event,
    /// Describes `message`; dropped before it.
    mdl: Mdl,
    #[expect(dead_code, reason = "the transport reads it through the MDL")]
    message: Bytes,
    /// Under the session's lock while the exchange is listed; of whoever waits, afterwards.
    answer: UnsafeCell<Coming>,
}

impl Pooled for Exchange {
    const TAG: Tag = Tag::new(*b"RxEx");
}

// SAFETY: `answer` says who may touch it; the rest is read only or synchronises itself.
unsafe impl Sync for Exchange {}

struct Coming {
    assembler: Assembler,
    reply: [u8; REPLY],
    destination: *mut u8,
    room: usize,
    result: Result<(), Error>,
}

impl Exchange {
    /// Uses received bytes.
    ///
    /// # Safety
    ///
    /// The session's lock is held, and the exchange is listed.
    pub(super) unsafe fn feed(&self, input: &[u8]) -> Result<Step, p9::Error> {
        // SAFETY: Forwarded.
        let coming = unsafe { &mut *self.answer.get() };
        let destination = if coming.destination.is_null() {
            &mut []
        } else {
            // SAFETY: Whoever waits lends the memory until the exchange is not listed any more.
            unsafe { slice::from_raw_parts_mut(coming.destination, coming.room) }
        };
        coming.assembler.feed(input, &mut coming.reply, destination)
    }

    /// Tells whoever waits.
    ///
    /// # Safety
    ///
    /// The session's lock is held, and the exchange has just left the list.
    pub(super) unsafe fn end(&self, result: Result<(), Error>) {
        // SAFETY: Forwarded.
        unsafe { (*self.answer.get()).result = result };
        self.done.set();
    }

    /// Gives one part up.
    ///
    /// # Safety
    ///
    /// The caller has a part, and does not touch the exchange afterwards.
    pub(super) unsafe fn drop_part(this: NonNull<Self>) {
        // SAFETY: Forwarded.
        if unsafe { this.as_ref() }
            .parts
            .fetch_sub(1, Ordering::Release)
            == 1
        {
            fence(Ordering::Acquire);
            // SAFETY: Nobody has a part any more; the block came from a `PoolBox`.
            drop(unsafe { PoolBox::from_raw(this) });
        }
    }

    /// Another part, which keeps the message and its MDL.
    pub(super) fn add_part(&self) {
        self.parts.fetch_add(1, Ordering::Relaxed);
    }

    /// Describes the message.
    pub(super) const fn mdl(&self) -> &Mdl {
        &self.mdl
    }

    /// Signalled when the answer is whole, or will not be.
    pub(super) const fn done(&self) -> &Event {
        &self.done
    }

    /// Encodes a request into an exchange that nobody knows yet; its length besides.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`].
    pub(super) fn new(
        request: &Request<'_>,
        tag: u16,
        destination: *mut u8,
        room: usize,
    ) -> Result<(PoolBox<Self>, u32), Error> {
        let length = request.encoded_len();
        let mut message = Bytes::new(length, MESSAGE_TAG)?;
        request
            .encode(tag, &mut message)
            .map_err(|_| Error::InvalidParameter)?;
        let length = u32::try_from(length).map_err(|_| Error::InvalidParameter)?;
        // SAFETY: The message is nonpaged pool, and is dropped after the MDL.
        let mdl = unsafe { Mdl::of_pool(message.as_ptr(), length) }?;
        let exchange = PoolBox::new(Self {
            parts: AtomicU32::new(1),
            done: Event::uninit(),
            mdl,
            message,
            answer: UnsafeCell::new(Coming {
                assembler: Assembler::new(tag, request.reply_kind(), room),
                reply: [0; REPLY],
                destination,
                room,
                result: Ok(()),
            }),
        })?;
        // SAFETY: The exchange is at its place, and nobody else has it.
        unsafe { exchange.done.init_manual_reset() };
        Ok((exchange, length))
    }
}

/// An answer, of which nobody else has the exchange.
pub(in crate::rdbss) struct Answer(NonNull<Exchange>);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: The waiter's part goes with the answer.
        unsafe { Exchange::drop_part(self.0) };
    }
}

impl Answer {
    /// The answer to come of an exchange, whose one part it has.
    pub(super) fn of(exchange: PoolBox<Exchange>) -> Self {
        Self(exchange.into_raw())
    }

    /// The exchange.
    pub(super) const fn exchange(&self) -> NonNull<Exchange> {
        self.0
    }

    /// How the exchange ended.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) fn result(&self) -> Result<(), Error> {
        self.coming().result
    }

    fn coming(&self) -> &Coming {
        // SAFETY: The exchange is not listed any more, so its answer is the waiter's.
        let exchange = unsafe { self.0.as_ref() };
        // SAFETY: As above.
        unsafe { &*exchange.answer.get() }
    }

    /// The reply as a message.
    ///
    /// # Errors
    ///
    /// What the server's error number stands for; `STATUS_INVALID_NETWORK_RESPONSE` for a damaged one.
    pub(in crate::rdbss) fn reply(&self) -> Result<Reply<'_>, Error> {
        let coming = self.coming();
        let message = coming.reply.get(..coming.assembler.reply_len());
        match Reply::decode(message.unwrap_or_default()) {
            Ok((_, Reply::Lerror { errno })) => {
                Err(Error::Transport(rxce_netfs::status::from_errno(errno)))
            }
            Ok((_, reply)) => Ok(reply),
            Err(_) => Err(Error::Transport(STATUS_INVALID_NETWORK_RESPONSE)),
        }
    }

    /// How many bytes are in the destination.
    pub(super) fn data_length(&self) -> Result<usize, Error> {
        let coming = self.coming();
        match Header::decode(&coming.reply) {
            Ok(Header {
                kind: Kind::Rread | Kind::Rreaddir,
                ..
            }) => Ok(coming.assembler.data_len()),
            // A refusal: `reply` says which.
            _ => self
                .reply()
                .and(Err(Error::Transport(STATUS_INVALID_NETWORK_RESPONSE))),
        }
    }
}
