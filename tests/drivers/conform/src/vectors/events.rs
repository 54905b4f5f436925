//! The engine's event handlers (rxce.md §6).

use alloc::{format, vec::Vec};

use rxce_client::RXCE_VC_DISCONNECTED;

use super::{ABORT, Shared, Vector, documented, own};
use crate::{
    client::{Answer, CLIENT, Call},
    engine,
    fixture::{
        self, Fixture, buffer, called, disconnects, endpoint_of, held, last, requests, script,
        script_hook, state_of, wait_held,
    },
    nt::{event::Event, status, thread::Thread, time},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, FileKind, Indication, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "E1",
        "handlers called after the address was torn down",
        after_the_address,
    ),
    own("E2", "an address error with three circuits", address_error),
    own(
        "E3",
        "a receive accepted while tear-down claims the circuit",
        accepted_too_late,
    ),
    own(
        "E4",
        "data indicated between a partial receive and its continuation",
        indicated_in_between,
    ),
    documented(
        "E5",
        "receive answers: part, nothing, and more processing",
        answers,
    ),
    documented(
        "E6",
        "the handlers registered for each kind of provider of streams",
        registered,
    ),
    documented(
        "E7",
        "the handlers registered for a provider of datagrams",
        registered_for_datagrams,
    ),
];

const DROPPED: Indication = Indication {
    status: status::DATA_NOT_ACCEPTED,
    taken: 0,
    request: false,
};

fn after_the_address(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let (endpoint, address) = (f.endpoint(), f.address_file());
    f.close()?;
    let calls = fixture::calls();
    same(
        "RECEIVE",
        transport::receive(endpoint, &mut [1; 10], 10),
        Some(DROPPED),
    )?;
    same(
        "DISCONNECT",
        transport::disconnect(endpoint, ABORT),
        Some(status::SUCCESS),
    )?;
    same(
        "ERROR",
        transport::error(address, status::LINK_FAILED),
        Some(status::SUCCESS),
    )?;
    same("callbacks", fixture::calls(), calls)?;

    // A live address, and tokens that name no circuit of it.
    let f = Fixture::orderly()?;
    let endpoint = f.endpoint();
    for token in [0_usize, 1, usize::MAX] {
        let token = core::ptr::without_provenance_mut(token);
        let answer = transport::receive_from(endpoint, token, &mut [1; 10], 10);
        same("RECEIVE with an unknown token", answer, Some(DROPPED))?;
    }
    same("callbacks", fixture::calls(), calls)?;
    f.close()
}

fn address_error(_run: &Run) -> Outcome {
    let mut f = Fixture::orderly()?;
    let (local, remote) = (f.add_vc()?, f.add_vc()?);
    script(Kind::Release, Script::PEND);
    fixture::ok("initiate", engine::initiate(local))?;
    transport::disconnect(endpoint_of(remote), super::RELEASE);
    CLIENT.update(crate::client::Client::forget_calls);

    let answer = transport::error(f.address_file(), status::LINK_FAILED);
    same(
        "the answer to the indication",
        answer,
        Some(status::SUCCESS),
    )?;
    same("address Error callbacks", called(Call::AddressError), 1)?;
    same(
        "connection Error callbacks",
        called(Call::ConnectionError),
        1,
    )?;
    same("callbacks", fixture::calls(), 2)?;
    let call = CLIENT.read(|client| client.last(Call::ConnectionError));
    let seen = call.map(|call| (call.vc, call.status));
    same(
        "Error's circuit and status",
        seen,
        Some((f.vc.ptr(), status::LINK_FAILED)),
    )?;
    for circuit in [f.vc.ptr(), local, remote] {
        same("State", state_of(circuit), RXCE_VC_DISCONNECTED)?;
    }
    holds(
        "the contexts were the ones given at build",
        !CLIENT.read(crate::client::Client::context_was_wrong),
    )?;

    // Told once; and no circuit owes a disconnect any more.
    transport::error(f.address_file(), status::LINK_FAILED);
    same(
        "connection Error callbacks after a second error",
        called(Call::ConnectionError),
        1,
    )?;
    transport::complete(Kind::Release, status::CONNECTION_ABORTED);
    f.close()?;
    disconnects(1, 0)
}

