//! Chained receives: whole packets as chains of MDLs, in the order of the stream.

use alloc::{format, vec::Vec};
use core::{ffi::c_void, ptr};

use rxce_client::RXCE_ADDRESS;
use wdk_sys::NTSTATUS;

use super::{Shared, Vector, own};
use crate::{
    client::{
        Answer, CLIENT, Call,
        chained::{CHAINS, on_chained},
    },
    engine::{self, extension::accept_chained_receives},
    fixture::{
        self, Fixture, buffer, called, endpoint_of, held, last, ok, requests, script, seen,
        wait_held,
    },
    nt::{irql, mdl::Buffer, pool::Block, status, status::Named, thread::Thread, time::PATIENCE},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    race::{BEST, Race},
    transport::{self, Chain, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "V18",
        "a chained receive reaches the client as it is, and is taken, kept or refused",
        answers,
    ),
    own(
        "V19",
        "a chain that comes while a receive is being filled is fetched, and the bytes stay in order",
        during_a_receive,
    ),
    own(
        "V20",
        "a chain behind bytes that the client has refused",
        behind_older_bytes,
    ),
    own(
        "V21",
        "chains before a competition's winner is known, during a circuit's tear-down, and for no circuit",
        early_and_late,
    ),
    own(
        "V22",
        "a provider that refuses chained receives, and each kernel call failing",
        refused_by_the_provider,
    ),
    own(
        "V23",
        "bad arguments to RxCexAcceptChainedReceives",
        bad_arguments,
    ),
];

/// TDI_EVENT_CHAINED_RECEIVE.
const EVENT: usize = 7;
const REFUSED: Option<Named> = Some(Named(status::DATA_NOT_ACCEPTED));
const TAKEN: Option<Named> = Some(Named(status::SUCCESS));

fn accept(address: *mut RXCE_ADDRESS) -> NTSTATUS {
    accept_chained_receives(address, Some(on_chained))
}

/// An address that takes chains, with one circuit.
fn connected() -> Outcome<Fixture> {
    CHAINS.update(crate::client::chained::Chains::reset);
    let f = Fixture::addressed(Personality::Orderly)?;
    ok("RxCexAcceptChainedReceives", accept(f.address.ptr()))?;
    same("the event type", last(Kind::SetHandler)?.code, 7)?;
    ok("RxCeBuildConnection", f.connect()?)?;
    Ok(f)
}

fn chain_of(data: &Buffer) -> Chain {
    Chain {
        length: data.length() - 3,
        offset: 3,
        mdl: data.mdl(),
        descriptor: ptr::without_provenance_mut::<c_void>(0xDE5C),
    }
}

fn indicate(endpoint: usize, data: &Buffer) -> Option<Named> {
    transport::chained(endpoint, None, chain_of(data)).map(Named)
}

fn answer(status: NTSTATUS) {
    CHAINS.update(|chains| chains.answer = status);
}

/// How many chains the client got; each with the context of its connection.
fn chains() -> Outcome<usize> {
    holds(
        "the context is the connection's, the flags the transport's",
        !CHAINS.read(|chains| chains.wrong_context),
    )?;
    Ok(CHAINS.read(|chains| chains.calls))
}

fn stream() -> Vec<u8> {
    CLIENT.read(|client| client.stream().to_vec())
}

fn counted(f: &Fixture) -> Outcome<[u64; 3]> {
    let mut counters = super::extension_counters::asking();
    let structure = f.vc.ptr().cast();
    ok(
        "RxCexQueryCounters",
        engine::extension::query_counters(structure, &raw mut counters),
    )?;
    Ok([
        counters.Receives,
        counters.BytesReceived,
        counters.ReceivesRefused,
    ])
}

