//! RxCeTearDownVC, with a transport that answers in its own time (rxce.md §5.13).

use alloc::format;

use rxce_client::RXCE_VC_TEARDOWN;

use super::{ABORT, RELEASE, Shared, Vector, documented, faults, own};
use crate::{
    client::{Answer, CLIENT, Call},
    engine,
    fixture::{
        self, Fixture, buffer, called, disconnects, endpoint_closed, held, script, seen, send,
        state_of, wait_held,
    },
    nt::{
        event::Event,
        mdl::Buffer,
        status::{self, Named},
        thread::Thread,
        time,
        time::SECOND,
    },
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Indication, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented("T1", "tear down an active circuit", active),
    own(
        "T2",
        "tear-down waits for a disconnect that is under way",
        disconnect_under_way,
    ),
    own(
        "T3",
        "a RELEASE that never ends by itself is aborted",
        release_never_ends,
    ),
    documented(
        "T4",
        "tear-down returns the transport's error and still uninitialises",
        transport_fails,
    ),
    documented("T5", "tear-down needs no memory", no_memory),
    documented("T6", "a second tear-down", twice),
    documented("T8", "tear-down waits for pCleanUpEvent", clean_up_event),
    own(
        "T9",
        "a transport that ends the RELEASE and keeps a receive",
        keeps_receive,
    ),
    own(
        "T10",
        "a send that ends only on cancel, then only on close",
        keeps_send,
    ),
    own(
        "T13",
        "everything ends only when the handle is closed",
        all_until_close,
    ),
    own(
        "T16",
        "an acknowledgement that fails, of a peer that has gone, is no failure",
        acknowledgement_fails,
    ),
    own(
        "T17",
        "data behind a receive in progress is refused during tear-down",
        data_behind_receive,
    ),
    own("T14", "a slow send is no reason for an ABORT", slow_send),
];

/// Deadlines of tear-down: 10 s and 30 s (rxce.md §5.13).
const T1: i64 = 10 * SECOND;
const T2: i64 = 30 * SECOND;

/// The structure is zero, and the counts are what they were less one circuit.
fn is_gone(f: &Fixture, counts: [i64; 5]) -> Outcome {
    holds("the structure is zero", f.vc.is_zero())?;
    let [connection, address, transport, on_address, on_transport] = counts;
    let expected = [
        connection - 1,
        address - 1,
        transport - 1,
        on_address,
        on_transport,
    ];
    same("counts of the parents", f.counts(), expected)
}

fn active(run: &Run) -> Outcome {
    for (personality, expected) in [
        (Personality::Orderly, [1, 0]),
        (Personality::Abortive, [0, 1]),
    ] {
        let f = Fixture::connected(personality)?;
        let counts = f.counts();
        fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
        disconnects(expected[0], expected[1])?;
        is_gone(&f, counts)?;
        endpoint_closed(1)?;
        same("callbacks", fixture::calls(), 0)?;
        f.close()?;
        holds(
            "the transport is clean",
            TRANSPORT.update(transport::state::State::reset),
        )?;
    }
    // After the peer's RELEASE the acknowledgement is owed; after its ABORT nothing is (table of step 6).
    for (flags, expected) in [(RELEASE, [1, 0]), (ABORT, [0, 0])] {
        let f = Fixture::orderly()?;
        transport::disconnect(f.endpoint(), flags);
        fixture::ok(
            "RxCeTearDownVC after the peer",
            engine::tear_down_vc(f.vc.ptr()),
        )?;
        disconnects(expected[0], expected[1])?;
        f.close()?;
        holds(
            "the transport is clean",
            TRANSPORT.update(transport::state::State::reset),
        )?;
    }
    // The rest of the stack goes too, and nothing of the engine's stays but what it had before.
    let before = run.balance();
    Fixture::orderly()?.close()?;
    before.unchanged(run, "a whole life")
}

fn disconnect_under_way(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let counts = f.counts();
    script(Kind::Release, Script::PEND);
    fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
    let vc = Shared(f.vc.ptr());
    let thread = Thread::start(move || vc.tear_down())?;
    holds("tear-down waits", !thread.ends_within(SECOND))?;
    same("State", f.state(), RXCE_VC_TEARDOWN)?;
    same("RELEASE requests held", held(Kind::Release), 1)?;
    transport::complete(Kind::Release, status::SUCCESS);
    fixture::ok("RxCeTearDownVC", thread.join("RxCeTearDownVC")?)?;
    disconnects(1, 0)?;
    is_gone(&f, counts)?;
    f.close()
}

fn release_never_ends(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let counts = f.counts();
    script(Kind::Release, Script::UNTIL_ABORT);
    fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
    let began = time::now();
    fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    match (began, time::now()) {
        (Some(began), Some(ended)) => {
            holds("the ABORT came after T1", ended - began >= T1)?;
            holds("the ABORT came at T1", ended - began < T1 + 2 * SECOND)?;
        }
        _ => run.part_missing("the time that tear-down took"),
    }
    disconnects(1, 1)?;
    let release = fixture::last(Kind::Release)?;
    same(
        "how the RELEASE ended",
        release.completed,
        Some(status::CONNECTION_ABORTED),
    )?;
    is_gone(&f, counts)?;
    f.close()
}

