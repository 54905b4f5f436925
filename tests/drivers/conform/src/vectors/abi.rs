//! Structures laid out by hand, and the numbers of the binary interface (rxce.md §2).

use core::{mem::offset_of, ptr};

use rxce_client::{
    RXCE_ADDRESS, RXCE_ADDRESS_EVENT_HANDLER, RXCE_ADDRESS_SIGNATURE, RXCE_CONNECTION,
    RXCE_CONNECTION_COMPLETION_CONTEXT, RXCE_CONNECTION_EVENT_HANDLER, RXCE_CONNECTION_SIGNATURE,
    RXCE_TRANSPORT, RXCE_TRANSPORT_INFORMATION, RXCE_TRANSPORT_SIGNATURE, RXCE_VC, RXCE_VC_ACTIVE,
    RXCE_VC_SIGNATURE,
};

use super::{Vector, documented, own};
use crate::{
    engine,
    fixture::{self, Fixture, buffer, send, send_and_wait},
    nt::{pool::Block, status},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Personality},
};

pub(super) const VECTORS: &[Vector] = &[
    own("P1", "a circuit laid out by hand is no circuit", by_hand),
    documented("P2", "sizes and offsets of the public structures", layout),
    documented("P3", "the public fields after the builds", fields),
];

fn by_hand(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let live = f.vc.read();
    let data = buffer(b"nobody")?;
    let circuit = |connection: *mut RXCE_CONNECTION| {
        let block = Block::<RXCE_VC>::zeroed()?;
        block.change(|vc| {
            vc.pConnection = connection;
            vc.hEndpoint = live.hEndpoint;
            vc.pEndpointFileObject = live.pEndpointFileObject;
            vc.State = RXCE_VC_ACTIVE;
            vc.ConnectionId = ptr::without_provenance_mut(0x1234_5678);
        });
        put_signature(&block, RXCE_VC_SIGNATURE);
        Some(block)
    };
    // Under the engine's own connection; and under parents that are made by hand too.
    let (transport, address, connection) = parents(&f).ok_or_else(Trouble::no_memory)?;
    connection.change(|connection| connection.pAddress = address.ptr());
    address.change(|address| address.pTransport = transport.ptr());
    for parent in [f.connection.ptr(), connection.ptr()] {
        let vc = circuit(parent).ok_or_else(Trouble::no_memory)?;
        let (before, bytes, sent) = (run.balance(), vc.bytes(), fixture::requests());
        let initiated = engine::initiate(vc.ptr());
        outcome::status("initiate", initiated, status::INVALID_PARAMETER)?;
        let torn_down = engine::tear_down_vc(vc.ptr());
        outcome::status("RxCeTearDownVC", torn_down, status::INVALID_PARAMETER)?;
        let asynchronous = send(vc.ptr(), &data, 1);
        outcome::status(
            "asynchronous send",
            asynchronous,
            status::CONNECTION_DISCONNECTED,
        )?;
        let synchronous = send_and_wait(vc.ptr(), &data);
        outcome::status(
            "synchronous send",
            synchronous,
            status::CONNECTION_DISCONNECTED,
        )?;
        for class in 1..=4 {
            let asked = fixture::query(vc.ptr(), class, &mut [0; 64]);
            outcome::status("RxCeQueryInformation", asked, status::INVALID_PARAMETER)?;
        }
        same("the structure's bytes", vc.bytes(), bytes)?;
        same("requests", fixture::requests(), sent)?;
        before.unchanged(run, "refused calls")?;
    }
    // A connection by hand is none to build a circuit on.
    let storage = Block::<RXCE_VC>::filled(0xCC).ok_or_else(Trouble::no_memory)?;
    let bytes = storage.bytes();
    let built = engine::build_vc(storage.ptr(), connection.ptr());
    outcome::status("RxCeBuildVC", built, status::INVALID_PARAMETER)?;
    same("the storage's bytes", storage.bytes(), bytes)?;
    parents_by_hand(run, &transport, &address)?;
    same("callbacks", fixture::calls(), 0)?;
    f.close()
}

/// A transport and an address by hand are none either.
fn parents_by_hand(
    run: &Run,
    transport: &Block<RXCE_TRANSPORT>,
    address: &Block<RXCE_ADDRESS>,
) -> Outcome {
    let (data, sent) = (buffer(b"nobody")?, fixture::requests());
    let bytes = (transport.bytes(), address.bytes());
    let before = run.balance();
    let peer = Block::new(fixture::PEER).ok_or_else(Trouble::no_memory)?;
    let mut information = fixture::information(&peer);
    let context = ptr::null_mut();
    let (mdl, length) = (data.mdl(), data.length());
    let out = Block::zeroed().ok_or_else(Trouble::no_memory)?;
    let answers = [
        engine::send_datagram(address.ptr(), &raw mut information, 0, mdl, length, context),
        engine::query_adapter_status(transport.ptr(), [0; 60].as_mut_ptr()),
        engine::query_transport_information(transport.ptr(), out.ptr()),
    ];
    for answer in answers {
        let what = "a routine on a parent laid out by hand";
        outcome::status(what, answer, status::INVALID_PARAMETER)?;
    }
    same(
        "the structures' bytes",
        (transport.bytes(), address.bytes()),
        bytes,
    )?;
    same("requests", fixture::requests(), sent)?;
    before.unchanged(run, "refused calls")
}