fn answers(run: &Run) -> Outcome {
    let f = connected()?;
    let data = buffer(&[7; 103])?;
    let tail = buffer(&[8; 10])?;
    data.chain(tail.mdl());
    let (before, sent) = (run.balance(), requests());
    let kept = [
        (status::SUCCESS, status::SUCCESS, [1, 100, 0]),
        (status::PENDING, status::PENDING, [2, 200, 0]),
        (
            status::DATA_NOT_ACCEPTED,
            status::DATA_NOT_ACCEPTED,
            [2, 200, 1],
        ),
        // What no such callback may answer is a refusal.
        (
            status::MORE_PROCESSING_REQUIRED,
            status::DATA_NOT_ACCEPTED,
            [2, 200, 2],
        ),
        (status::SUCCESS, status::SUCCESS, [3, 300, 2]),
    ];
    for (round, (said, expected, counters)) in kept.into_iter().enumerate() {
        answer(said);
        let what = format!("the client says {:?}", Named(said));
        let level = if round == 0 {
            irql::PASSIVE
        } else {
            irql::DISPATCH
        };
        let seen = irql::at(level, || indicate(f.endpoint(), &data));
        same(&what, seen, Some(Named(expected)))?;
        same("chains", chains()?, round + 1)?;
        let got = CHAINS.read(|chains| chains.last);
        same(
            "what came: the very chain",
            got,
            Some((f.vc.ptr(), chain_of(&data))),
        )?;
        same("the circuit's counters", counted(&f)?, counters)?;
    }
    same("requests for all that", requests(), sent)?;
    same("Receive callbacks", called(Call::Receive), 0)?;
    before.unchanged(run, "chains")?;
    // What the client has refused may come again by the other way.
    let again = transport::receive(f.endpoint(), &mut [9; 5], 5);
    same("the indication", again.map(|seen| seen.taken), Some(5))?;
    same("its bytes", stream(), [9; 5].to_vec())?;
    // The tear-down does not wait for a chain that the client keeps.
    answer(status::PENDING);
    let seen = indicate(f.endpoint(), &data);
    same("a chain that is kept", seen, Some(Named(status::PENDING)))?;
    f.close()
}

fn during_a_receive(_run: &Run) -> Outcome {
    let f = connected()?;
    let (memory, data) = (buffer(&[0; 30])?, buffer(&[2; 23])?);
    CLIENT.update(|client| client.answer(Answer::More(memory.mdl(), 30)));
    transport::receive(f.endpoint(), &mut [1; 4], 34);
    same("receives under way", held(Kind::Receive), 1)?;
    same("a chain meanwhile", indicate(f.endpoint(), &data), REFUSED)?;
    same("chains that the client got", chains()?, 0)?;
    same(
        "bytes into the client's memory",
        transport::complete_with_data(&[1; 30]),
        Some(30),
    )?;
    same("DataReady", called(Call::DataReady), 1)?;
    same("a receive for the chain's bytes", held(Kind::Receive), 1)?;
    transport::complete_with_data(&[2; 20]);
    let expected = [[1; 4].as_slice(), &[2; 20]].concat();
    same("the bytes, in order", stream(), expected)?;
    same("receives under way", held(Kind::Receive), 0)?;
    same("the next chain", indicate(f.endpoint(), &data), TAKEN)?;
    same("chains that the client got", chains()?, 1)?;
    same(
        "bytes before it",
        CHAINS.read(|chains| chains.received_before),
        24,
    )?;
    f.close()
}

/// Lets `bytes` wait in the engine: fetched, and refused.
fn leave_waiting(f: &Fixture, bytes: &[u8]) -> Outcome {
    let (memory, stray) = (buffer(&[0; 8])?, buffer(&[0; 9])?);
    CLIENT.update(|client| client.answer(Answer::Into(memory.mdl(), 8)));
    transport::receive(f.endpoint(), &mut [1; 8], 8);
    same("a stray chain", indicate(f.endpoint(), &stray), REFUSED)?;
    transport::complete_with_data(&[1; 8]);
    CLIENT.update(|client| client.answer(Answer::Refuse));
    same(
        "bytes that are fetched",
        transport::complete_with_data(bytes),
        Some(bytes.len()),
    )?;
    same("receives under way", held(Kind::Receive), 0)?;
    CLIENT.update(crate::client::Client::forget_calls);
    CHAINS.update(crate::client::chained::Chains::reset);
    Ok(())
}

