//! Expedited data, and when a send is possible (rxce.md §6).

use alloc::vec::Vec;
use core::ptr;

use rxce_client::RXCE_CONNECTION_EVENT_HANDLER;

use super::{Shared, Vector, documented, own};
use crate::{
    client::{self, Answer, CLIENT, Call, Lane},
    engine,
    fixture::{
        self, Fixture, PEER, buffer, called, endpoint_of, held, last, requests, script,
        send_and_wait,
    },
    nt::{mdl::Buffer, pool::Block, status, status::Named, thread::Thread},
    outcome::{Outcome, Run, Trouble, holds, same},
    transport::{self, Indication, Kind, Personality, Script},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "X1",
        "expedited data: taken, in part, refused, and more processing",
        answers,
    ),
    own(
        "X2",
        "normal and expedited data are two streams, each with its receive",
        two_streams,
    ),
    own(
        "X3",
        "expedited data without a callback for it is dropped",
        no_callback,
    ),
    own(
        "X4",
        "a receive of either kind with each kernel call failing",
        without_memory,
    ),
    own(
        "X5",
        "a circuit torn down with receives of both kinds pending",
        torn_down,
    ),
    own(
        "X6",
        "a client that says it took more than was indicated",
        too_much_taken,
    ),
    documented("X7", "an expedited send", send),
    own(
        "X8",
        "SEND_POSSIBLE goes to the circuit it names, else to the address",
        possible,
    ),
];

const DROPPED: Indication = Indication {
    status: status::DATA_NOT_ACCEPTED,
    taken: 0,
    request: false,
};

const ACCEPTED: Indication = Indication {
    status: status::MORE_PROCESSING_REQUIRED,
    taken: 10,
    request: true,
};

fn taken(count: u32) -> Indication {
    Indication {
        status: status::SUCCESS,
        taken: count,
        request: false,
    }
}

fn bytes(from: u8, to: u8) -> Vec<u8> {
    (from..to).collect()
}

fn answer(lane: Lane, answer: Answer) {
    CLIENT.update(|client| client.answer_on(lane, answer));
}

/// Indicates on one of the two streams.
fn indicate(lane: Lane, endpoint: usize, mut data: Vec<u8>, available: u32) -> Option<Indication> {
    match lane {
        Lane::Expedited => transport::expedited(endpoint, &mut data, available),
        _ => transport::receive(endpoint, &mut data, available),
    }
}

fn ready() -> Option<(usize, u32, Named)> {
    let ready = CLIENT.read(|client| client.last(Call::DataReady))?;
    Some((ready.object.addr(), ready.value, Named(ready.status)))
}

fn of(chain: &Buffer, copied: u32, code: i32) -> Option<(usize, u32, Named)> {
    Some((chain.mdl().addr(), copied, Named(code)))
}

fn answers(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let lane = Lane::Expedited;
    let tell = |data, available| indicate(lane, f.endpoint(), data, available);
    let (before, sent) = (run.balance(), requests());
    same("everything taken", tell(bytes(0, 20), 20), Some(taken(20)))?;
    answer(lane, Answer::TakeSome(5));
    same("a part taken", tell(bytes(20, 40), 20), Some(taken(5)))?;
    answer(lane, Answer::Refuse);
    same("refused", tell(bytes(25, 40), 15), Some(DROPPED))?;
    same("requests for all that", requests(), sent)?;
    let seen = CLIENT.read(|client| client.stream_on(lane).to_vec());
    same("bytes given to ReceiveExpedited", seen, bytes(0, 25))?;
    same("Receive callbacks", called(Call::Receive), 0)?;
    before.unchanged(run, "indications without a request")?;

    let chain = buffer(&[0xFF; 30])?;
    answer(lane, Answer::More(chain.mdl(), 30));
    same("more processing", tell(bytes(0, 10), 10), Some(ACCEPTED))?;
    let record = last(Kind::Receive)?;
    // TDI_RECEIVE_EXPEDITED.
    same("ReceiveFlags", record.flags, 0x40)?;
    same("length of the receive", record.length, 30)?;
    // §2.5 and §3.6: pReceiveMdl shows the normal one.
    holds("pReceiveMdl is NULL", f.vc.read().pReceiveMdl.is_null())?;
    // A short completion is continued, as expedited data.
    same(
        "bytes of a part",
        transport::complete_with_data(&bytes(10, 22)),
        Some(12),
    )?;
    let record = last(Kind::Receive)?;
    same(
        "the continuation",
        (record.flags, record.length),
        (0x40, 18),
    )?;
    same("DataReady before the end", called(Call::DataReady), 0)?;
    same(
        "bytes of the rest",
        transport::complete_with_data(&bytes(22, 40)),
        Some(18),
    )?;
    same("DataReady callbacks", called(Call::DataReady), 1)?;
    same("DataReady", ready(), of(&chain, 30, status::SUCCESS))?;
    same("the client's bytes", chain.bytes(), bytes(10, 40))?;
    f.close()
}