fn transport_fails(_run: &Run) -> Outcome {
    let failures = [
        status::IO_TIMEOUT,
        status::INVALID_CONNECTION,
        status::CONNECTION_RESET,
        status::INVALID_PARAMETER,
    ];
    for (round, failure) in failures.into_iter().enumerate() {
        let f = Fixture::orderly()?;
        let counts = f.counts();
        // Inline and from another thread's completion.
        let pend = round % 2 == 1;
        script(
            Kind::Release,
            if pend {
                Script::PEND
            } else {
                Script::Inline(failure)
            },
        );
        let vc = Shared(f.vc.ptr());
        let thread = Thread::start(move || vc.tear_down())?;
        if pend {
            wait_held(Kind::Release)?;
            transport::complete(Kind::Release, failure);
        }
        outcome::status("RxCeTearDownVC", thread.join("RxCeTearDownVC")?, failure)?;
        is_gone(&f, counts)?;
        endpoint_closed(round + 1)?;
        f.close()?;
    }
    Ok(())
}

fn no_memory(run: &Run) -> Outcome {
    let faults = faults()?;
    let f = Fixture::orderly()?;
    let counts = f.counts();
    // Both of tear-down's own requests are needed.
    script(Kind::Release, Script::UNTIL_ABORT);
    fixture::ok(
        "RxCeTearDownVC without memory",
        faults.all(|| engine::tear_down_vc(f.vc.ptr())),
    )?;
    disconnects(1, 1)?;
    is_gone(&f, counts)?;
    f.close()?;

    let f = Fixture::orderly()?;
    let (answer, calls) = faults.nth(u32::MAX, || engine::tear_down_vc(f.vc.ptr()));
    fixture::ok("RxCeTearDownVC", answer)?;
    same("fallible calls of tear-down", calls, 0)?;
    let before = run.balance();
    outcome::status(
        "again",
        engine::tear_down_vc(f.vc.ptr()),
        status::INVALID_PARAMETER,
    )?;
    before.unchanged(run, "the second call")?;
    f.close()
}

fn twice(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    let sent = fixture::requests();
    outcome::status(
        "the second",
        engine::tear_down_vc(f.vc.ptr()),
        status::INVALID_PARAMETER,
    )?;
    holds("the structure is still zero", f.vc.is_zero())?;
    same("requests", fixture::requests(), sent)?;
    endpoint_closed(1)?;
    f.close()
}

fn clean_up_event(_run: &Run) -> Outcome {
    let event = Event::new();
    let f = Fixture::orderly()?;
    let counts = f.counts();
    f.vc.change(|vc| vc.pCleanUpEvent = event.as_ptr());
    let vc = Shared(f.vc.ptr());
    let thread = Thread::start(move || vc.tear_down())?;
    // Far past both deadlines of the drain: this wait has none.
    let waits = !thread.ends_within(T1 + T2 + T1);
    let state = f.state();
    event.set();
    fixture::ok("RxCeTearDownVC", thread.join("RxCeTearDownVC")?)?;
    holds("tear-down blocks until the event is signalled", waits)?;
    same("State while it blocks", state, RXCE_VC_TEARDOWN)?;
    disconnects(1, 0)?;
    is_gone(&f, counts)?;
    f.close()
}

/// Lets the client accept a receive of `wanted` bytes which the transport then holds.
fn accept_receive(f: &Fixture, chain: &Buffer, wanted: u32) -> Outcome {
    CLIENT.update(|client| client.answer(Answer::More(chain.mdl(), wanted)));
    let mut first = *b"head";
    let answer = transport::receive(f.endpoint(), &mut first, 4)
        .ok_or_else(|| Trouble::Failed("no receive handler is registered".into()))?;
    let expected = Indication {
        status: status::MORE_PROCESSING_REQUIRED,
        taken: 4,
        request: true,
    };
    same("the answer to the indication", answer, expected)?;
    same("pReceiveMdl", f.vc.read().pReceiveMdl, chain.mdl())?;
    same("receives held", held(Kind::Receive), 1)
}

fn keeps_receive(run: &Run) -> Outcome {
    let chain = buffer(&[0; 32])?;
    let f = Fixture::orderly()?;
    let counts = f.counts();
    script(Kind::Receive, Script::UNTIL_ABORT);
    accept_receive(&f, &chain, 32)?;
    let began = time::now();
    fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    match (began, time::now()) {
        // No RELEASE ends a receive: there is nothing to wait for.
        (Some(began), Some(ended)) => holds("the ABORT came at once", ended - began < T1)?,
        _ => run.part_missing("the time that tear-down took"),
    }
    disconnects(1, 1)?;
    same("DataReady callbacks", called(Call::DataReady), 1)?;
    let ready = CLIENT.read(|client| client.last(Call::DataReady));
    let seen = ready.map(|ready| (ready.object.addr(), ready.value, ready.status < 0));
    same(
        "DataReady's chain, bytes and failure",
        seen,
        Some((chain.mdl().addr(), 0, true)),
    )?;
    is_gone(&f, counts)?;
    f.close()
}

