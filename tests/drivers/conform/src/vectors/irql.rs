//! The levels and regions that callers may come from (rxce.md §3.1).

use alloc::format;

use rxce_client::{RXCE_VC_DISCONNECTED, RXCE_VC_SIGNATURE};
use wdk_sys::NTSTATUS;

use super::{Vector, multiple, own};
use crate::{
    client::{self, Call},
    engine,
    fixture::{
        self, Fixture, LOCAL, PEER, buffer, called, disconnects, requests, send, send_and_wait,
    },
    nt::{irql, pool::Block, status},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    race::{FIRST, Race},
    transport::{self, FileKind, Kind, Personality, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "A1",
        "every routine at PASSIVE_LEVEL, at APC_LEVEL, and with APCs disabled",
        below_dispatch,
    ),
    own(
        "A2",
        "every routine at DISPATCH_LEVEL and above",
        at_dispatch,
    ),
];

/// A way to be called.
type Surroundings = fn(&mut dyn FnMut() -> NTSTATUS) -> NTSTATUS;

fn below_dispatch(run: &Run) -> Outcome {
    let surroundings: [(&str, Surroundings); 3] = [
        ("at PASSIVE_LEVEL", |call| call()),
        ("at APC_LEVEL", |call| irql::at(irql::APC, call)),
        ("in a guarded region", |call| irql::guarded(call)),
    ];
    for (name, from) in surroundings {
        a_whole_life(run, name, from)?;
        queries_and_packets(run, name, from)?;
        // Opens, closes and the associate request were checked by the transport as they came: PASSIVE_LEVEL, APCs on.
        same(
            "endpoints opened",
            fixture::seen(Kind::Open(FileKind::Endpoint)),
            4,
        )?;
        fixture::endpoint_closed(4)?;
        holds(
            "the transport is clean",
            TRANSPORT.update(transport::state::State::reset),
        )?;
        client::CLIENT.update(client::Client::reset);
    }
    Ok(())
}

fn a_whole_life(run: &Run, name: &str, from: Surroundings) -> Outcome {
    let ok = |routine: &str, mut call: &mut dyn FnMut() -> NTSTATUS| {
        fixture::ok(&format!("{routine} {name}"), from(&mut call))
    };
    let no_memory = Trouble::no_memory;
    let before = run.balance();
    let (transport, address) = (
        Block::zeroed().ok_or_else(no_memory)?,
        Block::zeroed().ok_or_else(no_memory)?,
    );
    let (connection, vc, more) = (
        Block::zeroed().ok_or_else(no_memory)?,
        Block::zeroed().ok_or_else(no_memory)?,
        Block::zeroed().ok_or_else(no_memory)?,
    );
    let (local, peer) = (
        Block::new(LOCAL).ok_or_else(no_memory)?,
        Block::new(PEER).ok_or_else(no_memory)?,
    );
    let device = transport::device_name(Personality::Orderly);
    let data = buffer(b"at any level")?;
    let length = 12;
    let mut on_address = client::address_handlers();
    let mut on_connection = client::connection_handlers();
    let mut information = fixture::information(&peer);

    ok("RxCeBuildTransport", &mut || {
        fixture::bind(&transport, &device)
    })?;
    ok("RxCeBuildAddress", &mut || {
        let context = client::ADDRESS_CONTEXT;
        engine::build_address(
            address.ptr(),
            transport.ptr(),
            local.ptr().cast(),
            &raw mut on_address,
            context,
        )
    })?;
    ok("RxCeBuildConnection", &mut || {
        let context = client::CONNECTION_CONTEXT;
        let (information, handlers) = (&raw mut information, &raw mut on_connection);
        engine::build_connection(
            address.ptr(),
            information,
            handlers,
            context,
            connection.ptr(),
            vc.ptr(),
        )
    })?;
    ok("RxCeBuildVC", &mut || {
        engine::build_vc(more.ptr(), connection.ptr())
    })?;
    ok("an asynchronous RxCeSend", &mut || {
        engine::send(vc.ptr(), 0, data.mdl(), length, core::ptr::null_mut())
    })?;
    ok("a synchronous RxCeSend", &mut || {
        engine::send(
            vc.ptr(),
            engine::SEND_SYNCHRONOUS,
            data.mdl(),
            length,
            core::ptr::null_mut(),
        )
    })?;
    same("SendComplete callbacks", called(Call::SendComplete), 1)?;
    ok("RxCeInitiateVCDisconnect", &mut || {
        engine::initiate(vc.ptr())
    })?;
    same("State", vc.read().State, RXCE_VC_DISCONNECTED)?;
    ok("RxCeTearDownVC", &mut || engine::tear_down_vc(vc.ptr()))?;
    ok("RxCeTearDownVC of an active circuit", &mut || {
        engine::tear_down_vc(more.ptr())
    })?;
    disconnects(2, 0)?;
    ok("RxCeTearDownConnection", &mut || {
        engine::tear_down_connection(connection.ptr())
    })?;
    ok("RxCeTearDownAddress", &mut || {
        engine::tear_down_address(address.ptr())
    })?;
    ok("RxCeTearDownTransport", &mut || {
        engine::tear_down_transport(transport.ptr())
    })?;
    holds(
        "all structures are zero",
        vc.is_zero() && more.is_zero() && connection.is_zero(),
    )?;
    holds(
        "all structures are zero",
        address.is_zero() && transport.is_zero(),
    )?;
    before.unchanged(run, name)
}