fn two_streams(_run: &Run) -> Outcome {
    // The fixture goes first: it ends what still writes into them.
    let (normal, urgent) = (buffer(&[0xFF; 30])?, buffer(&[0xFF; 20])?);
    let f = Fixture::orderly()?;
    let endpoint = f.endpoint();
    answer(Lane::Normal, Answer::More(normal.mdl(), 30));
    let first = indicate(Lane::Normal, endpoint, bytes(0, 10), 10);
    same("more normal data", first, Some(ACCEPTED))?;
    // Expedited data is indicated while the normal receive is outstanding, and may want more itself.
    let second = indicate(Lane::Expedited, endpoint, bytes(100, 107), 7);
    same("expedited data meanwhile", second, Some(taken(7)))?;
    answer(Lane::Expedited, Answer::More(urgent.mdl(), 20));
    let third = indicate(Lane::Expedited, endpoint, bytes(107, 117), 10);
    same("more expedited data", third, Some(ACCEPTED))?;
    same("receives held", held(Kind::Receive), 2)?;
    same("pReceiveMdl", f.vc.read().pReceiveMdl, normal.mdl())?;
    // Each stream is guarded by its own receive alone.
    let calls = fixture::calls();
    let refused = indicate(Lane::Expedited, endpoint, bytes(117, 120), 3);
    same("expedited data during its receive", refused, Some(DROPPED))?;
    same("callbacks for that", fixture::calls(), calls)?;

    // The oldest held is the normal one.
    transport::complete_with_data(&bytes(10, 40));
    same(
        "DataReady of the normal receive",
        ready(),
        of(&normal, 30, status::SUCCESS),
    )?;
    holds(
        "pReceiveMdl is NULL again",
        f.vc.read().pReceiveMdl.is_null(),
    )?;
    let next = indicate(Lane::Normal, endpoint, bytes(40, 50), 10);
    same("normal data goes on", next, Some(taken(10)))?;
    same("receives held", held(Kind::Receive), 1)?;
    transport::complete_with_data(&bytes(117, 137));
    same(
        "DataReady of the expedited receive",
        ready(),
        of(&urgent, 20, status::SUCCESS),
    )?;
    same("DataReady callbacks", called(Call::DataReady), 2)?;
    same("the normal chain", normal.bytes(), bytes(10, 40))?;
    same("the expedited chain", urgent.bytes(), bytes(117, 137))?;
    // What was refused meanwhile is indicated no more: it is fetched, as expedited data.
    same("receives held", held(Kind::Receive), 1)?;
    let record = last(Kind::Receive)?;
    same("ReceiveFlags", record.flags, 0x40)?;
    holds("at most 4 KiB", record.length <= 4096)?;
    transport::complete_with_data(&bytes(137, 140));
    let seen = CLIENT.read(|client| client.stream_on(Lane::Expedited).to_vec());
    let expected: Vec<u8> = (100..117).chain(137..140).collect();
    same("the bytes given to ReceiveExpedited", seen, expected)?;
    f.close()
}