type Parents = (
    Block<RXCE_TRANSPORT>,
    Block<RXCE_ADDRESS>,
    Block<RXCE_CONNECTION>,
);

/// Copies of the live parents, signatures included.
fn parents(f: &Fixture) -> Option<Parents> {
    Some((
        Block::new(f.transport.read())?,
        Block::new(f.address.read())?,
        Block::new(f.connection.read())?,
    ))
}

fn put_signature<T: Copy>(block: &Block<T>, signature: u32) {
    // SAFETY: Every structure of rxce.h begins with its signature; the block is ours.
    unsafe { block.ptr().cast::<u32>().write_volatile(signature) };
}

fn layout(_run: &Run) -> Outcome {
    same("sizeof(RXCE_TRANSPORT)", size_of::<RXCE_TRANSPORT>(), 0x48)?;
    same("sizeof(RXCE_ADDRESS)", size_of::<RXCE_ADDRESS>(), 0x48)?;
    same(
        "sizeof(RXCE_CONNECTION)",
        size_of::<RXCE_CONNECTION>(),
        0x30,
    )?;
    same("sizeof(RXCE_VC)", size_of::<RXCE_VC>(), 0x40)?;
    same(
        "sizeof(RXCE_ADDRESS_EVENT_HANDLER)",
        size_of::<RXCE_ADDRESS_EVENT_HANDLER>(),
        0x28,
    )?;
    same(
        "sizeof(RXCE_CONNECTION_EVENT_HANDLER)",
        size_of::<RXCE_CONNECTION_EVENT_HANDLER>(),
        0x48,
    )?;
    same(
        "the transport's signature",
        RXCE_TRANSPORT_SIGNATURE,
        0x0048_EB71,
    )?;
    same(
        "the address's signature",
        RXCE_ADDRESS_SIGNATURE,
        0x0048_EB72,
    )?;
    same(
        "the connection's signature",
        RXCE_CONNECTION_SIGNATURE,
        0x0030_EB73,
    )?;
    same("the circuit's signature", RXCE_VC_SIGNATURE, 0x0040_EB74)?;
    layout_of_results()?;
    let transport = [
        offset_of!(RXCE_TRANSPORT, Name),
        offset_of!(RXCE_TRANSPORT, pDeviceObject),
        offset_of!(RXCE_TRANSPORT, ControlChannel),
        offset_of!(RXCE_TRANSPORT, pControlChannelFileObject),
        offset_of!(RXCE_TRANSPORT, pProviderInfo),
        offset_of!(RXCE_TRANSPORT, ConnectionCount),
        offset_of!(RXCE_TRANSPORT, VirtualCircuitCount),
        offset_of!(RXCE_TRANSPORT, QualityOfService),
    ];
    same(
        "offsets in RXCE_TRANSPORT",
        transport,
        [0x08, 0x18, 0x20, 0x28, 0x30, 0x38, 0x3C, 0x40],
    )?;
    let address = [
        offset_of!(RXCE_ADDRESS, pTransport),
        offset_of!(RXCE_ADDRESS, pTransportAddress),
        offset_of!(RXCE_ADDRESS, pContext),
        offset_of!(RXCE_ADDRESS, pHandler),
        offset_of!(RXCE_ADDRESS, pReceiveMdl),
        offset_of!(RXCE_ADDRESS, hAddress),
        offset_of!(RXCE_ADDRESS, pFileObject),
        offset_of!(RXCE_ADDRESS, ConnectionCount),
        offset_of!(RXCE_ADDRESS, VirtualCircuitCount),
    ];
    same(
        "offsets in RXCE_ADDRESS",
        address,
        [0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x44],
    )?;
    let connection = [
        offset_of!(RXCE_CONNECTION, pAddress),
        offset_of!(RXCE_CONNECTION, VirtualCircuitCount),
        offset_of!(RXCE_CONNECTION, pContext),
        offset_of!(RXCE_CONNECTION, pHandler),
        offset_of!(RXCE_CONNECTION, pConnectionInformation),
    ];
    same(
        "offsets in RXCE_CONNECTION",
        connection,
        [0x08, 0x10, 0x18, 0x20, 0x28],
    )?;
    let circuit = [
        offset_of!(RXCE_VC, pConnection),
        offset_of!(RXCE_VC, hEndpoint),
        offset_of!(RXCE_VC, pEndpointFileObject),
        offset_of!(RXCE_VC, State),
        offset_of!(RXCE_VC, ConnectionId),
        offset_of!(RXCE_VC, pReceiveMdl),
        offset_of!(RXCE_VC, pCleanUpEvent),
    ];
    same(
        "offsets in RXCE_VC",
        circuit,
        [0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38],
    )
}

