//! Received datagrams (rxce.md §6): the address's callback, "more processing", and what a tear-down does to it.

use alloc::{format, vec::Vec};
use core::ptr;

use rxce_client::{RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION_EVENT_HANDLER};

use super::{Shared, Vector, documented, own};
use crate::{
    client::{self, Answer, CLIENT, Call, Lane},
    engine,
    fixture::{self, Fixture, LOCAL, PEER, buffer, called, held, last, requests},
    nt::{event::Event, pool::Block, status, status::Named, thread::Thread, time, time::SECOND},
    outcome::{Outcome, Run, Trouble, holds, same},
    transport::{self, Indication, Kind, Personality, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "D8",
        "received datagrams: taken, in part, refused, and more processing",
        answers,
    ),
    own(
        "D9",
        "received datagrams: callbacks that are missing or answer oddly",
        odd_answers,
    ),
    own(
        "D10",
        "a received datagram with each kernel call failing",
        without_memory,
    ),
    own(
        "D11",
        "an address torn down with a datagram being received",
        torn_down,
    ),
    own(
        "D12",
        "datagrams go to the address's table, never to the connection's",
        never_to_the_connection,
    ),
];

const DROPPED: Indication = Indication {
    status: status::DATA_NOT_ACCEPTED,
    taken: 0,
    request: false,
};

fn taken(count: u32) -> Indication {
    Indication {
        status: status::SUCCESS,
        taken: count,
        request: false,
    }
}

fn answer(answer: Answer) {
    CLIENT.update(|client| client.answer_on(Lane::Datagram, answer));
}

/// Indicates bytes `0..indicated` of a datagram of `available` bytes.
fn indicate(f: &Fixture, indicated: u8, available: u32) -> Option<Indication> {
    let mut data: Vec<u8> = (0..indicated).collect();
    transport::datagram(f.address_file(), &mut PEER.clone(), &mut data, available)
}

fn answers(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Datagram)?;
    let (before, sent) = (run.balance(), requests());
    same("everything taken", indicate(&f, 20, 20), Some(taken(20)))?;
    answer(Answer::TakeSome(5));
    same("a part taken", indicate(&f, 20, 20), Some(taken(5)))?;
    answer(Answer::Refuse);
    same("refused", indicate(&f, 20, 20), Some(DROPPED))?;
    let call = CLIENT.read(|client| client.last(Call::Datagram));
    let seen = call.map(|call| (call.status, call.value));
    same(
        "SourceAddressLength and BytesIndicated",
        seen,
        Some((22, 20)),
    )?;
    same("requests for all that", requests(), sent)?;
    let bytes: Vec<u8> = (0..20).chain(0..5).collect();
    let seen = CLIENT.read(|client| client.stream_on(Lane::Datagram).to_vec());
    same("bytes given to the client", seen, bytes)?;
    before.unchanged(run, "indications without a request")?;

    for (round, (length, ending)) in [
        (30, status::SUCCESS),
        (12, status::SUCCESS),
        (30, status::BUFFER_OVERFLOW),
        (0, status::CONNECTION_RESET),
    ]
    .into_iter()
    .enumerate()
    {
        let chain = buffer(&[0xFF; 30])?;
        answer(Answer::More(chain.mdl(), 30));
        let accepted = Indication {
            status: status::MORE_PROCESSING_REQUIRED,
            taken: 10,
            request: true,
        };
        same("more processing", indicate(&f, 10, 40), Some(accepted))?;
        same("pReceiveMdl", f.address.read().pReceiveMdl, chain.mdl())?;
        let record = last(Kind::ReceiveDatagram)?;
        same("length of the receive", record.length, 30)?;
        same("the receive's file", record.file, f.address_file())?;
        same("the receive's chain", record.mdl.addr(), chain.mdl().addr())?;
        same(
            "DataReady before the end",
            called(Call::DatagramReady),
            round,
        )?;
        let rest: Vec<u8> = (10..10 + length).collect();
        let copied = transport::complete_datagram(&rest, ending);
        same("bytes of the rest", copied, Some(rest.len()))?;
        // One datagram is one receive: a short one is not continued.
        same("receives held", held(Kind::ReceiveDatagram), 0)?;
        same(
            "DataReady callbacks",
            called(Call::DatagramReady),
            round + 1,
        )?;
        let ready = CLIENT.read(|client| client.last(Call::DatagramReady));
        let seen = ready.map(|ready| (ready.object.addr(), ready.value, Named(ready.status)));
        let expected = (chain.mdl().addr(), u32::from(length), Named(ending));
        same("DataReady", seen, Some(expected))?;
        let bytes = chain.bytes();
        same(
            "the client's bytes",
            bytes.get(..rest.len()),
            Some(&rest[..]),
        )?;
        holds(
            "pReceiveMdl is NULL again",
            f.address.read().pReceiveMdl.is_null(),
        )?;
        before.unchanged(run, "a datagram that was received")?;
    }
    same(
        "callbacks of the connection's kind",
        called(Call::DataReady),
        0,
    )?;
    f.close()
}

