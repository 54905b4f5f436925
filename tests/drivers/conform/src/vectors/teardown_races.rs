//! RxCeTearDownVC against what runs at the same time (rxce.md §4.3, R3, R4, R7, R9).

use rxce_client::{RXCE_VC, RXCE_VC_ACTIVE, RXCE_VC_TEARDOWN};
use wdk_sys::NTSTATUS;

use super::{Shared, Vector, documented, own, stop_before_io_call_driver};
use crate::{
    client::{Answer, CLIENT, Call},
    engine,
    fixture::{self, Fixture, buffer, called, disconnects, script, seen, send, wait_held},
    nt::{event::Event, status, thread::Thread, time, time::SECOND, watch::Watch},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Indication, Kind, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "T7",
        "tear-down returns after the last send and the last callback",
        waits_for_both,
    ),
    own(
        "T11",
        "tear-down between initiate's decision and its request",
        between_decision_and_request,
    ),
    documented(
        "T15",
        "a second tear-down while the first is waiting",
        two_tear_downs,
    ),
    own(
        "T12",
        "data that comes during tear-down is taken and discarded",
        data_during,
    ),
    own(
        "T18",
        "a callback wants its circuit torn down: another thread does it, a debug build refuses it there",
        wanted_by_a_callback,
    ),
];

/// The circuit that a callback wants torn down, and what came of it.
static WANTED: Watch<Wanted> = Watch::new(Wanted {
    vc: core::ptr::null_mut(),
    answer: None,
    told: false,
});

struct Wanted {
    vc: *mut RXCE_VC,
    answer: Option<NTSTATUS>,
    told: bool,
}

// SAFETY: The pointer is passed to the engine only, while the vector keeps the circuit's storage.
unsafe impl Send for Wanted {}

/// R9: it would wait for itself. A release build does not notice, and hangs; so only a debug build is asked.
fn tear_down_here() {
    if cfg!(debug_assertions) {
        let vc = WANTED.read(|wanted| wanted.vc);
        let answer = engine::tear_down_vc(vc);
        WANTED.update(|wanted| wanted.answer = Some(answer));
    }
}

/// What a client does instead.
fn tell_another_thread() {
    WANTED.update(|wanted| wanted.told = true);
}

fn wanted_by_a_callback(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let vc = Shared(f.vc.ptr());
    WANTED.update(|wanted| {
        *wanted = Wanted {
            vc: f.vc.ptr(),
            answer: None,
            told: false,
        };
    });
    CLIENT.update(|client| client.answer(Answer::Do(tear_down_here)));
    let indicated = transport::receive(f.endpoint(), &mut [1, 2, 3, 4], 4);
    holds("data was indicated", indicated.is_some())?;
    if cfg!(debug_assertions) {
        let answer = WANTED.read(|wanted| wanted.answer);
        same(
            "RxCeTearDownVC in a callback of the circuit",
            answer,
            Some(status::INVALID_PARAMETER),
        )?;
        same(
            "requests for a disconnect",
            [seen(Kind::Release), seen(Kind::Abort)],
            [0, 0],
        )?;
    }
    same("State", f.state(), RXCE_VC_ACTIVE)?;
    CLIENT.update(|client| client.answer(Answer::Do(tell_another_thread)));
    let tearing = Thread::start(move || {
        let told = WANTED.wait_until(time::PATIENCE, |wanted| wanted.told);
        (told, vc.tear_down())
    })?;
    let indicated = transport::receive(f.endpoint(), &mut [5, 6], 2);
    holds("more data was indicated", indicated.is_some())?;
    let (told, answer) = tearing.join("RxCeTearDownVC in another thread")?;
    holds("the callback told the other thread", told)?;
    fixture::ok("RxCeTearDownVC in another thread", answer)?;
    holds("the structure is zero", f.vc.is_zero())?;
    let stream = CLIENT.read(|client| client.stream().to_vec());
    same("the data", stream, [1, 2, 3, 4, 5, 6].to_vec())?;
    f.close()
}