fn behind_older_bytes(_run: &Run) -> Outcome {
    let data = buffer(&[5; 13])?;
    // The client takes the older bytes, and the chain as it is.
    let f = connected()?;
    leave_waiting(&f, &[4; 6])?;
    CLIENT.update(|client| client.answer(Answer::Take));
    same("the chain", indicate(f.endpoint(), &data), TAKEN)?;
    same("the older bytes", stream(), [4; 6].to_vec())?;
    same(
        "bytes before the chain",
        CHAINS.read(|chains| chains.received_before),
        6,
    )?;
    same("chains that the client got", chains()?, 1)?;
    // It refuses them again: the chain's bytes are fetched behind them.
    leave_waiting(&f, &[4; 6])?;
    same("the chain", indicate(f.endpoint(), &data), REFUSED)?;
    same("chains that the client got", chains()?, 0)?;
    same("a receive for its bytes", held(Kind::Receive), 1)?;
    CLIENT.update(|client| client.answer(Answer::Take));
    transport::complete_with_data(&[5; 10]);
    let expected = [[4; 6].as_slice(), &[5; 10]].concat();
    same("the bytes, in order", stream(), expected)?;
    // It wants them, and what follows, in its memory.
    leave_waiting(&f, &[4; 6])?;
    let memory = buffer(&[0; 16])?;
    CLIENT.update(|client| client.answer(Answer::Into(memory.mdl(), 16)));
    same("the chain", indicate(f.endpoint(), &data), REFUSED)?;
    same("chains that the client got", chains()?, 0)?;
    same("a receive for the rest", last(Kind::Receive)?.length, 10)?;
    transport::complete_with_data(&[5; 10]);
    let expected = [[4; 6].as_slice(), &[5; 10]].concat();
    same("the client's memory", memory.bytes(), expected)?;
    same("DataReady", called(Call::DataReady), 1)?;
    same("receives under way", held(Kind::Receive), 0)?;
    f.close()
}

fn early_and_late(run: &Run) -> Outcome {
    early(run)?;
    CLIENT.update(crate::client::Client::forget_calls);
    late()
}

/// The engine holds back what comes before there is a winner.
fn early(_run: &Run) -> Outcome {
    let data = buffer(&[6; 13])?;
    CHAINS.update(crate::client::chained::Chains::reset);
    let race = Race::among(2)?;
    for address in race.addresses() {
        ok("RxCexAcceptChainedReceives", accept(address))?;
    }
    race.connects(Script::PEND);
    outcome::status("the routine", race.build(BEST), status::PENDING)?;
    race.end(1, status::SUCCESS)?;
    let seen = indicate(race.endpoint(1), &data);
    same("a chain before there is a winner", seen, REFUSED)?;
    same("receives before there is a winner", held(Kind::Receive), 0)?;
    race.end(0, status::CONNECTION_REFUSED)?;
    race.completed()?;
    wait_held(Kind::Receive)?;
    transport::complete_with_data(&[6; 10]);
    CLIENT.wait_until(PATIENCE, |client| client.stream().len() >= 10);
    same("its bytes", stream(), [6; 10].to_vec())?;
    same("chains that the client got", chains()?, 0)?;
    race.losers_gone()?;
    race.close()
}

fn late() -> Outcome {
    let mut f = connected()?;
    let data = buffer(&[6; 13])?;
    let vc = Shared(f.add_vc()?);
    // A circuit that is being torn down.
    let endpoint = endpoint_of(vc.0);
    script(Kind::Release, Script::PEND);
    let down = Thread::start(move || vc.tear_down())?;
    let waits = wait_held(Kind::Release);
    let late = indicate(endpoint, &data);
    transport::complete(Kind::Release, status::SUCCESS);
    ok("RxCeTearDownVC", down.join("RxCeTearDownVC")?)?;
    waits?;
    same("a chain during the tear-down", late, TAKEN)?;
    // Its number afterwards, and numbers that never were.
    same("a chain after it", indicate(endpoint, &data), REFUSED)?;
    for token in [0_usize, 1, usize::MAX, f.vc.ptr().addr()] {
        let token = ptr::without_provenance_mut(token);
        let seen = transport::chained(f.endpoint(), Some(token), chain_of(&data));
        same("a chain for no circuit", seen.map(Named), REFUSED)?;
    }
    same("chains that the client got", chains()?, 0)?;
    let old = f.endpoint();
    let token = TRANSPORT.read(|state| state.file(old).map(|file| file.token));
    f.close()?;
    let seen = transport::chained(old, token, chain_of(&data));
    same("a chain after everything", seen.map(Named), REFUSED)?;
    same("chains that the client got", chains()?, 0)
}