fn layout_of_results() -> Outcome {
    same(
        "sizeof(RXCE_TRANSPORT_INFORMATION)",
        size_of::<RXCE_TRANSPORT_INFORMATION>(),
        0x30,
    )?;
    let information = [
        offset_of!(RXCE_TRANSPORT_INFORMATION, ProviderInfo),
        offset_of!(RXCE_TRANSPORT_INFORMATION, ConnectionCount),
        offset_of!(RXCE_TRANSPORT_INFORMATION, QualityOfService),
    ];
    same(
        "offsets in RXCE_TRANSPORT_INFORMATION",
        information,
        [0x00, 0x28, 0x2C],
    )?;
    same(
        "sizeof(RXCE_CONNECTION_COMPLETION_CONTEXT)",
        size_of::<RXCE_CONNECTION_COMPLETION_CONTEXT>(),
        0x48,
    )?;
    let context = [
        offset_of!(RXCE_CONNECTION_COMPLETION_CONTEXT, Status),
        offset_of!(RXCE_CONNECTION_COMPLETION_CONTEXT, AddressIndex),
        offset_of!(RXCE_CONNECTION_COMPLETION_CONTEXT, pConnection),
        offset_of!(RXCE_CONNECTION_COMPLETION_CONTEXT, pVc),
        offset_of!(RXCE_CONNECTION_COMPLETION_CONTEXT, WorkQueueItem),
        offset_of!(RXCE_CONNECTION_COMPLETION_CONTEXT, pConnectionInformation),
    ];
    same(
        "offsets in RXCE_CONNECTION_COMPLETION_CONTEXT",
        context,
        [0x00, 0x04, 0x08, 0x10, 0x18, 0x40],
    )
}

fn fields(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let (transport, address, connection) =
        (f.transport.read(), f.address.read(), f.connection.read());
    let signature =
        |bytes: alloc::vec::Vec<u8>| bytes.first_chunk().copied().map(u32::from_le_bytes);
    same(
        "the transport's signature",
        signature(f.transport.bytes()),
        Some(RXCE_TRANSPORT_SIGNATURE),
    )?;
    same(
        "the address's signature",
        signature(f.address.bytes()),
        Some(RXCE_ADDRESS_SIGNATURE),
    )?;
    same(
        "the connection's signature",
        signature(f.connection.bytes()),
        Some(RXCE_CONNECTION_SIGNATURE),
    )?;

    same("QualityOfService", transport.QualityOfService, 7)?;
    let name = transport::device_name(Personality::Orderly);
    let mut borrowed = name.borrow();
    // SAFETY: A local string.
    let wanted = unsafe { borrowed.as_mut_ptr().read() };
    let units = usize::from(wanted.Length / 2);
    same("Name.Length", transport.Name.Length, wanted.Length)?;
    // §5.1 step 1: NUL-terminated, MaximumLength = Length + 2.
    same(
        "Name.MaximumLength",
        transport.Name.MaximumLength,
        wanted.Length + 2,
    )?;
    holds("Name is a copy", transport.Name.Buffer != wanted.Buffer)?;
    for unit in 0..units {
        // SAFETY: Within both strings' lengths.
        let theirs = unsafe { transport.Name.Buffer.wrapping_add(unit).read() };
        // SAFETY: As above.
        let ours = unsafe { wanted.Buffer.wrapping_add(unit).read() };
        same("a character of Name", theirs, ours)?;
    }
    // SAFETY: `MaximumLength` covers the terminator.
    let terminator = unsafe { transport.Name.Buffer.wrapping_add(units).read() };
    same("Name's terminator", terminator, 0)?;
    holds("ControlChannel is set", !transport.ControlChannel.is_null())?;
    // SAFETY: The engine's copy of the provider information, alive while the transport is built.
    let flags = unsafe { (*transport.pProviderInfo).ServiceFlags };
    same("ServiceFlags", flags, Personality::Orderly.service_flags())?;

    same("pTransport", address.pTransport, f.transport.ptr())?;
    same(
        "the address's pContext",
        address.pContext,
        crate::client::ADDRESS_CONTEXT,
    )?;
    holds("pReceiveMdl is NULL", address.pReceiveMdl.is_null())?;
    // SAFETY: The engine's copy of the local address, alive while the address is built.
    let local = unsafe {
        address
            .pTransportAddress
            .cast::<fixture::Ipv4>()
            .read_unaligned()
    };
    same("the copy of the local address", local, fixture::LOCAL)?;
    // SAFETY: The engine's copy of the table, likewise.
    let error_handler = unsafe { (*address.pHandler).RxCeErrorEventHandler };
    holds("the copy of the address's table", error_handler.is_some())?;

    same("pAddress", connection.pAddress, f.address.ptr())?;
    same(
        "the connection's pContext",
        connection.pContext,
        crate::client::CONNECTION_CONTEXT,
    )?;
    // SAFETY: The engine's deep copy, alive while the connection is built.
    let information = unsafe { connection.pConnectionInformation.read() };
    same("RemoteAddressLength", information.RemoteAddressLength, 22)?;
    // SAFETY: As above.
    let peer = unsafe {
        information
            .RemoteAddress
            .cast::<fixture::Ipv4>()
            .read_unaligned()
    };
    same("the copy of the remote address", peer, fixture::PEER)?;
    f.close()
}