fn accepted_too_late(_run: &Run) -> Outcome {
    let chain = buffer(&[0; 64])?;
    let (entered, go_on) = (Event::new(), Event::new());
    let f = Fixture::orderly()?;
    let endpoint = f.endpoint();
    CLIENT.update(|client| {
        client.answer(Answer::More(chain.mdl(), 64));
        client.gate(&entered, &go_on);
    });
    script(Kind::Release, Script::PEND);
    let indication = Thread::start(move || transport::receive(endpoint, &mut [7; 8], 72))?;
    let inside = entered.wait(time::PATIENCE);
    let vc = Shared(f.vc.ptr());
    let thread = Thread::start(move || vc.tear_down())?;
    wait_held(Kind::Release)?;
    go_on.set();
    let indicated = indication.join("the receive handler")?;
    let ready = called(Call::DataReady);
    transport::complete(Kind::Release, status::SUCCESS);
    fixture::ok("RxCeTearDownVC", thread.join("RxCeTearDownVC")?)?;
    holds("the receive callback was entered", inside)?;
    // §6: no request in TEARDOWN; DataReady at once, and the indication is discarded.
    let discarded = Indication {
        status: status::SUCCESS,
        taken: 8,
        request: false,
    };
    same("the answer to the indication", indicated, Some(discarded))?;
    same("DataReady callbacks before tear-down returned", ready, 1)?;
    same("DataReady callbacks", called(Call::DataReady), 1)?;
    let call = CLIENT.read(|client| client.last(Call::DataReady));
    let seen = call.map(|call| (call.object.addr(), call.value, call.status));
    same(
        "DataReady",
        seen,
        Some((chain.mdl().addr(), 0, status::CONNECTION_DISCONNECTED)),
    )?;
    same("receive requests", fixture::seen(Kind::Receive), 0)?;
    f.close()
}

/// The peer's bytes: each is its position.
fn stream(from: u8, to: u8) -> Vec<u8> {
    (from..to).collect()
}