fn no_callback(_run: &Run) -> Outcome {
    for handlers in [
        RXCE_CONNECTION_EVENT_HANDLER {
            RxCeReceiveExpeditedEventHandler: None,
            ..client::connection_handlers()
        },
        RXCE_CONNECTION_EVENT_HANDLER::default(),
    ] {
        let f = Fixture::addressed(Personality::Orderly)?;
        let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
        let mut information = fixture::information(&peer);
        let mut table = handlers;
        let built = engine::build_connection(
            f.address.ptr(),
            &raw mut information,
            &raw mut table,
            client::CONNECTION_CONTEXT,
            f.connection.ptr(),
            f.vc.ptr(),
        );
        fixture::ok("RxCeBuildConnection", built)?;
        let (calls, sent) = (fixture::calls(), requests());
        let urgent = indicate(Lane::Expedited, f.endpoint(), bytes(0, 10), 10);
        same("expedited data", urgent, Some(DROPPED))?;
        same("callbacks", fixture::calls(), calls)?;
        same("requests", requests(), sent)?;
        let normal = indicate(Lane::Normal, f.endpoint(), bytes(0, 10), 10);
        let expected = if handlers.RxCeReceiveEventHandler.is_some() {
            taken(10)
        } else {
            DROPPED
        };
        same("normal data", normal, Some(expected))?;
        // Nobody to tell of anything: the circuit works all the same.
        let data = buffer(b"sent")?;
        fixture::ok("a send", send_and_wait(f.vc.ptr(), &data))?;
        fixture::ok("an asynchronous send", fixture::send(f.vc.ptr(), &data, 1))?;
        transport::disconnect(f.endpoint(), super::ABORT);
        transport::error(f.address_file(), status::LINK_FAILED);
        f.close()?;
    }
    Ok(())
}

fn without_memory(run: &Run) -> Outcome {
    let faults = super::faults()?;
    for lane in [Lane::Normal, Lane::Expedited] {
        let f = Fixture::orderly()?;
        let chain = buffer(&[0xFF; 30])?;
        let mut failed = 0;
        for nth in 0..50 {
            let (before, sent) = (run.balance(), requests());
            answer(lane, Answer::More(chain.mdl(), 30));
            CLIENT.update(client::Client::forget_calls);
            let call = || indicate(lane, f.endpoint(), bytes(0, 10), 10);
            let (answered, calls) = if nth == 0 {
                (faults.all(call), u32::MAX)
            } else {
                faults.nth(nth, call)
            };
            if answered == Some(ACCEPTED) {
                // A spare request serves where memory does not.
                transport::complete_with_data(&bytes(10, 40));
                same("DataReady callbacks", called(Call::DataReady), 1)?;
                same("DataReady", ready(), of(&chain, 30, status::SUCCESS))?;
            } else {
                // §6: the client gets its chain back at once, and what it took stays taken.
                failed += 1;
                same("the answer without memory", answered, Some(taken(10)))?;
                same("DataReady callbacks", called(Call::DataReady), 1)?;
                let expected = of(&chain, 0, status::INSUFFICIENT_RESOURCES);
                same("DataReady without memory", ready(), expected)?;
                same("requests", requests(), sent)?;
            }
            same("receives held", held(Kind::Receive), 0)?;
            holds("pReceiveMdl is NULL", f.vc.read().pReceiveMdl.is_null())?;
            before.unchanged(run, "a receive with a failure")?;
            if calls < nth {
                break;
            }
            holds("fewer than 49 calls", nth < 49)?;
        }
        holds("some call can fail", failed > 0)?;
        f.close()?;
    }
    Ok(())
}