fn odd_answers(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Datagram)?;
    let (before, sent) = (run.balance(), requests());
    // More taken than there was would let a transport believe anything.
    answer(Answer::Claim(1000));
    same(
        "more taken than indicated",
        indicate(&f, 20, 20),
        Some(taken(20)),
    )?;
    answer(Answer::RefuseClaiming(5));
    same(
        "refused, and taken in part",
        indicate(&f, 20, 20),
        Some(DROPPED),
    )?;
    answer(Answer::More(ptr::null_mut(), 30));
    same(
        "more processing without a chain",
        indicate(&f, 20, 40),
        Some(taken(20)),
    )?;
    let chain = buffer(&[0xFF; 30])?;
    answer(Answer::More(chain.mdl(), 0));
    same(
        "more processing for no bytes",
        indicate(&f, 20, 40),
        Some(taken(20)),
    )?;
    same("requests for all that", requests(), sent)?;
    same("DataReady callbacks", called(Call::DatagramReady), 0)?;
    holds(
        "pReceiveMdl is NULL",
        f.address.read().pReceiveMdl.is_null(),
    )?;
    before.unchanged(run, "indications without a request")?;
    // A chain shorter than what is wanted: no transport is told a length that its memory has not (tdi.md §12).
    answer(Answer::More(chain.mdl(), 100));
    let accepted = indicate(&f, 10, 200);
    if accepted.is_some_and(|answer| answer.request) {
        let length = last(Kind::ReceiveDatagram)?.length;
        transport::complete_datagram(&[1; 30], status::SUCCESS);
        holds("a receive is no longer than its chain", length <= 30)?;
        same("DataReady callbacks", called(Call::DatagramReady), 1)?;
    }
    // Two at once: each has its own end.
    let other = buffer(&[0xFF; 30])?;
    CLIENT.update(client::Client::forget_calls);
    for chain in [&chain, &other] {
        answer(Answer::More(chain.mdl(), 30));
        let accepted = indicate(&f, 10, 40);
        holds(
            "more processing",
            accepted.is_some_and(|answer| answer.request),
        )?;
    }
    same("receives held", held(Kind::ReceiveDatagram), 2)?;
    for chain in [&chain, &other] {
        transport::complete_datagram(&[5; 30], status::SUCCESS);
        let ready = CLIENT.read(|client| client.last(Call::DatagramReady));
        let seen = ready.map(|ready| ready.object.addr());
        same("DataReady's chain", seen, Some(chain.mdl().addr()))?;
    }
    same("DataReady callbacks", called(Call::DatagramReady), 2)?;
    f.close()?;

    // A table without callbacks drops; a table without DataReady has no one to tell.
    for handlers in [
        RXCE_ADDRESS_EVENT_HANDLER::default(),
        RXCE_ADDRESS_EVENT_HANDLER {
            RxCeDataReadyEventHandler: None,
            ..client::address_handlers()
        },
    ] {
        let f = Fixture::bound(Personality::Datagram)?;
        build_address(&f, handlers)?;
        answer(Answer::More(chain.mdl(), 30));
        CLIENT.update(client::Client::forget_calls);
        let answered = indicate(&f, 10, 40);
        if handlers.RxCeReceiveDatagramEventHandler.is_none() {
            same("without a callback", answered, Some(DROPPED))?;
        } else {
            let copied = transport::complete_datagram(&[5; 30], status::SUCCESS);
            same("bytes of the rest", copied, Some(30))?;
        }
        same("DataReady callbacks", called(Call::DatagramReady), 0)?;
        f.close()?;
    }
    Ok(())
}

fn build_address(f: &Fixture, mut handlers: RXCE_ADDRESS_EVENT_HANDLER) -> Outcome {
    let local = Block::new(LOCAL).ok_or_else(Trouble::no_memory)?;
    let built = engine::build_address(
        f.address.ptr(),
        f.transport.ptr(),
        local.ptr().cast(),
        &raw mut handlers,
        client::ADDRESS_CONTEXT,
    );
    fixture::ok("RxCeBuildAddress", built)
}

fn without_memory(run: &Run) -> Outcome {
    let faults = super::faults()?;
    let f = Fixture::addressed(Personality::Datagram)?;
    let chain = buffer(&[0xFF; 30])?;
    for nth in 0..50 {
        let (before, sent) = (run.balance(), requests());
        answer(Answer::More(chain.mdl(), 30));
        CLIENT.update(client::Client::forget_calls);
        let call = || indicate(&f, 10, 40);
        let (answered, calls) = if nth == 0 {
            (faults.all(call), u32::MAX)
        } else {
            faults.nth(nth, call)
        };
        if calls < nth {
            transport::complete_datagram(&[5; 30], status::SUCCESS);
            same("DataReady callbacks", called(Call::DatagramReady), 1)?;
            holds("several calls could fail", nth > 1)?;
            return f.close();
        }
        // §6: the client gets its chain back at once, and what it took stays taken.
        same(&format!("call {nth} failing"), answered, Some(taken(10)))?;
        let ready = CLIENT.read(|client| client.last(Call::DatagramReady));
        let seen = ready.map(|ready| (ready.object.addr(), ready.value, Named(ready.status)));
        let expected = (chain.mdl().addr(), 0, Named(status::INSUFFICIENT_RESOURCES));
        same("DataReady", seen, Some(expected))?;
        same("DataReady callbacks", called(Call::DatagramReady), 1)?;
        same("requests", requests(), sent)?;
        holds(
            "pReceiveMdl is NULL",
            f.address.read().pReceiveMdl.is_null(),
        )?;
        before.unchanged(run, &format!("call {nth} failing"))?;
    }
    Err(Trouble::Failed(
        "fifty fallible calls in one indication".into(),
    ))
}

