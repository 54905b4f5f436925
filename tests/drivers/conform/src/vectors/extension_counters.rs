//! RxCexQueryCounters: what the engine counts at a circuit, its connection, its address and its transport.

use core::{mem::offset_of, ptr};

use rxce_client::{RXCE_VC, RXCEX_COUNTERS, RXCEX_VERSION};

use super::{ABORT, Vector, own};
use crate::{
    client::{Answer, CLIENT, Lane},
    engine::{self, extension},
    fixture::{self, Fixture, PEER, buffer, ok, script, send, send_and_wait},
    nt::{irql, pool::Block, status},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Kind, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "V15",
        "counters of a circuit and of its parents, while it lives and after",
        of_a_circuit,
    ),
    own(
        "V16",
        "counters of datagrams, of connects and of an address error",
        of_an_address,
    ),
    own("V17", "bad arguments to RxCexQueryCounters", bad_arguments),
];

/// Counters that ask for what this header knows.
pub(super) fn asking() -> RXCEX_COUNTERS {
    RXCEX_COUNTERS {
        Size: u32::try_from(size_of::<RXCEX_COUNTERS>()).unwrap_or_default(),
        ..RXCEX_COUNTERS::default()
    }
}

fn read<T>(structure: *mut T) -> Outcome<RXCEX_COUNTERS> {
    let mut counters = asking();
    ok(
        "RxCexQueryCounters",
        extension::query_counters(structure.cast(), &raw mut counters),
    )?;
    same("Size", counters.Size as usize, size_of::<RXCEX_COUNTERS>())?;
    same("Version", counters.Version, RXCEX_VERSION)?;
    Ok(counters)
}

/// Sends, their bytes and failures; receives, their bytes, refusals and refetches.
fn flow_of<T>(structure: *mut T) -> Outcome<[u64; 7]> {
    let c = read(structure)?;
    Ok([
        c.Sends,
        c.BytesSent,
        c.SendFailures,
        c.Receives,
        c.BytesReceived,
        c.ReceivesRefused,
        c.ReceivesRefetched,
    ])
}

/// Connects and their failures, disconnects sent and indicated, address errors.
fn ends_of<T>(structure: *mut T) -> Outcome<[u64; 5]> {
    let c = read(structure)?;
    Ok([
        c.Connects,
        c.ConnectFailures,
        c.LocalDisconnects,
        c.RemoteDisconnects,
        c.AddressErrors,
    ])
}

/// Datagrams sent, their bytes and failures; datagrams received, their bytes and refusals.
fn datagrams_of<T>(structure: *mut T) -> Outcome<[u64; 6]> {
    let c = read(structure)?;
    Ok([
        c.DatagramsSent,
        c.DatagramBytesSent,
        c.DatagramSendFailures,
        c.DatagramsReceived,
        c.DatagramBytesReceived,
        c.DatagramsRefused,
    ])
}