fn indicated_in_between(_run: &Run) -> Outcome {
    // The continuation has reached the dispatch routine and is not posted yet: bytes 50..80 are indicated now.
    fn meddle(endpoint: usize) {
        script(Kind::Receive, Script::PEND);
        let answer = transport::receive(endpoint, &mut stream(50, 80), 100);
        if answer != Some(DROPPED) {
            TRANSPORT
                .update(|state| state.violated("data was accepted in the middle of a receive", 0));
        }
    }
    let chain = buffer(&[0xFF; 100])?;
    let f = Fixture::orderly()?;
    CLIENT.update(|client| client.answer(Answer::More(chain.mdl(), 100)));
    let first = transport::receive(f.endpoint(), &mut stream(0, 10), 50);
    let accepted = Indication {
        status: status::MORE_PROCESSING_REQUIRED,
        taken: 10,
        request: true,
    };
    same("the answer to the first indication", first, Some(accepted))?;
    same("length of the receive", last(Kind::Receive)?.length, 100)?;

    script_hook(Kind::Receive, meddle);
    same(
        "bytes of the partial receive",
        transport::complete_with_data(&stream(10, 50)),
        Some(40),
    )?;
    same(
        "DataReady callbacks before the rest",
        called(Call::DataReady),
        0,
    )?;
    same("receives held", held(Kind::Receive), 1)?;
    same(
        "length of the continuation",
        last(Kind::Receive)?.length,
        60,
    )?;
    // The refused bytes are still the next ones.
    same(
        "bytes of the continuation",
        transport::complete_with_data(&stream(50, 110)),
        Some(60),
    )?;
    same("DataReady callbacks", called(Call::DataReady), 1)?;
    let ready = CLIENT.read(|client| client.last(Call::DataReady));
    let seen = ready.map(|ready| (ready.object.addr(), ready.value, ready.status));
    same(
        "DataReady",
        seen,
        Some((chain.mdl().addr(), 100, status::SUCCESS)),
    )?;
    same("the client's chain", chain.bytes(), stream(10, 110))?;

    // Refused data is indicated no more (tdi.md §5.1): the engine must fetch it.
    let came = TRANSPORT.wait_until(time::PATIENCE, |state| state.held_of(Kind::Receive) == 1);
    holds("the engine fetches what it refused", came)?;
    holds("with at most 4 KiB", last(Kind::Receive)?.length <= 4096)?;
    same(
        "bytes of the redelivery",
        transport::complete_with_data(&stream(110, 150)),
        Some(40),
    )?;
    let expected: Vec<u8> = stream(0, 10).into_iter().chain(stream(110, 150)).collect();
    same(
        "the bytes given to Receive",
        CLIENT.read(|client| client.stream().to_vec()),
        expected,
    )?;
    same("DataReady callbacks at the end", called(Call::DataReady), 1)?;
    holds(
        "pReceiveMdl is NULL again",
        f.vc.read().pReceiveMdl.is_null(),
    )?;

    // No stall: the next indication is delivered as ever.
    if held(Kind::Receive) == 0 {
        let next = transport::receive(f.endpoint(), &mut stream(150, 160), 10);
        let taken = Indication {
            status: status::SUCCESS,
            taken: 10,
            request: false,
        };
        same("the answer to the next indication", next, Some(taken))?;
    }
    f.close()
}

fn answers(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let endpoint = f.endpoint();
    let receive = |bytes: Vec<u8>, available: u32| {
        let mut bytes = bytes;
        transport::receive(endpoint, &mut bytes, available)
    };
    let (before, sent) = (run.balance(), requests());
    let all = Indication {
        status: status::SUCCESS,
        taken: 20,
        request: false,
    };
    same("everything taken", receive(stream(0, 20), 20), Some(all))?;
    CLIENT.update(|client| client.answer(Answer::TakeSome(5)));
    let some = Indication {
        status: status::SUCCESS,
        taken: 5,
        request: false,
    };
    same("a part taken", receive(stream(20, 40), 20), Some(some))?;
    CLIENT.update(|client| client.answer(Answer::Refuse));
    same("refused", receive(stream(25, 40), 15), Some(DROPPED))?;
    same("requests for all that", requests(), sent)?;
    same(
        "bytes given to the client",
        CLIENT.read(|client| client.stream().to_vec()),
        stream(0, 25),
    )?;
    before.unchanged(run, "indications without a request")?;

    // More processing, ended by the transport in one piece, in pieces, and with an error.
    let endings: [(&[usize], i32); 3] = [
        (&[30], status::SUCCESS),
        (&[7, 1, 22], status::SUCCESS),
        (&[12], status::CONNECTION_RESET),
    ];
    for (round, (pieces, ending)) in endings.into_iter().enumerate() {
        let chain = buffer(&[0xFF; 30])?;
        let mut next = 10_u8;
        CLIENT.update(|client| client.answer(Answer::More(chain.mdl(), 30)));
        let accepted = Indication {
            status: status::MORE_PROCESSING_REQUIRED,
            taken: 10,
            request: true,
        };
        same(
            "more processing",
            receive(stream(0, 10), 10),
            Some(accepted),
        )?;
        same("pReceiveMdl", f.vc.read().pReceiveMdl, chain.mdl())?;
        let mut total = 0_usize;
        for &piece in pieces {
            let to = next.saturating_add(u8::try_from(piece).unwrap_or_default());
            same(
                "bytes of a piece",
                transport::complete_with_data(&stream(next, to)),
                Some(piece),
            )?;
            next = to;
            total += piece;
        }
        if ending < 0 {
            holds(
                "a continuation is held",
                transport::complete(Kind::Receive, ending),
            )?;
        }
        same("DataReady callbacks", called(Call::DataReady), round + 1)?;
        let ready = CLIENT.read(|client| client.last(Call::DataReady));
        let seen = ready.map(|ready| (ready.object.addr(), ready.value as usize, ready.status));
        same("DataReady", seen, Some((chain.mdl().addr(), total, ending)))?;
        let bytes = chain.bytes();
        same(
            "the client's bytes",
            bytes.get(..total),
            Some(&stream(10, next)[..]),
        )?;
        holds(
            "pReceiveMdl is NULL again",
            f.vc.read().pReceiveMdl.is_null(),
        )?;
        same("receives held", held(Kind::Receive), 0)?;
    }
    f.close()
}