/// The routines beyond the life of a circuit: two circuits that compete, queries, a datagram, a packet.
fn queries_and_packets(run: &Run, name: &str, from: Surroundings) -> Outcome {
    let ok = |routine: &str, mut call: &mut dyn FnMut() -> NTSTATUS| {
        fixture::ok(&format!("{routine} {name}"), from(&mut call))
    };
    let before = run.balance();
    let race = Race::among(2)?;
    ok("RxCeBuildConnectionOverMultipleTransports", &mut || {
        race.build(FIRST)
    })?;
    race.losers_gone()?;
    let stack = race.stacks.first().ok_or_else(Trouble::no_memory)?;
    transport::answer_queries(&[5; 60], status::SUCCESS);
    for class in 1..=4 {
        ok("RxCeQueryInformation", &mut || {
            fixture::query(race.vc.ptr(), class, &mut [0; 64])
        })?;
    }
    let mut adapter = [0; 60];
    ok("RxCeQueryAdapterStatus", &mut || {
        engine::query_adapter_status(stack.transport.ptr(), adapter.as_mut_ptr())
    })?;
    let information = Block::zeroed().ok_or_else(Trouble::no_memory)?;
    ok("RxCeQueryTransportInformation", &mut || {
        engine::query_transport_information(stack.transport.ptr(), information.ptr())
    })?;
    let cancelled = from(&mut || {
        let null = core::ptr::null_mut();
        engine::cancel_connect_request(stack.address.ptr(), null, core::ptr::null_mut())
    });
    outcome::status(
        "RxCeCancelConnectRequest",
        cancelled,
        status::NOT_IMPLEMENTED,
    )?;
    ok("RxCeAllocateIrpWithMDL and RxCeFreeIrp", &mut || {
        let irp = engine::allocate_irp(1, false, core::ptr::null_mut());
        // SAFETY: Never sent, freed once.
        unsafe { engine::free_irp(irp) };
        if irp.is_null() {
            status::INSUFFICIENT_RESOURCES
        } else {
            status::SUCCESS
        }
    })?;
    race.close()?;
    TRANSPORT.update(|state| state.more_services = CONNECTIONLESS);
    let f = Fixture::addressed(Personality::Orderly)?;
    let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
    let data = buffer(b"datagram")?;
    ok("RxCeSendDatagram", &mut || {
        fixture::send_datagram(&f, &peer, &data, 1)
    })?;
    same("the address's SendComplete", called(Call::DatagramSent), 1)?;
    f.close()?;
    multiple::settled(run, &before)
}

/// TDI_SERVICE_CONNECTIONLESS_MODE.
const CONNECTIONLESS: u32 = 4;

fn at_dispatch(run: &Run) -> Outcome {
    // An address that takes datagrams besides.
    TRANSPORT.update(|state| state.more_services = CONNECTIONLESS);
    let mut f = Fixture::orderly()?;
    let victim = f.add_vc()?;
    let data = buffer(b"raised")?;
    refused(run, &f, irql::DISPATCH, &data)?;
    // The routines that neither wait nor touch handles work (rxce.md §3.1.4).
    TRANSPORT.update(|state| state.dispatch_allowed = true);
    let (sends, sent) = (called(Call::SendComplete), requests());
    let answer = irql::at(irql::DISPATCH, || send(f.vc.ptr(), &data, 3));
    fixture::ok("an asynchronous send at DISPATCH_LEVEL", answer)?;
    same(
        "SendComplete callbacks",
        called(Call::SendComplete),
        sends + 1,
    )?;
    let answer = irql::at(irql::DISPATCH, || engine::initiate(victim));
    fixture::ok("initiate at DISPATCH_LEVEL", answer)?;
    same("State", fixture::state_of(victim), RXCE_VC_DISCONNECTED)?;
    same("requests", requests(), sent + 2)?;
    disconnects(1, 0)?;
    works_at_dispatch(run, &f, &data)?;

    // Above DISPATCH_LEVEL nothing works.
    for level in [irql::DISPATCH + 1, 12] {
        refused(run, &f, level, &data)?;
        let (before, sent, bytes) = (run.balance(), requests(), f.vc.bytes());
        let sending = irql::at(level, || send(f.vc.ptr(), &data, 4));
        outcome::status(
            "an asynchronous send above DISPATCH_LEVEL",
            sending,
            status::INVALID_PARAMETER,
        )?;
        let initiating = irql::at(level, || engine::initiate(f.vc.ptr()));
        outcome::status(
            "initiate above DISPATCH_LEVEL",
            initiating,
            status::INVALID_PARAMETER,
        )?;
        nothing_works_at(&f, level, &data)?;
        same("the circuit's bytes", f.vc.bytes(), bytes)?;
        same("requests", requests(), sent)?;
        before.unchanged(run, "refused calls")?;
    }
    fixture::ok(
        "a send at PASSIVE_LEVEL afterwards",
        send_and_wait(f.vc.ptr(), &data),
    )?;
    same(
        "SendComplete callbacks",
        called(Call::SendComplete),
        sends + 1,
    )?;
    f.close()
}

