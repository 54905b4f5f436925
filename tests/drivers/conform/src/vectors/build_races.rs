//! RxCeBuildVC against events and other calls (rxce.md §4.3, R14; §5.10).

use rxce_client::{RXCE_VC_ACTIVE, RXCE_VC_DISCONNECTED};
use wdk_sys::NTSTATUS;

use super::{
    ABORT, RELEASE, Shared, Vector, needs_stops, no_stops, own, stop_before_io_call_driver,
};
use crate::{
    client::{CLIENT, Call},
    engine,
    fixture::{
        self, Fixture, bytes_of, called, disconnects, endpoint_of, held, script, script_hook, seen,
        send_and_wait, state_of, wait_held,
    },
    nt::{event::Event, sim::Break, status, thread::Thread, time, time::SECOND},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Kind, Script},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "B2",
        "the peer disconnects between the connect and BuildVC's return",
        disconnect_during,
    ),
    own(
        "B5",
        "tear-down and initiate on a circuit that is connecting",
        while_connecting,
    ),
    own("B5a", "an ABORT that overtakes the connect", overtaken),
    own(
        "B5b",
        "initiate, and the connect fails by itself first",
        fails_by_itself,
    ),
    own(
        "B5c",
        "initiate on a circuit that ended while it was connecting",
        ended_while_connecting,
    ),
    own("B6", "two threads build one structure", two_threads),
    own(
        "B7",
        "BuildVC on a structure that tear-down is still working on",
        during_tear_down,
    ),
];

/// rxce.md §5.13: stage 2 of the drain.
const T2: i64 = 30 * SECOND;

fn disconnect_during(_run: &Run) -> Outcome {
    // Inside the transport's dispatch routine: the connect is complete, IoCallDriver has not returned yet.
    fn after(endpoint: usize) {
        transport::complete(Kind::Connect, status::SUCCESS);
        transport::disconnect(endpoint, RELEASE);
    }
    // The event first, then the completion: what a peer that closes at once looks like.
    fn before(endpoint: usize) {
        transport::disconnect(endpoint, RELEASE);
        transport::complete(Kind::Connect, status::SUCCESS);
    }
    let orders: [fn(usize); 2] = [after, before];
    for (round, hook) in orders.into_iter().enumerate() {
        let mut f = Fixture::orderly()?;
        let vc = f.room_for_vc()?;
        let told = called(Call::Disconnect);
        script_hook(Kind::Connect, hook);
        fixture::ok("BuildVC", engine::build_vc(vc, f.connection.ptr()))?;
        same("State", state_of(vc), RXCE_VC_DISCONNECTED)?;
        same("Disconnect callbacks", called(Call::Disconnect), told + 1)?;
        let call = CLIENT.read(|client| client.last(Call::Disconnect));
        let seen_call = call.map(|call| (call.vc, call.value));
        same(
            "Disconnect's circuit and flags",
            seen_call,
            Some((vc, RELEASE)),
        )?;
        // The acknowledgement is owed, once.
        let released = seen(Kind::Release);
        fixture::ok("RxCeTearDownVC", engine::tear_down_vc(vc))?;
        same("acknowledgements", seen(Kind::Release), released + 1)?;
        f.close()?;
        disconnects(2 * (round + 1), 0)?;
    }
    Ok(())
}

/// A BuildVC in another thread whose connect the transport holds.
fn connecting<'a>(
    f: &mut Fixture,
) -> Outcome<(Shared<rxce_client::RXCE_VC>, Thread<'a, NTSTATUS>)> {
    let vc = Shared(f.room_for_vc()?);
    let connection = Shared(f.connection.ptr());
    let build = Thread::start(move || {
        let (vc, connection) = (vc, connection);
        engine::build_vc(vc.0, connection.0)
    })?;
    Ok((vc, build))
}

fn is_zero(vc: Shared<rxce_client::RXCE_VC>) -> Outcome {
    holds(
        "the structure is zero",
        bytes_of(vc.0).iter().all(|&byte| byte == 0),
    )
}

fn while_connecting(run: &Run) -> Outcome {
    let mut f = Fixture::orderly()?;
    let counts = f.counts();
    let before = run.balance();
    script(Kind::Connect, Script::PEND);
    let (vc, build) = connecting(&mut f)?;
    wait_held(Kind::Connect)?;
    let torn_down = vc.tear_down();
    let began = time::now();
    let initiated = vc.initiate();
    let again = engine::initiate_by_chance(vc.0);
    let built = build.join("BuildVC")?;
    let ended = time::now();
    outcome::status(
        "tear-down of a circuit that is connecting",
        torn_down,
        status::INVALID_PARAMETER,
    )?;
    fixture::ok("initiate", initiated)?;
    holds(
        "a second initiate is SUCCESS, or finds nothing any more",
        again == status::SUCCESS || again == status::INVALID_PARAMETER,
    )?;
    outcome::status("BuildVC", built, status::CONNECTION_ABORTED)?;
    if let (Some(began), Some(ended)) = (began, ended) {
        holds("BuildVC fails within T2", ended - began <= T2)?;
    } else {
        run.part_missing("the time that BuildVC took");
    }
    disconnects(0, 1)?;
    is_zero(vc)?;
    same("counts of the parents", f.counts(), counts)?;
    same("callbacks", fixture::calls(), 0)?;
    before.unchanged(run, "the failed build")?;
    f.close()
}

