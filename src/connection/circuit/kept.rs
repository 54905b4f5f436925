//! What a circuit keeps so that nothing fails for memory where it must not: the packets of its last disconnects, and a spare
//! receive for each stream.

use core::{cell::UnsafeCell, ptr::NonNull};

use rxce_engine::{Error, circuit::Prepared, receive::Channel};

use crate::{
    connection::{
        backlog::Backlog,
        registry::Header,
        request::{Home, Purpose, Request},
        transfer::Transfer,
    },
    nt::{irp::Irp, target::Target},
};

/// One byte stream, for whoever has its guard.
pub(in crate::connection) struct Stream {
    /// The receive in progress.
    pub(in crate::connection) transfer: Transfer,
    /// The bytes that the client has refused.
    pub(in crate::connection) backlog: Backlog,
}

impl Stream {
    /// No receive, no bytes.
    pub(super) const fn new() -> Self {
        Self {
            transfer: Transfer::new(),
            backlog: Backlog::new(),
        }
    }
}

/// Packets and requests allocated ahead.
pub(super) struct Kept {
    /// For whoever drains the circuit.
    pub(super) disconnects: Packets,
    /// For whoever has the guard of the stream.
    pub(super) receives: Spares,
}

/// The packets of the two disconnects that draining may need.
pub(super) struct Packets([Option<Irp>; 2]);

/// The spare receives of both streams.
pub(super) struct Spares([Option<Request>; 2]);

impl Kept {
    /// Nothing yet.
    pub(super) const fn nothing() -> Self {
        Self {
            disconnects: Packets([None, None]),
            receives: Spares([None, None]),
        }
    }

    /// Allocates everything anew for stacks of `stack_size`.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`]; something may be missing then.
    pub(super) fn fill(
        &mut self,
        circuit: NonNull<Header>,
        stack_size: i8,
        expedited: bool,
    ) -> Result<(), Error> {
        let receive = |channel| -> Result<Request, Error> {
            let (purpose, irp) = (Purpose::Receive(channel), Irp::new(stack_size)?);
            Ok(Request::new(circuit, purpose, irp, Home::Keeper))
        };
        for packet in &mut self.disconnects.0 {
            *packet = Some(Irp::new(stack_size)?);
        }
        let [normal, second] = &mut self.receives.0;
        *normal = Some(receive(Channel::Normal)?);
        if expedited {
            *second = Some(receive(Channel::Expedited)?);
        }
        Ok(())
    }
}

impl Packets {
    /// Takes a packet out, if it fits.
    pub(super) fn take(&mut self, which: Prepared, target: &Target) -> Option<Irp> {
        let [first, escalation] = &mut self.0;
        let packet = match which {
            Prepared::First => first,
            Prepared::Escalation => escalation,
        };
        packet.take_if(|irp| target.device.stack_size() <= irp.stack_count())
    }
}

impl Spares {
    /// The spare of a stream.
    pub(super) const fn of(&self, channel: Channel) -> Option<&Request> {
        let [normal, expedited] = &self.0;
        match channel {
            Channel::Normal => normal.as_ref(),
            Channel::Expedited => expedited.as_ref(),
        }
    }
}

/// The disconnects of whoever drains a circuit: they lie on his stack, which a kernel-mode wait keeps resident, until the
/// circuit is run down.
pub(in crate::connection) struct Disconnects([UnsafeCell<Option<Request>>; 2]);

impl Disconnects {
    /// Room for both.
    pub(in crate::connection) const fn new() -> Self {
        Self([UnsafeCell::new(None), UnsafeCell::new(None)])
    }

    /// Puts one in.
    ///
    /// # Safety
    ///
    /// The caller drains the circuit, and puts each in once.
    pub(super) unsafe fn put(&self, which: Prepared, request: Request) -> NonNull<Request> {
        let [first, escalation] = &self.0;
        let place = match which {
            Prepared::First => first,
            Prepared::Escalation => escalation,
        };
        // SAFETY: Forwarded: nobody else touches the place.
        NonNull::from(unsafe { &mut *place.get() }.insert(request))
    }
}