/// rxce.md §5.5; event types as in tdi.md §5.
const DISCONNECT: i32 = 1;
const ERROR: i32 = 2;
const RECEIVE: i32 = 3;
const RECEIVE_DATAGRAM: i32 = 4;
const RECEIVE_EXPEDITED: i32 = 5;
const SEND_POSSIBLE: i32 = 6;

fn registered(_run: &Run) -> Outcome {
    registered_with(&[
        (
            Personality::Orderly,
            &[DISCONNECT, ERROR, RECEIVE, RECEIVE_EXPEDITED],
        ),
        (Personality::Abortive, &[DISCONNECT, ERROR, RECEIVE]),
        (
            Personality::Buffering,
            &[DISCONNECT, ERROR, RECEIVE, SEND_POSSIBLE],
        ),
    ])
}

fn registered_for_datagrams(_run: &Run) -> Outcome {
    registered_with(&[(Personality::Datagram, &[ERROR, RECEIVE_DATAGRAM])])
}

fn registered_with(expected: &[(Personality, &[i32])]) -> Outcome {
    for &(personality, events) in expected {
        let f = Fixture::addressed(personality)?;
        let mut seen: Vec<i32> = TRANSPORT.read(|state| {
            state
                .records()
                .filter(|record| record.kind == Kind::SetHandler)
                .map(|record| record.code)
                .collect()
        });
        seen.sort_unstable();
        same(
            &format!("events registered with {personality:?}"),
            &seen[..],
            events,
        )?;
        // Optional ones may fail, mandatory ones not.
        f.close()?;
        holds(
            "the transport is clean",
            TRANSPORT.update(transport::state::State::reset),
        )?;
        for &event in events {
            let optional = event == RECEIVE_EXPEDITED || event == SEND_POSSIBLE;
            let f = Fixture::bound(personality)?;
            let slot = usize::try_from(event).unwrap_or_default();
            TRANSPORT.update(|state| {
                if let Some(status) = state.handler_status.get_mut(slot) {
                    *status = status::INVALID_ADDRESS_COMPONENT;
                }
            });
            let answer = fixture::open_address(&f.address, &f.transport)?;
            let expected = if optional {
                status::SUCCESS
            } else {
                status::INVALID_ADDRESS_COMPONENT
            };
            outcome::status(
                &format!("RxCeBuildAddress, event {event} of {personality:?} failing"),
                answer,
                expected,
            )?;
            if !optional {
                holds("the address is zero", f.address.is_zero())?;
                let [opened, closed] = [
                    Kind::Open(FileKind::Address),
                    Kind::Close(FileKind::Address),
                ]
                .map(fixture::seen);
                same("addresses closed again", closed, opened)?;
            }
            f.close()?;
            holds(
                "the transport is clean",
                TRANSPORT.update(transport::state::State::reset),
            )?;
        }
    }
    if fixture::calls() == 0 {
        Ok(())
    } else {
        Err(Trouble::Failed("a callback without an event".into()))
    }
}