fn overtaken(run: &Run) -> Outcome {
    for (round, (connect, expected)) in [
        (Script::PEND, status::CANCELLED),
        (Script::Inline(status::SUCCESS), status::CONNECTION_ABORTED),
    ]
    .into_iter()
    .enumerate()
    {
        let mut f = Fixture::orderly()?;
        let counts = f.counts();
        let connects = seen(Kind::Connect);
        script(Kind::Connect, connect);
        // BuildVC's first request is the associate; the connect is the next.
        let associate = stop_before_io_call_driver()?;
        let (vc, build) = connecting(&mut f)?;
        let first = associate.is_reached_within(time::PATIENCE);
        let connect = stop_before_io_call_driver()?;
        associate.go_on();
        let second = connect.is_reached_within(time::PATIENCE);
        let early = seen(Kind::Connect);
        let began = time::now();
        let initiated = vc.initiate();
        connect.go_on();
        let built = build.join("BuildVC")?;
        let ended = time::now();
        holds("BuildVC stopped before its requests", first && second)?;
        same("connects before initiate", early, connects)?;
        fixture::ok("initiate", initiated)?;
        outcome::status("BuildVC", built, expected)?;
        if let (Some(began), Some(ended)) = (began, ended) {
            holds("BuildVC fails within T2", ended - began <= T2 + 2 * SECOND)?;
        } else {
            run.part_missing("the time that BuildVC took");
        }
        is_zero(vc)?;
        same("counts of the parents", f.counts(), counts)?;
        same("callbacks", fixture::calls(), 0)?;
        same("ABORT requests", seen(Kind::Abort), round + 1)?;
        f.close()?;
    }
    Ok(())
}

fn fails_by_itself(_run: &Run) -> Outcome {
    needs_stops()?;
    let mut f = Fixture::orderly()?;
    let counts = f.counts();
    script(Kind::Connect, Script::PEND);
    let (vc, build) = connecting(&mut f)?;
    wait_held(Kind::Connect)?;
    let stop = stop_before_io_call_driver()?;
    let initiate = Thread::start(move || vc.initiate())?;
    let stopped = stop.is_reached_within(time::PATIENCE);
    transport::complete(Kind::Connect, status::CONNECTION_REFUSED);
    let waits = !build.ends_within(SECOND);
    stop.go_on();
    let initiated = initiate.join("initiate")?;
    let built = build.join("BuildVC")?;
    holds("initiate stopped before its request", stopped)?;
    holds("BuildVC waits for initiate's request", waits)?;
    fixture::ok("initiate", initiated)?;
    outcome::status("BuildVC", built, status::CONNECTION_REFUSED)?;
    disconnects(0, 1)?;
    is_zero(vc)?;
    same("counts of the parents", f.counts(), counts)?;
    same("callbacks", fixture::calls(), 0)?;
    f.close()
}

/// The peer or the address ends the circuit, and the transport keeps the connect: only the client can end the build.
fn ended_while_connecting(run: &Run) -> Outcome {
    type End = fn(&Fixture, usize) -> Option<NTSTATUS>;
    let peer_aborts: End = |_, endpoint| transport::disconnect(endpoint, ABORT);
    let peer_releases: End = |_, endpoint| transport::disconnect(endpoint, RELEASE);
    let address_fails: End = |f, _| transport::error(f.address_file(), status::LINK_FAILED);
    for (end, connect) in [
        (peer_aborts, Script::PEND),
        (peer_releases, Script::UNTIL_ABORT),
        (address_fails, Script::UNTIL_ABORT),
        (peer_aborts, Script::UNTIL_CLOSE),
    ] {
        let mut f = Fixture::orderly()?;
        // The circuits of one address share its errors; here there is to be one.
        fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
        let (counts, aborts) = (f.counts(), seen(Kind::Abort));
        let before = run.balance();
        let told = called(Call::Disconnect) + called(Call::ConnectionError);
        script(Kind::Connect, connect);
        let (vc, build) = connecting(&mut f)?;
        wait_held(Kind::Connect)?;
        let answer = end(&f, endpoint_of(vc.0));
        let state = state_of(vc.0);
        let waits = !build.ends_within(SECOND);
        let torn_down = vc.tear_down();
        let initiated = vc.initiate();
        let built = build.join("BuildVC")?;
        same("the answer to the event", answer, Some(status::SUCCESS))?;
        same("State", state, RXCE_VC_DISCONNECTED)?;
        holds("BuildVC waits for its connect", waits)?;
        outcome::status(
            "tear-down of a circuit that is connecting",
            torn_down,
            status::INVALID_PARAMETER,
        )?;
        fixture::ok("initiate", initiated)?;
        outcome::status("BuildVC", built, status::CONNECTION_ABORTED)?;
        same("ABORT requests", seen(Kind::Abort), aborts + 1)?;
        is_zero(vc)?;
        same("counts of the parents", f.counts(), counts)?;
        let told_now = called(Call::Disconnect) + called(Call::ConnectionError);
        same("callbacks of the circuit", told_now, told)?;
        before.unchanged(run, "the failed build")?;
        f.close()?;
    }
    Ok(())
}