fn torn_down(_run: &Run) -> Outcome {
    // The rest of a datagram is being received: the close ends it.
    let chain = buffer(&[0xFF; 30])?;
    let f = Fixture::addressed(Personality::Datagram)?;
    answer(Answer::More(chain.mdl(), 30));
    indicate(&f, 10, 40);
    same("receives held", held(Kind::ReceiveDatagram), 1)?;
    fixture::ok(
        "RxCeTearDownAddress",
        engine::tear_down_address(f.address.ptr()),
    )?;
    same("DataReady callbacks", called(Call::DatagramReady), 1)?;
    let ready = CLIENT.read(|client| client.last(Call::DatagramReady));
    let seen = ready.map(|ready| (ready.object.addr(), ready.value, Named(ready.status)));
    let expected = (chain.mdl().addr(), 0, Named(status::CONNECTION_ABORTED));
    same("DataReady", seen, Some(expected))?;
    f.close()?;

    // The callback is running when the tear-down comes, and then wants more.
    let (entered, go_on) = (Event::new(), Event::new());
    let f = Fixture::addressed(Personality::Datagram)?;
    let file = f.address_file();
    CLIENT.update(|client| {
        client.forget_calls();
        client.answer_on(Lane::Datagram, Answer::More(chain.mdl(), 30));
        client.gate(&entered, &go_on);
    });
    let indicating =
        Thread::start(move || transport::datagram(file, &mut PEER.clone(), &mut [1; 10], 40))?;
    let inside = entered.wait(time::PATIENCE);
    let address = Shared(f.address.ptr());
    let tearing = Thread::start(move || address.tear_down_address())?;
    let waits = !tearing.ends_within(SECOND);
    go_on.set();
    let answered = indicating.join("the datagram handler")?;
    fixture::ok("RxCeTearDownAddress", tearing.join("RxCeTearDownAddress")?)?;
    holds("the callback was entered", inside)?;
    holds("RxCeTearDownAddress waits for a callback that runs", waits)?;
    holds("the indication was answered", answered.is_some())?;
    same("DataReady callbacks", called(Call::DatagramReady), 1)?;
    let ready = CLIENT.read(|client| client.last(Call::DatagramReady));
    let failed = ready.is_some_and(|ready| ready.status < 0 && ready.value == 0);
    holds("DataReady tells of a failure", failed)?;
    let calls = fixture::calls();
    let late = transport::datagram(file, &mut PEER.clone(), &mut [1; 10], 10);
    same("a datagram after the address", late, Some(DROPPED))?;
    let possible = transport::error(file, status::LINK_FAILED);
    same(
        "an error after the address",
        possible,
        Some(status::SUCCESS),
    )?;
    same("callbacks", fixture::calls(), calls)?;
    f.close()
}

fn never_to_the_connection(_run: &Run) -> Outcome {
    // Streams and datagrams on one address: TDI_SERVICE_CONNECTIONLESS_MODE besides.
    TRANSPORT.update(|state| state.more_services = 4);
    let f = Fixture::addressed(Personality::Orderly)?;
    let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
    let mut information = fixture::information(&peer);
    let mut handlers = RXCE_CONNECTION_EVENT_HANDLER {
        // Would be called with the connection's context, which the recorder reports.
        RxCeReceiveDatagramEventHandler: client::address_handlers().RxCeReceiveDatagramEventHandler,
        ..client::connection_handlers()
    };
    let built = engine::build_connection(
        f.address.ptr(),
        &raw mut information,
        &raw mut handlers,
        client::CONNECTION_CONTEXT,
        f.connection.ptr(),
        f.vc.ptr(),
    );
    fixture::ok("RxCeBuildConnection", built)?;
    same("a datagram", indicate(&f, 10, 10), Some(taken(10)))?;
    same("datagram callbacks", called(Call::Datagram), 1)?;
    let data = transport::receive(f.endpoint(), &mut [1; 10], 10);
    same("data of the stream", data, Some(taken(10)))?;
    same("datagram callbacks", called(Call::Datagram), 1)?;
    same("Receive callbacks", called(Call::Receive), 1)?;
    let wrong = CLIENT.read(client::Client::context_was_wrong);
    holds("the contexts were those of each table", !wrong)?;
    f.close()
}