/// What neither waits nor touches handles, besides sends and disconnects.
fn works_at_dispatch(run: &Run, f: &Fixture, data: &crate::nt::mdl::Buffer) -> Outcome {
    let at = |call: &mut dyn FnMut() -> NTSTATUS| irql::at(irql::DISPATCH, call);
    let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
    let information = Block::zeroed().ok_or_else(Trouble::no_memory)?;
    let (before, sent) = (run.balance(), requests());
    let datagram = at(&mut || fixture::send_datagram(f, &peer, data, 7));
    fixture::ok("RxCeSendDatagram at DISPATCH_LEVEL", datagram)?;
    same("the address's SendComplete", called(Call::DatagramSent), 1)?;
    for class in [1, 2] {
        let answer = at(&mut || fixture::query(f.vc.ptr(), class, &mut [0; 64]));
        fixture::ok(&format!("class {class} at DISPATCH_LEVEL"), answer)?;
    }
    for class in [3, 4] {
        let answer = at(&mut || fixture::query(f.vc.ptr(), class, &mut [0; 64]));
        let what = format!("class {class}, which waits, at DISPATCH_LEVEL");
        outcome::status(&what, answer, status::INVALID_PARAMETER)?;
    }
    let transport = f.transport.ptr();
    let answer = at(&mut || engine::query_transport_information(transport, information.ptr()));
    fixture::ok("RxCeQueryTransportInformation at DISPATCH_LEVEL", answer)?;
    let irp = irql::at(irql::DISPATCH, || {
        engine::allocate_irp(1, false, data.mdl())
    });
    holds("RxCeAllocateIrpWithMDL at DISPATCH_LEVEL", !irp.is_null())?;
    // SAFETY: Never sent, freed once.
    irql::at(irql::DISPATCH, || unsafe { engine::free_irp(irp) });
    same("requests", requests(), sent + 1)?;
    before.unchanged(run, "calls at DISPATCH_LEVEL")
}

/// Above DISPATCH_LEVEL the same routines do nothing either.
fn nothing_works_at(f: &Fixture, level: u8, data: &crate::nt::mdl::Buffer) -> Outcome {
    let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
    let information = Block::filled(0xCC).ok_or_else(Trouble::no_memory)?;
    let mut buffer = [0xCC; 64];
    let kept = engine::allocate_irp(1, false, data.mdl());
    let sends = called(Call::DatagramSent);
    let (answers, irp) = irql::at(level, || {
        let answers = [
            fixture::send_datagram(f, &peer, data, 8),
            fixture::query(f.vc.ptr(), 1, &mut buffer),
            fixture::query(f.vc.ptr(), 2, &mut buffer),
            engine::query_transport_information(f.transport.ptr(), information.ptr()),
        ];
        // SAFETY: Never sent; above DISPATCH_LEVEL it is not freed.
        unsafe { engine::free_irp(kept) };
        (answers, engine::allocate_irp(1, false, data.mdl()))
    });
    // SAFETY: As above: it is freed here, once.
    unsafe { engine::free_irp(kept) };
    for answer in answers {
        let what = format!("a routine at level {level}");
        outcome::status(&what, answer, status::INVALID_PARAMETER)?;
    }
    holds("nothing is copied", buffer.iter().all(|&byte| byte == 0xCC))?;
    let untouched = information.bytes().iter().all(|&byte| byte == 0xCC);
    holds("nothing is copied", untouched)?;
    holds("no packet", irp.is_null())?;
    same(
        "the address's SendComplete",
        called(Call::DatagramSent),
        sends,
    )
}