fn keeps_send(run: &Run) -> Outcome {
    let ways = [
        (Script::UNTIL_CANCEL, status::CANCELLED),
        (Script::UNTIL_CLOSE, status::CONNECTION_ABORTED),
    ];
    for (script_of_send, ending) in ways {
        let data = buffer(b"stuck")?;
        let f = Fixture::orderly()?;
        let (counts, done) = (f.counts(), called(Call::SendComplete));
        script(Kind::Send, script_of_send);
        fixture::ok("asynchronous send", send(f.vc.ptr(), &data, 7))?;
        let began = time::now();
        fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
        match (began, time::now()) {
            (Some(began), Some(ended)) => holds(
                "it took T1 + T2 at most",
                ended - began <= T1 + T2 + 2 * SECOND,
            )?,
            _ => run.part_missing("the time that tear-down took"),
        }
        same(
            "SendComplete callbacks",
            called(Call::SendComplete),
            done + 1,
        )?;
        let complete = CLIENT.read(|client| client.last(Call::SendComplete));
        let ended = complete.map(|complete| Named(complete.status));
        same("how the send ended", ended, Some(Named(ending)))?;
        is_gone(&f, counts)?;
        endpoint_closed(done + 1)?;
        f.close()?;
    }
    disconnects(2, 2)
}

fn all_until_close(_run: &Run) -> Outcome {
    let (chain, data) = (buffer(&[0; 16])?, buffer(b"stuck")?);
    let f = Fixture::orderly()?;
    let counts = f.counts();
    for kind in [Kind::Release, Kind::Abort, Kind::Send, Kind::Receive] {
        script(kind, Script::UNTIL_CLOSE);
    }
    accept_receive(&f, &chain, 16)?;
    fixture::ok("asynchronous send", send(f.vc.ptr(), &data, 1))?;
    let answer = engine::tear_down_vc(f.vc.ptr());
    // The status of the ABORT, which the close ended.
    outcome::status("RxCeTearDownVC", answer, status::CONNECTION_ABORTED)?;
    disconnects(1, 1)?;
    same("SendComplete callbacks", called(Call::SendComplete), 1)?;
    same("DataReady callbacks", called(Call::DataReady), 1)?;
    endpoint_closed(1)?;
    is_gone(&f, counts)?;
    f.close()
}

fn data_behind_receive(_run: &Run) -> Outcome {
    let chain = buffer(&[0; 32])?;
    let f = Fixture::orderly()?;
    let counts = f.counts();
    script(Kind::Receive, Script::UNTIL_ABORT);
    accept_receive(&f, &chain, 32)?;
    script(Kind::Release, Script::PEND);
    let endpoint = f.endpoint();
    let vc = Shared(f.vc.ptr());
    let thread = Thread::start(move || vc.tear_down())?;
    wait_held(Kind::Release)?;
    let indicated = transport::receive(endpoint, &mut [9; 20], 20);
    transport::complete(Kind::Release, status::SUCCESS);
    fixture::ok("RxCeTearDownVC", thread.join("RxCeTearDownVC")?)?;
    // Taken, those bytes would be missing in front of what the receive still gets.
    let refused = Indication {
        status: status::DATA_NOT_ACCEPTED,
        taken: 0,
        request: false,
    };
    same("the answer to the indication", indicated, Some(refused))?;
    same("DataReady callbacks", called(Call::DataReady), 1)?;
    disconnects(1, 1)?;
    is_gone(&f, counts)?;
    f.close()
}

fn acknowledgement_fails(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let counts = f.counts();
    transport::disconnect(f.endpoint(), RELEASE);
    script(Kind::Release, Script::Inline(status::INVALID_CONNECTION));
    fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    disconnects(1, 0)?;
    is_gone(&f, counts)?;
    f.close()
}

fn slow_send(_run: &Run) -> Outcome {
    let data = buffer(b"slow")?;
    let f = Fixture::orderly()?;
    fixture::ok("the first send", send(f.vc.ptr(), &data, 1))?;
    same("SendComplete callbacks", called(Call::SendComplete), 1)?;
    script(Kind::Send, Script::PEND);
    fixture::ok("the second send", send(f.vc.ptr(), &data, 2))?;
    let vc = Shared(f.vc.ptr());
    let thread = Thread::start(move || vc.tear_down())?;
    holds("tear-down waits for the send", !thread.ends_within(SECOND))?;
    same(
        "the circuit in tear-down",
        state_of(f.vc.ptr()),
        RXCE_VC_TEARDOWN,
    )?;
    transport::complete(Kind::Send, status::SUCCESS);
    fixture::ok("RxCeTearDownVC", thread.join("RxCeTearDownVC")?)?;
    same(
        &format!("{:?} callbacks", Call::SendComplete),
        called(Call::SendComplete),
        2,
    )?;
    disconnects(1, 0)?;
    same(
        "endpoints opened",
        seen(Kind::Open(transport::FileKind::Endpoint)),
        1,
    )?;
    f.close()
}