fn two_threads(run: &Run) -> Outcome {
    // Overlapping for certain: the first build is waiting for its connect.
    let mut f = Fixture::orderly()?;
    let [connection, address, transport, on_address, on_transport] = f.counts();
    let one_more = [
        connection + 1,
        address + 1,
        transport + 1,
        on_address,
        on_transport,
    ];
    script(Kind::Connect, Script::PEND);
    let (vc, build) = connecting(&mut f)?;
    wait_held(Kind::Connect)?;
    let second = engine::build_vc(vc.0, f.connection.ptr());
    transport::complete(Kind::Connect, status::SUCCESS);
    let first = build.join("BuildVC")?;
    outcome::status("the second build", second, status::INVALID_PARAMETER)?;
    fixture::ok("the first build", first)?;
    same("State", state_of(vc.0), RXCE_VC_ACTIVE)?;
    same("counts of the parents", f.counts(), one_more)?;
    f.close()?;

    // Both find the structure free; it belongs to the faster one.
    if Break::is_possible() {
        let mut f = Fixture::orderly()?;
        let stop = Break::before(c"IoAllocateIrp").ok_or_else(no_stops)?;
        let (vc, build) = connecting(&mut f)?;
        let stopped = stop.is_reached_within(time::PATIENCE);
        let second = engine::build_vc(vc.0, f.connection.ptr());
        stop.go_on();
        let first = build.join("BuildVC")?;
        holds("the first build stopped before its allocation", stopped)?;
        fixture::ok("the second build", second)?;
        outcome::status("the first build", first, status::INVALID_PARAMETER)?;
        same("State", state_of(vc.0), RXCE_VC_ACTIVE)?;
        same("counts of the parents", f.counts(), one_more)?;
        f.close()?;
    }

    // And as it comes.
    for _ in 0..16 {
        let before = run.balance();
        let mut f = Fixture::orderly()?;
        let vc = Shared(f.room_for_vc()?);
        let connection = Shared(f.connection.ptr());
        let go = Event::new();
        let start = || {
            Thread::start(|| {
                go.wait(time::PATIENCE);
                let (vc, connection) = (&vc, &connection);
                engine::build_vc(vc.0, connection.0)
            })
        };
        let (one, two) = (start()?, start()?);
        go.set();
        let mut answers = [one.join("BuildVC")?, two.join("BuildVC")?];
        answers.sort_unstable();
        same(
            "the two answers",
            answers,
            [status::INVALID_PARAMETER, status::SUCCESS],
        )?;
        same("State", state_of(vc.0), RXCE_VC_ACTIVE)?;
        same("counts of the parents", f.counts(), one_more)?;
        f.close()?;
        before.unchanged(run, "a round")?;
    }
    Ok(())
}

fn during_tear_down(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let counts = f.counts();
    script(Kind::Release, Script::PEND);
    let vc = Shared(f.vc.ptr());
    let thread = Thread::start(move || vc.tear_down())?;
    wait_held(Kind::Release)?;
    let bytes = f.vc.bytes();
    let built = engine::build_vc(f.vc.ptr(), f.connection.ptr());
    let after = f.vc.bytes();
    let still_held = held(Kind::Release);
    transport::complete(Kind::Release, status::SUCCESS);
    fixture::ok("RxCeTearDownVC", thread.join("RxCeTearDownVC")?)?;
    outcome::status("BuildVC during tear-down", built, status::INVALID_PARAMETER)?;
    same("the circuit's bytes", after, bytes)?;
    same("RELEASE requests held meanwhile", still_held, 1)?;
    fixture::ok(
        "BuildVC after tear-down",
        engine::build_vc(f.vc.ptr(), f.connection.ptr()),
    )?;
    same("counts of the parents", f.counts(), counts)?;
    let data = fixture::buffer(b"second life")?;
    script(Kind::Release, Script::Inline(status::SUCCESS));
    fixture::ok("a synchronous send", send_and_wait(f.vc.ptr(), &data))?;
    if calls_are_nil() {
        f.close()
    } else {
        Err(Trouble::Failed("a callback for a local disconnect".into()))
    }
}

fn calls_are_nil() -> bool {
    fixture::calls() == 0
}