fn torn_down(_run: &Run) -> Outcome {
    for way in [Script::PEND, Script::UNTIL_ABORT, Script::UNTIL_CLOSE] {
        // As above.
        let (normal, urgent) = (buffer(&[0xFF; 30])?, buffer(&[0xFF; 20])?);
        let f = Fixture::orderly()?;
        let endpoint = f.endpoint();
        script(Kind::Receive, way);
        CLIENT.update(client::Client::forget_calls);
        answer(Lane::Normal, Answer::More(normal.mdl(), 30));
        indicate(Lane::Normal, endpoint, bytes(0, 10), 10);
        answer(Lane::Expedited, Answer::More(urgent.mdl(), 20));
        indicate(Lane::Expedited, endpoint, bytes(0, 10), 10);
        same("receives held", held(Kind::Receive), 2)?;
        let vc = Shared(f.vc.ptr());
        let tearing = Thread::start(move || vc.tear_down())?;
        fixture::ok("RxCeTearDownVC", tearing.join("RxCeTearDownVC")?)?;
        same("DataReady callbacks", called(Call::DataReady), 2)?;
        let told = CLIENT.read(|client| {
            [&normal, &urgent].map(|chain| client.count_of(Call::DataReady, chain.mdl().cast()))
        });
        same("DataReady of each chain", told, [1, 1])?;
        f.close()?;
    }
    Ok(())
}

fn too_much_taken(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    for lane in [Lane::Normal, Lane::Expedited] {
        // Passed through, it would shift the stream.
        answer(lane, Answer::Claim(1000));
        let answered = indicate(lane, f.endpoint(), bytes(0, 20), 40);
        same("the answer to the indication", answered, Some(taken(20)))?;
        answer(lane, Answer::Take);
        let next = indicate(lane, f.endpoint(), bytes(20, 40), 20);
        same("the next indication", next, Some(taken(20)))?;
        for (chain, size) in [(ptr::null_mut(), 30), (buffer(&[0; 8])?.mdl(), 0)] {
            answer(lane, Answer::More(chain, size));
            let answered = indicate(lane, f.endpoint(), bytes(0, 10), 10);
            same("more processing into nothing", answered, Some(taken(10)))?;
        }
    }
    same("DataReady callbacks", called(Call::DataReady), 0)?;
    same("receives", fixture::seen(Kind::Receive), 0)?;
    f.close()
}

fn send(_run: &Run) -> Outcome {
    const EXPEDITED: u32 = 0x20;
    let f = Fixture::orderly()?;
    let data = buffer(b"urgent")?;
    for options in [EXPEDITED, EXPEDITED | engine::SEND_SYNCHRONOUS] {
        let (mdl, length) = (data.mdl(), data.length());
        let answer = engine::send(f.vc.ptr(), options, mdl, length, ptr::null_mut());
        fixture::ok("an expedited send", answer)?;
        // TDI_SEND_EXPEDITED.
        same("SendFlags", last(Kind::Send)?.flags, EXPEDITED)?;
    }
    same("SendComplete callbacks", called(Call::SendComplete), 1)?;
    f.close()
}

fn possible(_run: &Run) -> Outcome {
    let mut f = Fixture::connected(Personality::Buffering)?;
    let other = f.add_vc()?;
    CLIENT.update(client::Client::forget_calls);
    let address = f.address_file();
    for (bytes, vc) in [(100, f.vc.ptr()), (200, other)] {
        let endpoint = endpoint_of(vc);
        let token = transport::TRANSPORT
            .read(|state| state.file(endpoint).map(|file| file.token))
            .unwrap_or_default();
        let answer = transport::send_possible(endpoint, token, bytes);
        same(
            "the answer to the indication",
            answer,
            Some(status::SUCCESS),
        )?;
        let call = CLIENT.read(|client| client.last(Call::SendPossible));
        let seen = call.map(|call| (call.vc, call.value));
        same("SendPossible", seen, Some((vc, bytes)))?;
    }
    same(
        "SendPossible of the connection",
        called(Call::SendPossible),
        2,
    )?;
    same(
        "SendPossible of the address",
        called(Call::DatagramPossible),
        0,
    )?;
    for token in [0, usize::MAX] {
        let token = ptr::without_provenance_mut(token);
        let answer = transport::send_possible(address, token, 300);
        same(
            "the answer to the indication",
            answer,
            Some(status::SUCCESS),
        )?;
    }
    same(
        "SendPossible of the connection",
        called(Call::SendPossible),
        2,
    )?;
    same(
        "SendPossible of the address",
        called(Call::DatagramPossible),
        2,
    )?;
    let call = CLIENT.read(|client| client.last(Call::DatagramPossible));
    same("its bytes", call.map(|call| call.value), Some(300))?;
    f.close()
}