fn refused_by_the_provider(run: &Run) -> Outcome {
    let faults = super::faults()?;
    let f = Fixture::addressed(Personality::Orderly)?;
    CHAINS.update(crate::client::chained::Chains::reset);
    let (bytes, before) = (f.address.bytes(), run.balance());
    for refusal in [
        status::INVALID_PARAMETER,
        status::INVALID_ADDRESS_COMPONENT,
        status::INVALID_DEVICE_REQUEST,
    ] {
        TRANSPORT.update(|state| {
            if let Some(slot) = state.handler_status.get_mut(EVENT) {
                *slot = refusal;
            }
        });
        let asked = seen(Kind::SetHandler);
        outcome::status("the provider refuses", accept(f.address.ptr()), refusal)?;
        same("registrations", seen(Kind::SetHandler), asked + 1)?;
    }
    TRANSPORT.update(|state| {
        if let Some(slot) = state.handler_status.get_mut(EVENT) {
            *slot = status::SUCCESS;
        }
    });
    for nth in 1..100 {
        let (answer, calls) = faults.nth(nth, || accept(f.address.ptr()));
        if calls < nth {
            ok("nothing fails", answer)?;
            holds("something could fail", nth > 1)?;
            break;
        }
        outcome::status(
            &format!("call {nth} fails"),
            answer,
            status::INSUFFICIENT_RESOURCES,
        )?;
        before.unchanged(run, "a failing call")?;
    }
    same("the structure's bytes", f.address.bytes(), bytes)?;
    let again = accept(f.address.ptr());
    outcome::status("a second time", again, status::INVALID_PARAMETER)?;
    ok("RxCeBuildConnection", f.connect()?)?;
    // With all memory gone a chain still comes.
    let data = buffer(&[1; 20])?;
    let seen = faults.all(|| irql::at(irql::DISPATCH, || indicate(f.endpoint(), &data)));
    same("a chain without memory", seen, TAKEN)?;
    f.close()
}

fn bad_arguments(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Orderly)?;
    let copy = Block::new(f.address.read()).ok_or_else(Trouble::no_memory)?;
    let (before, sent) = (run.balance(), requests());
    let invalid = status::INVALID_PARAMETER;
    let address = f.address.ptr();
    let structures = [
        ("NULL", ptr::null_mut()),
        ("a misaligned address", address.wrapping_byte_add(4)),
        (
            "an unmapped one",
            ptr::without_provenance_mut(0xFFFF_8000_0000_3000),
        ),
        ("a copy of an address", copy.ptr()),
        ("a transport", f.transport.ptr().cast()),
    ];
    for (what, structure) in structures {
        outcome::status(what, accept(structure), invalid)?;
    }
    let answer = accept_chained_receives(address, None);
    outcome::status("no callback", answer, invalid)?;
    let good = f.address.read();
    f.address
        .change(|address| address.hAddress = ptr::null_mut());
    outcome::status("a damaged address", accept(address), invalid)?;
    f.address.write(good);
    let transport = f.transport.read();
    f.transport.change(|transport| {
        // SAFETY: The signature is the structure's first member, by any of its names.
        unsafe { (&raw mut *transport).cast::<u32>().write(0) }
    });
    outcome::status("on a damaged transport", accept(address), invalid)?;
    f.transport.write(transport);
    for level in [irql::DISPATCH, irql::DISPATCH + 1] {
        let answer = irql::at(level, || accept(address));
        outcome::status("above APC_LEVEL", answer, invalid)?;
    }
    same("requests", requests(), sent)?;
    before.unchanged(run, "bad arguments")?;
    ok("RxCeBuildConnection", f.connect()?)?;
    let sent = requests();
    let late = accept(address);
    outcome::status("an address with a connection", late, invalid)?;
    same("requests", requests(), sent)?;
    let no_handler = indicate(f.endpoint(), &buffer(&[1; 9])?);
    same("nothing is registered", no_handler, None)?;
    ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    let connection = f.connection.ptr();
    ok(
        "RxCeTearDownConnection",
        engine::tear_down_connection(connection),
    )?;
    let answer = irql::at(irql::APC, || accept(address));
    ok("at APC_LEVEL, with no connection any more", answer)?;
    same("callbacks", fixture::calls(), 0)?;
    f.close()
}