fn waits_for_both(_run: &Run) -> Outcome {
    let data = buffer(b"under way")?;
    let (entered, go_on) = (Event::new(), Event::new());
    let f = Fixture::orderly()?;
    let endpoint = f.endpoint();
    let token = TRANSPORT
        .read(|state| state.file(endpoint).map(|file| file.token))
        .unwrap_or_default();
    script(Kind::Send, Script::PEND);
    fixture::ok("asynchronous send", send(f.vc.ptr(), &data, 1))?;

    CLIENT.update(|client| client.gate(&entered, &go_on));
    let indication = Thread::start(move || transport::receive(endpoint, &mut [1, 2, 3, 4], 4))?;
    let inside = entered.wait(time::PATIENCE);
    let vc = Shared(f.vc.ptr());
    let thread = Thread::start(move || vc.tear_down())?;
    let waits_for_send = !thread.ends_within(SECOND);
    transport::complete(Kind::Send, status::SUCCESS);
    let waits_for_callback = !thread.ends_within(SECOND);
    go_on.set();
    let indicated = indication.join("the receive handler")?;
    fixture::ok("RxCeTearDownVC", thread.join("RxCeTearDownVC")?)?;

    holds("the receive callback was entered", inside)?;
    holds("tear-down waits for the send", waits_for_send)?;
    holds("tear-down waits for the callback", waits_for_callback)?;
    let expected = Indication {
        status: status::SUCCESS,
        taken: 4,
        request: false,
    };
    same("the answer to the indication", indicated, Some(expected))?;
    same("SendComplete callbacks", called(Call::SendComplete), 1)?;
    disconnects(1, 0)?;

    let calls = fixture::calls();
    let late = transport::receive_from(endpoint, token, &mut [5; 8], 8);
    let refused = Indication {
        status: status::DATA_NOT_ACCEPTED,
        taken: 0,
        request: false,
    };
    same("the answer to a late indication", late, Some(refused))?;
    same(
        "the answer to a late disconnect",
        transport::disconnect(endpoint, super::ABORT),
        Some(status::SUCCESS),
    )?;
    same(
        "callbacks after tear-down returned",
        fixture::calls(),
        calls,
    )?;
    f.close()
}

fn between_decision_and_request(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let vc = Shared(f.vc.ptr());
    let sent = fixture::requests();
    let stop = stop_before_io_call_driver()?;
    let initiate = Thread::start(move || vc.initiate())?;
    let stopped = stop.is_reached_within(time::PATIENCE);
    let early = fixture::requests();
    let tear_down = Thread::start(move || vc.tear_down())?;
    let waits = !tear_down.ends_within(SECOND);
    let state = f.state();
    stop.go_on();
    let initiated = initiate.join("initiate")?;
    let torn_down = tear_down.join("RxCeTearDownVC")?;
    holds("initiate stopped before its request", stopped)?;
    same("requests before that", early, sent)?;
    holds("tear-down waits for that request", waits)?;
    same("State while it waits", state, RXCE_VC_TEARDOWN)?;
    fixture::ok("initiate", initiated)?;
    fixture::ok("RxCeTearDownVC", torn_down)?;
    disconnects(1, 0)?;
    f.close()
}

fn data_during(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let endpoint = f.endpoint();
    script(Kind::Release, Script::PEND);
    let vc = Shared(f.vc.ptr());
    let thread = Thread::start(move || vc.tear_down())?;
    wait_held(Kind::Release)?;
    let indicated = transport::receive(endpoint, &mut [9; 20], 50);
    let disconnected = transport::disconnect(endpoint, super::RELEASE);
    transport::complete(Kind::Release, status::SUCCESS);
    fixture::ok("RxCeTearDownVC", thread.join("RxCeTearDownVC")?)?;
    let discarded = Indication {
        status: status::SUCCESS,
        taken: 20,
        request: false,
    };
    same("the answer to the indication", indicated, Some(discarded))?;
    same(
        "the answer to the disconnect",
        disconnected,
        Some(status::SUCCESS),
    )?;
    same("callbacks", fixture::calls(), 0)?;
    disconnects(1, 0)?;
    // Nothing is built now: the same call finds nothing.
    if engine::tear_down_vc(f.vc.ptr()) != status::INVALID_PARAMETER {
        return Err(Trouble::Failed("the circuit is still there".into()));
    }
    f.close()
}

fn two_tear_downs(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    script(Kind::Release, Script::PEND);
    let vc = Shared(f.vc.ptr());
    let thread = Thread::start(move || vc.tear_down())?;
    wait_held(Kind::Release)?;
    let bytes = f.vc.bytes();
    let second = engine::tear_down_vc(f.vc.ptr());
    let (after, initiated) = (f.vc.bytes(), engine::initiate(f.vc.ptr()));
    transport::complete(Kind::Release, status::SUCCESS);
    fixture::ok("the first", thread.join("RxCeTearDownVC")?)?;
    outcome::status("the second", second, status::INVALID_PARAMETER)?;
    outcome::status("initiate meanwhile", initiated, status::INVALID_PARAMETER)?;
    same("the circuit's bytes", after, bytes)?;
    disconnects(1, 0)?;
    fixture::endpoint_closed(1)?;
    f.close()
}