/// The routines which must wait or use handles are refused at `level`, and change nothing.
fn refused(run: &Run, f: &Fixture, level: u8, data: &crate::nt::mdl::Buffer) -> Outcome {
    let no_memory = Trouble::no_memory;
    let (transport, address) = (
        Block::filled(0xCC).ok_or_else(no_memory)?,
        Block::filled(0xCC).ok_or_else(no_memory)?,
    );
    let (connection, vc) = (
        Block::filled(0xCC).ok_or_else(no_memory)?,
        Block::filled(0xCC).ok_or_else(no_memory)?,
    );
    let (local, peer) = (
        Block::new(LOCAL).ok_or_else(no_memory)?,
        Block::new(PEER).ok_or_else(no_memory)?,
    );
    let device = transport::device_name(Personality::Orderly);
    let length = data.length();
    let mut on_address = client::address_handlers();
    let mut on_connection = client::connection_handlers();
    let mut information = fixture::information(&peer);
    let mut adapter = [0xCC_u8; 60];
    let race = Race::among(1)?;
    let mut addresses = race.addresses();
    let (before, sent) = (run.balance(), requests());
    let bytes = (
        f.vc.bytes(),
        f.connection.bytes(),
        f.address.bytes(),
        f.transport.bytes(),
    );

    let answers = irql::at(level, || {
        [
            fixture::bind(&transport, &device),
            engine::build_address(
                address.ptr(),
                f.transport.ptr(),
                local.ptr().cast(),
                &raw mut on_address,
                core::ptr::null_mut(),
            ),
            engine::build_connection(
                f.address.ptr(),
                &raw mut information,
                &raw mut on_connection,
                core::ptr::null_mut(),
                connection.ptr(),
                vc.ptr(),
            ),
            engine::build_vc(vc.ptr(), f.connection.ptr()),
            engine::send(
                f.vc.ptr(),
                engine::SEND_SYNCHRONOUS,
                data.mdl(),
                length,
                core::ptr::null_mut(),
            ),
            engine::tear_down_vc(f.vc.ptr()),
            engine::tear_down_connection(f.connection.ptr()),
            engine::tear_down_address(f.address.ptr()),
            engine::tear_down_transport(f.transport.ptr()),
            engine::query_adapter_status(f.transport.ptr(), adapter.as_mut_ptr()),
            race.build_over(FIRST, &mut addresses, core::ptr::null_mut()),
        ]
    });
    let cancelled = irql::at(level, || {
        let null = core::ptr::null_mut();
        engine::cancel_connect_request(f.address.ptr(), null, &raw mut information)
    });
    outcome::status(
        "RxCeCancelConnectRequest",
        cancelled,
        status::NOT_IMPLEMENTED,
    )?;
    let routines = [
        "RxCeBuildTransport",
        "RxCeBuildAddress",
        "RxCeBuildConnection",
        "RxCeBuildVC",
        "a synchronous RxCeSend",
        "RxCeTearDownVC",
        "RxCeTearDownConnection",
        "RxCeTearDownAddress",
        "RxCeTearDownTransport",
        "RxCeQueryAdapterStatus",
        "RxCeBuildConnectionOverMultipleTransports",
    ];
    for (routine, answer) in routines.into_iter().zip(answers) {
        outcome::status(
            &format!("{routine} at level {level}"),
            answer,
            status::INVALID_PARAMETER,
        )?;
    }
    let untouched = |bytes: alloc::vec::Vec<u8>| bytes.iter().all(|&byte| byte == 0xCC);
    holds(
        "storage of the refused builds is unchanged",
        untouched(transport.bytes()) && untouched(address.bytes()),
    )?;
    holds(
        "storage of the refused builds is unchanged",
        untouched(connection.bytes()) && untouched(vc.bytes()),
    )?;
    holds("nothing is copied", untouched(adapter.to_vec()))?;
    holds(
        "storage of the refused builds is unchanged",
        untouched(race.connection.bytes()) && untouched(race.vc.bytes()),
    )?;
    let now = (
        f.vc.bytes(),
        f.connection.bytes(),
        f.address.bytes(),
        f.transport.bytes(),
    );
    same("the live structures' bytes", now, bytes)?;
    same("requests", requests(), sent)?;
    same(
        "the live circuit's signature",
        f.vc.bytes().first_chunk().copied(),
        Some(RXCE_VC_SIGNATURE.to_le_bytes()),
    )?;
    before.unchanged(run, "refused calls")?;
    drop(race);
    TRANSPORT.update(|state| state.dispatch_allowed = true);
    Ok(())
}