fn of_a_circuit(_run: &Run) -> Outcome {
    same("sizeof(RXCEX_COUNTERS)", size_of::<RXCEX_COUNTERS>(), 0x98)?;
    let offsets = [
        offset_of!(RXCEX_COUNTERS, Sends),
        offset_of!(RXCEX_COUNTERS, DatagramsSent),
        offset_of!(RXCEX_COUNTERS, Connects),
        offset_of!(RXCEX_COUNTERS, AddressErrors),
    ];
    same(
        "offsets in RXCEX_COUNTERS",
        offsets,
        [0x08, 0x40, 0x70, 0x90],
    )?;
    let mut f = Fixture::orderly()?;
    let other = f.add_vc()?;
    let data = buffer(&[7; 100])?;
    same("a new circuit", flow_of(f.vc.ptr())?, [0; 7])?;

    // Three sends, one of which fails.
    ok("a synchronous send", send_and_wait(f.vc.ptr(), &data))?;
    ok("an asynchronous send", send(f.vc.ptr(), &data, 1))?;
    script(Kind::Send, Script::Inline(status::CONNECTION_RESET));
    ok("a send that fails", send(f.vc.ptr(), &data, 2))?;
    let failed = send_and_wait(f.vc.ptr(), &data);
    outcome::status("a synchronous one", failed, status::CONNECTION_RESET)?;
    script(Kind::Send, Script::Inline(status::SUCCESS));
    // An indication that is taken, one that is refused, and one that is continued in the client's memory.
    let endpoint = f.endpoint();
    transport::receive(endpoint, &mut [1; 10], 10);
    CLIENT.update(|client| client.answer(Answer::Refuse));
    transport::receive(endpoint, &mut [2; 5], 5);
    let memory = buffer(&[0; 30])?;
    CLIENT.update(|client| client.answer(Answer::More(memory.mdl(), 30)));
    transport::receive(endpoint, &mut [3; 8], 8);
    same(
        "bytes into the client's memory",
        transport::complete_with_data(&[4; 30]),
        Some(30),
    )?;
    let circuit = [4, 400, 2, 2, 48, 1, 0];
    same("the circuit", flow_of(f.vc.ptr())?, circuit)?;
    same("the other circuit", flow_of(other)?, [0; 7])?;
    same("the transport", flow_of(f.transport.ptr())?, circuit)?;
    let waiting = [0, 0, 2, 0, 0, 1, 0];
    same(
        "the connection, while the circuit lives",
        flow_of(f.connection.ptr())?,
        waiting,
    )?;
    same(
        "the address, while the circuit lives",
        flow_of(f.address.ptr())?,
        waiting,
    )?;

    // The peer disconnects one, the client the other.
    transport::disconnect(endpoint, ABORT);
    same("the circuit's ends", ends_of(f.vc.ptr())?, [1, 0, 0, 1, 0])?;
    ok("initiate", engine::initiate(other))?;
    same("the other's ends", ends_of(other)?, [1, 0, 1, 0, 0])?;
    ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    let parents: [(&str, *mut u8); 3] = [
        ("the connection", f.connection.ptr().cast()),
        ("the address", f.address.ptr().cast()),
        ("the transport", f.transport.ptr().cast()),
    ];
    for (what, parent) in parents {
        same(what, flow_of(parent)?, circuit)?;
        same(what, ends_of(parent)?, [2, 0, 1, 1, 0])?;
    }
    refetched(&f, other)?;
    f.close()
}

/// Bytes that are refused while the client is asked are fetched later.
fn refetched(f: &Fixture, vc: *mut RXCE_VC) -> Outcome {
    let before = read(f.transport.ptr())?.ReceivesRefetched;
    let (entered, go_on) = (
        crate::nt::event::Event::new(),
        crate::nt::event::Event::new(),
    );
    CLIENT.update(|client| client.gate(&entered, &go_on));
    let endpoint = fixture::endpoint_of(vc);
    let first = crate::nt::thread::Thread::start(|| transport::receive(endpoint, &mut [1; 4], 4))?;
    let came = entered.wait(crate::nt::time::PATIENCE);
    let stray = transport::receive(endpoint, &mut [2; 4], 4);
    go_on.set();
    let taken = first.join("the first indication")?.map(|seen| seen.taken);
    holds("the client is asked", came)?;
    same("the first indication", taken, Some(4))?;
    same(
        "the stray one",
        stray.map(|seen| seen.status),
        Some(status::DATA_NOT_ACCEPTED),
    )?;
    same(
        "bytes that are fetched",
        transport::complete_with_data(&[2; 4]),
        Some(4),
    )?;
    let after = read(f.transport.ptr())?.ReceivesRefetched;
    same("fetches of refused bytes", after, before + 1)?;
    let now = read(vc)?;
    same(
        "the circuit",
        [now.Receives, now.BytesReceived, now.ReceivesRefused],
        [2, 8, 1],
    )
}

