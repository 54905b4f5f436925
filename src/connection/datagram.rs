//! Datagrams. Received ones are offered to the address's callback, the rest is fetched into the client's memory
//! (specification, section 6); a datagram that nobody takes is lost, as datagrams are. Sent ones are always asynchronous
//! (5.15).

use core::ptr::NonNull;

use rxce_engine::{Error, mutant, send as rules};
use wdk_sys::{
    NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL, PVOID, STATUS_DATA_NOT_ACCEPTED,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_MORE_PROCESSING_REQUIRED, STATUS_SUCCESS,
};

use super::{
    address::{self, Address},
    information::{Information, Remote},
    registry::{Ref, ids},
};
use crate::{
    abi::{self, Client},
    nt::{
        irp::{self, Irp},
        mdl,
        pool::{PoolBox, Pooled, Tag},
        report,
    },
    tdi::{
        IN_FLIGHT,
        bindings::{TDI_RECEIVE_NORMAL, TDI_SERVICE_CONNECTIONLESS_MODE},
        request,
    },
};

/// A receive of the rest of a datagram, while the transport has it. The reference goes last.
struct Rest {
    irp: Irp,
    chain: PMDL,
    /// The bytes that were asked for.
    asked: u32,
    /// The address, with a reference of the request's own.
    address: Ref<Address>,
}

impl Pooled for Rest {
    const TAG: Tag = Tag::new(*b"RxDg");
}

/// `TDI_EVENT_RECEIVE_DATAGRAM`.
pub(super) unsafe extern "C" fn receive(
    token: PVOID,
    source_length: i32,
    source: PVOID,
    options_length: i32,
    options: PVOID,
    flags: u32,
    indicated: u32,
    available: u32,
    taken: *mut u32,
    tsdu: PVOID,
    packet: *mut PIRP,
) -> NTSTATUS {
    let mut consumed = 0_u32;
    let mut chain: PMDL = core::ptr::null_mut();
    let mut size = 0_u32;
    let mut status = STATUS_DATA_NOT_ACCEPTED;
    let mut request: PIRP = core::ptr::null_mut();
    let address = ids::find::<Address>(token.addr());
    if let Some(address) = &address {
        let (callbacks, client) = address.callbacks();
        if let Some(offer) = callbacks.ReceiveDatagram {
            // SAFETY: The client's callback, as its table declares it; no lock is held, the transport's buffers are
            // valid during this call, and the results outlive it.
            status = unsafe {
                offer(
                    client,
                    source_length,
                    source,
                    options_length,
                    options,
                    flags,
                    indicated,
                    available,
                    &raw mut consumed,
                    tsdu,
                    &raw mut chain,
                    &raw mut size,
                )
            };
            if consumed > indicated {
                report::misuse(
                    c"RxCeReceiveDatagramEventHandler",
                    c"took more bytes than were indicated",
                );
                consumed = indicated;
            }
        }
        if status == STATUS_MORE_PROCESSING_REQUIRED {
            match fetch(address, chain, size) {
                Some(irp) => request = irp,
                None => status = STATUS_SUCCESS,
            }
        }
    }
    if wdk::nt_success(status) {
        status = STATUS_SUCCESS;
    } else if status != STATUS_MORE_PROCESSING_REQUIRED {
        if !mutant!(DatagramTakenOnRefusal) {
            consumed = 0;
        }
        status = STATUS_DATA_NOT_ACCEPTED;
    }
    if let Some(address) = &address {
        if status == STATUS_DATA_NOT_ACCEPTED {
            address.count(1, |totals| &totals.datagrams_refused);
        } else {
            address.count(1, |totals| &totals.datagrams_received);
            let bytes = consumed.into();
            address.count(bytes, |totals| &totals.datagram_bytes_received);
        }
    }
    if !taken.is_null() {
        // SAFETY: The transport's result is valid during this call.
        unsafe { taken.write(consumed) };
    }
    if !packet.is_null() {
        // SAFETY: As above.
        unsafe { packet.write(request) };
    }
    status
}

/// Makes the packet for the rest of a datagram, or tells the client that there is none.
fn fetch(address: &Ref<Address>, chain: PMDL, size: u32) -> Option<PIRP> {
    // SAFETY: The client hands over a valid chain, or NULL.
    let room = unsafe { mdl::length_up_to(chain, size) };
    if room < size || room == 0 {
        report::misuse(
            c"RxCeReceiveDatagramEventHandler",
            c"wants bytes without memory for them",
        );
    }
    if room == 0 {
        return None;
    }
    let size = room;
    let target = address.target();
    let rest = address.again().and_then(|reference| {
        let irp = Irp::new(target.device.stack_size()).ok()?;
        PoolBox::new(Rest {
            irp,
            address: reference,
            chain,
            asked: size,
        })
        .ok()
    });
    let Some(rest) = rest else {
        data_ready(address, chain, 0, STATUS_INSUFFICIENT_RESOURCES);
        return None;
    };
    let call = request::receive_datagram(size, TDI_RECEIVE_NORMAL);
    // SAFETY: The packet is new and fits the target; the request lives until its completion routine has run, and the
    // client's memory until DataReady.
    unsafe {
        rest.irp.prepare(
            &target,
            &call,
            chain,
            completed,
            rest.as_ptr().as_ptr().cast(),
        )
    };
    let _held = IN_FLIGHT.acquire();
    address.set_receive_mdl(chain);
    // SAFETY: The packet was prepared, and goes to the transport next.
    unsafe { rest.irp.advance() };
    let packet = rest.irp.as_ptr();
    let _ = rest.into_raw();
    Some(packet)
}

unsafe extern "C" fn completed(_device: PDEVICE_OBJECT, irp: PIRP, context: PVOID) -> NTSTATUS {
    if let Some(rest) = NonNull::new(context.cast::<Rest>()) {
        // SAFETY: The request was given up to this routine.
        let rest = unsafe { PoolBox::from_raw(rest) }.into_inner();
        // SAFETY: This is the packet's completion routine.
        let (status, bytes) = unsafe { irp::take_result(irp) };
        rest.address.set_receive_mdl(core::ptr::null_mut());
        // A transport that counts more than it was asked for has not written them.
        let arrived = u32::try_from(bytes).map_or(rest.asked, |bytes| bytes.min(rest.asked));
        rest.address
            .count(arrived.into(), |totals| &totals.datagram_bytes_received);
        data_ready(&rest.address, rest.chain, arrived, status);
    }
    // SAFETY: The reference was taken when the packet was handed over.
    unsafe { IN_FLIGHT.release() };
    STATUS_MORE_PROCESSING_REQUIRED
}

fn data_ready(address: &Address, chain: PMDL, bytes: u32, status: NTSTATUS) {
    let (callbacks, client) = address.callbacks();
    if let Some(ready) = callbacks.DataReady
        && !mutant!(DatagramReadyForgotten)
    {
        // SAFETY: The client's callback, as its table declares it; no lock is held.
        unsafe { ready(client, chain, bytes, status) };
    }
}

/// A datagram on its way. The reference goes last.
struct Outgoing {
    irp: Irp,
    /// Where it goes; the client's need not stay valid.
    destination: Information,
    context: PVOID,
    /// The address, with a reference of the request's own.
    address: Ref<Address>,
}

impl Pooled for Outgoing {
    const TAG: Tag = Tag::new(*b"RxDs");
}

/// `RxCeSendDatagram`: the result comes with the address's Send Complete, exactly once.
///
/// # Errors
///
/// [`Error::InvalidParameter`] or [`Error::InsufficientResources`]; there is no callback then.
///
/// # Safety
///
/// `chain` is NULL or a valid chain whose memory stays locked until the send is over.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn send(
    public: Client<abi::Address>,
    remote: Remote<'_>,
    options: u32,
    chain: PMDL,
    length: u32,
    context: PVOID,
) -> Result<(), Error> {
    let address = address::find(public)?;
    let transport = address.transport();
    let too_long = transport
        .longest_datagram()
        .is_some_and(|longest| length > longest && !mutant!(DatagramTooLong));
    if !transport.offers(TDI_SERVICE_CONNECTIONLESS_MODE) || too_long {
        return Err(Error::InvalidParameter);
    }
    // SAFETY: Forwarded; the iterator yields valid elements.
    let lengths =
        unsafe { mdl::elements(chain) }.map(|element| unsafe { mdl::byte_count(element) });
    rules::check_length(options, length, lengths, transport.zero_length())?;
    let target = address.target();
    let outgoing = PoolBox::new(Outgoing {
        irp: Irp::new(target.device.stack_size())?,
        // A run-down that has begun means a tear-down.
        address: address.again().ok_or(Error::InvalidParameter)?,
        destination: Information::new(remote)?,
        context,
    })?;
    let call = request::send_datagram(length, outgoing.destination.as_ptr());
    let packet = outgoing.irp.as_ptr();
    let request: PVOID = outgoing.as_ptr().as_ptr().cast();
    // SAFETY: The packet is new and fits the target; the request lives until its completion routine has run, and the
    // client keeps the chain until Send Complete.
    unsafe { outgoing.irp.prepare(&target, &call, chain, sent, request) };
    let _ = outgoing.into_raw();
    let _held = IN_FLIGHT.acquire();
    address.count(1, |totals| &totals.datagrams_sent);
    address.count(length.into(), |totals| &totals.datagram_bytes_sent);
    // SAFETY: The packet was prepared for this device, and belongs to the completion routine from now on.
    unsafe { Irp::call(packet, target.device) };
    Ok(())
}

unsafe extern "C" fn sent(_device: PDEVICE_OBJECT, irp: PIRP, context: PVOID) -> NTSTATUS {
    if let Some(outgoing) = NonNull::new(context.cast::<Outgoing>()) {
        // SAFETY: The request was given up to this routine.
        let outgoing = unsafe { PoolBox::from_raw(outgoing) }.into_inner();
        // SAFETY: This is the packet's completion routine.
        let (status, _) = unsafe { irp::take_result(irp) };
        if !wdk::nt_success(status) {
            outgoing
                .address
                .count(1, |totals| &totals.datagram_send_failures);
        }
        let (callbacks, client) = outgoing.address.callbacks();
        if let Some(complete) = callbacks.SendComplete {
            let context = if mutant!(DatagramContextLost) {
                core::ptr::null_mut()
            } else {
                outgoing.context
            };
            // SAFETY: The client's callback, as its table declares it; no lock is held.
            unsafe { complete(client, context, status) };
        }
        if mutant!(DatagramAddressKept)
            && let Some(kept) = outgoing.address.again()
        {
            let _ = kept.into_raw();
        }
    }
    // SAFETY: The reference was taken when the packet was sent.
    unsafe { IN_FLIGHT.release() };
    STATUS_MORE_PROCESSING_REQUIRED
}