fn of_an_address(_run: &Run) -> Outcome {
    // TDI_SERVICE_CONNECTIONLESS_MODE.
    TRANSPORT.update(|state| state.more_services = 4);
    let f = Fixture::orderly()?;
    let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
    let data = buffer(&[5; 50])?;
    ok("a datagram", fixture::send_datagram(&f, &peer, &data, 1))?;
    script(Kind::SendDatagram, Script::Inline(status::HOST_UNREACHABLE));
    ok(
        "one that fails",
        fixture::send_datagram(&f, &peer, &data, 2),
    )?;
    let (file, mut source) = (f.address_file(), PEER);
    transport::datagram(file, &mut source, &mut [1; 20], 20);
    CLIENT.update(|client| client.answer_on(Lane::Datagram, Answer::Refuse));
    transport::datagram(file, &mut source, &mut [2; 20], 20);
    let memory = buffer(&[0; 12])?;
    CLIENT.update(|client| client.answer_on(Lane::Datagram, Answer::More(memory.mdl(), 12)));
    transport::datagram(file, &mut source, &mut [3; 8], 20);
    let filled = transport::complete_datagram(&[3; 12], status::SUCCESS);
    same("bytes into the client's memory", filled, Some(12))?;
    // A connect that fails, and an error of the address.
    script(Kind::Connect, Script::Inline(status::CONNECTION_REFUSED));
    let storage = Block::<RXCE_VC>::zeroed().ok_or_else(Trouble::no_memory)?;
    let built = engine::build_vc(storage.ptr(), f.connection.ptr());
    outcome::status("BuildVC", built, status::CONNECTION_REFUSED)?;
    transport::error(file, status::INVALID_ADDRESS_COMPONENT);
    let both: [(&str, *mut u8); 2] = [
        ("the address", f.address.ptr().cast()),
        ("the transport", f.transport.ptr().cast()),
    ];
    for (what, structure) in both {
        same(what, datagrams_of(structure)?, [2, 100, 1, 2, 40, 1])?;
        same(what, ends_of(structure)?, [1, 1, 0, 0, 1])?;
    }
    same("the circuit", ends_of(f.vc.ptr())?, [1, 0, 0, 1, 0])?;
    f.close()
}

fn bad_arguments(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let copy = Block::new(f.vc.read()).ok_or_else(Trouble::no_memory)?;
    let counters = Block::new(asking()).ok_or_else(Trouble::no_memory)?;
    let (before, bytes) = (run.balance(), counters.bytes());
    let vc = f.vc.ptr();
    let structures = [
        ("NULL", ptr::null_mut()),
        ("a misaligned structure", vc.wrapping_byte_add(4)),
        (
            "an unmapped one",
            ptr::without_provenance_mut(0xFFFF_8000_0000_3000),
        ),
        ("a copy of a circuit", copy.ptr()),
    ];
    let invalid = status::INVALID_PARAMETER;
    for (what, structure) in structures {
        let answer = extension::query_counters(structure.cast(), counters.ptr());
        outcome::status(what, answer, invalid)?;
    }
    let good = f.vc.read();
    f.vc.change(|vc| vc.ConnectionId = ptr::null_mut());
    let answer = extension::query_counters(vc.cast(), counters.ptr());
    outcome::status("a damaged circuit", answer, invalid)?;
    f.vc.write(good);
    let answer = extension::query_counters(vc.cast(), ptr::null_mut());
    outcome::status("NULL counters", answer, invalid)?;
    let inside = counters.ptr().wrapping_byte_add(4);
    let answer = extension::query_counters(vc.cast(), inside);
    outcome::status("misaligned counters", answer, invalid)?;
    let answer = irql::at(irql::DISPATCH + 1, || {
        extension::query_counters(vc.cast(), counters.ptr())
    });
    outcome::status("above DISPATCH_LEVEL", answer, invalid)?;
    same("the counters' bytes", counters.bytes(), bytes)?;
    let size = size_of::<RXCEX_COUNTERS>();
    for room in [0, 8, size - 8] {
        counters.change(|counters| counters.Size = u32::try_from(room).unwrap_or_default());
        let bytes = counters.bytes();
        let answer = extension::query_counters(vc.cast(), counters.ptr());
        outcome::status(
            "counters that are too small",
            answer,
            status::BUFFER_OVERFLOW,
        )?;
        same("their bytes", counters.bytes(), bytes)?;
    }
    counters.write(asking());
    let faults = super::faults()?;
    let answer = faults.all(|| {
        irql::at(irql::DISPATCH, || {
            extension::query_counters(vc.cast(), counters.ptr())
        })
    });
    ok("without memory, at DISPATCH_LEVEL", answer)?;
    before.unchanged(run, "queries")?;
    f.close()
}
