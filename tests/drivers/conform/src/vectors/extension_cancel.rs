//! RxCexCancelConnect: a connect in progress, really cancelled.

use alloc::format;
use core::ptr;

use rxce_client::{RXCE_CONNECTION, RXCE_VC, RXCE_VC_ACTIVE};
use wdk_sys::NTSTATUS;

use super::{Shared, Vector, extension_tables, own, stop_before_io_call_driver};
use crate::{
    engine::{self, extension},
    fixture::{
        self, Fixture, buffer, bytes_of, disconnects, ok, script, seen, send_and_wait, state_of,
        wait_held,
    },
    nt::{irql, pool::Block, status, thread::Thread, time, time::SECOND},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    race::{COMPLETION, FIRST, Race},
    transport::{self, Ends, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "V7",
        "RxCexCancelConnect ends a BuildVC that waits for its connect",
        ends_a_build,
    ),
    own(
        "V8",
        "cancelled builds over transports that obey late, or not at all",
        whatever_the_transport_does,
    ),
    own(
        "V9",
        "RxCexCancelConnect before the connect is sent",
        before_the_connect,
    ),
    own(
        "V10",
        "RxCexCancelConnect too late, or where nothing is built",
        too_late,
    ),
    own(
        "V11",
        "RxCexCancelConnect against the end of the connect, as it comes",
        as_it_comes,
    ),
    own(
        "V12",
        "RxCexCancelConnect of a connection with its first circuit, with either event table",
        of_a_connection,
    ),
    own(
        "V13",
        "RxCexCancelConnect of a build over several transports",
        of_a_race,
    ),
    own(
        "V14",
        "RxCexCancelConnect of such a build before it is pending, and after its winner",
        of_a_race_early_and_late,
    ),
];

/// rxce.md §5.13: stage 2 of the drain.
const T2: i64 = 30 * SECOND;

type Building<'a> = (Shared<RXCE_VC>, Thread<'a, NTSTATUS>);

fn building<'a>(f: &mut Fixture) -> Outcome<Building<'a>> {
    building_with(f, engine::build_vc)
}

fn building_with<'a>(
    f: &mut Fixture,
    build_vc: fn(*mut RXCE_VC, *mut RXCE_CONNECTION) -> NTSTATUS,
) -> Outcome<Building<'a>> {
    let vc = Shared(f.room_for_vc()?);
    let connection = Shared(f.connection.ptr());
    let build = Thread::start(move || {
        let (vc, connection) = (vc, connection);
        build_vc(vc.0, connection.0)
    })?;
    Ok((vc, build))
}

fn is_zero(vc: Shared<RXCE_VC>) -> Outcome {
    let zero = bytes_of(vc.0).iter().all(|&byte| byte == 0);
    holds("the structure is zero", zero)
}

fn gone(what: &str, answer: NTSTATUS) -> Outcome {
    outcome::status(what, answer, status::INVALID_PARAMETER)
}

/// A way to cancel.
type Cancel<'a> = dyn Fn(Shared<RXCE_VC>) -> NTSTATUS + 'a;

fn ends_a_build(run: &Run) -> Outcome {
    let faults = super::faults()?;
    let cancels: [(&str, &Cancel<'_>); 3] = [
        ("at PASSIVE_LEVEL", &Shared::cancel),
        ("at DISPATCH_LEVEL", &|vc| {
            irql::at(irql::DISPATCH, || vc.cancel())
        }),
        ("without memory", &|vc| faults.all(|| vc.cancel())),
    ];
    for (round, (name, cancel)) in cancels.into_iter().enumerate() {
        let mut f = Fixture::orderly()?;
        let (counts, before) = (f.counts(), run.balance());
        let connects = seen(Kind::Connect);
        script(Kind::Connect, Script::PEND);
        let (vc, build) = building(&mut f)?;
        wait_held(Kind::Connect)?;
        let cancelled = cancel(vc);
        let built = build.join("BuildVC")?;
        ok(&format!("RxCexCancelConnect {name}"), cancelled)?;
        outcome::status("BuildVC", built, status::CANCELLED)?;
        is_zero(vc)?;
        same("counts of the parents", f.counts(), counts)?;
        same("connects", seen(Kind::Connect), connects + 1)?;
        gone("a second cancel", vc.cancel())?;
        same("callbacks", fixture::calls(), 0)?;
        before.unchanged(run, "the cancelled build")?;
        // The same storage again.
        script(Kind::Connect, Script::Inline(status::SUCCESS));
        ok("BuildVC", engine::build_vc(vc.0, f.connection.ptr()))?;
        let data = buffer(b"second life")?;
        ok("a send", send_and_wait(vc.0, &data))?;
        f.close()?;
        disconnects(2 * (round + 1), 0)?;
    }
    Ok(())
}

fn whatever_the_transport_does(run: &Run) -> Outcome {
    // What ends the connect, and how long that may take.
    let tempers = [
        (
            "on cancel",
            Ends {
                abort: false,
                cancel: true,
            },
            0,
            SECOND,
        ),
        (
            "on an ABORT",
            Ends {
                abort: true,
                cancel: false,
            },
            1,
            SECOND,
        ),
        (
            "on the close",
            Ends {
                abort: false,
                cancel: false,
            },
            1,
            T2 + SECOND,
        ),
    ];
    for (name, ends, aborts, limit) in tempers {
        let mut f = Fixture::orderly()?;
        let (counts, before, aborted) = (f.counts(), run.balance(), seen(Kind::Abort));
        script(Kind::Connect, Script::Pend(ends));
        let (vc, build) = building(&mut f)?;
        wait_held(Kind::Connect)?;
        let began = time::now();
        let cancelled = vc.cancel();
        let built = build.join("BuildVC")?;
        let ended = time::now();
        ok("RxCexCancelConnect", cancelled)?;
        outcome::status(
            &format!("BuildVC, a connect that ends {name}"),
            built,
            status::CANCELLED,
        )?;
        same("ABORT requests", seen(Kind::Abort), aborted + aborts)?;
        match (began, ended) {
            (Some(began), Some(ended)) => {
                holds(
                    &format!("a connect that ends {name} ends in time"),
                    ended - began <= limit,
                )?;
            }
            _ => run.part_missing("the time that BuildVC took"),
        }
        is_zero(vc)?;
        same("counts of the parents", f.counts(), counts)?;
        before.unchanged(run, name)?;
        f.close()?;
    }
    // The peer ends the circuit first, and the transport keeps the connect: nothing else could end the build.
    let mut f = Fixture::orderly()?;
    script(Kind::Connect, Script::PEND);
    let (vc, build) = building(&mut f)?;
    wait_held(Kind::Connect)?;
    let endpoint = fixture::endpoint_of(vc.0);
    transport::disconnect(endpoint, super::ABORT);
    let waits = !build.ends_within(SECOND);
    let cancelled = vc.cancel();
    let built = build.join("BuildVC")?;
    holds("BuildVC waits", waits)?;
    ok("RxCexCancelConnect after the peer's disconnect", cancelled)?;
    outcome::status("BuildVC", built, status::CANCELLED)?;
    same("callbacks", fixture::calls(), 0)?;
    f.close()
}

fn before_the_connect(run: &Run) -> Outcome {
    for associate in [status::SUCCESS, status::INVALID_CONNECTION] {
        let mut f = Fixture::orderly()?;
        let (counts, before, connects) = (f.counts(), run.balance(), seen(Kind::Connect));
        script(Kind::Associate, Script::Inline(associate));
        // BuildVC's first request is the associate.
        let stop = stop_before_io_call_driver()?;
        let (vc, build) = building(&mut f)?;
        let stopped = stop.is_reached_within(time::PATIENCE);
        let (first, second) = (vc.cancel(), vc.cancel());
        stop.go_on();
        let built = build.join("BuildVC")?;
        holds("BuildVC stopped before its request", stopped)?;
        ok("RxCexCancelConnect", first)?;
        ok("a second one", second)?;
        let what = "BuildVC, whatever the associate request says";
        outcome::status(what, built, status::CANCELLED)?;
        same("connects", seen(Kind::Connect), connects)?;
        is_zero(vc)?;
        same("counts of the parents", f.counts(), counts)?;
        before.unchanged(run, "the cancelled build")?;
        f.close()?;
    }
    Ok(())
}

fn too_late(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let copy = Block::new(f.vc.read()).ok_or_else(Trouble::no_memory)?;
    let garbage = Block::<RXCE_VC>::filled(0xCC).ok_or_else(Trouble::no_memory)?;
    let (before, sent) = (run.balance(), fixture::requests());
    let live = f.vc.bytes();
    let parents = (f.transport.bytes(), f.address.bytes(), f.connection.bytes());
    let active = status::CONNECTION_ACTIVE;
    outcome::status(
        "a live circuit",
        extension::cancel_connect(f.vc.ptr()),
        active,
    )?;
    let nothing = [
        ("NULL", ptr::null_mut()),
        ("a misaligned pointer", f.vc.ptr().wrapping_byte_add(4)),
        (
            "an unmapped one",
            ptr::without_provenance_mut(0xFFFF_8000_0000_3000),
        ),
        ("a copy of a circuit", copy.ptr()),
        ("garbage", garbage.ptr()),
        ("a connection", f.connection.ptr().cast()),
        ("an address", f.address.ptr().cast()),
        ("a transport", f.transport.ptr().cast()),
    ];
    for (what, vc) in nothing {
        gone(what, extension::cancel_connect(vc))?;
    }
    for level in [irql::DISPATCH + 1, 12] {
        let answer = irql::at(level, || extension::cancel_connect(f.vc.ptr()));
        gone("above DISPATCH_LEVEL", answer)?;
    }
    // Half-valid: refused and unchanged, and well again when it is repaired.
    let good = f.vc.read();
    f.vc.change(|vc| vc.hEndpoint = ptr::null_mut());
    gone("a damaged circuit", extension::cancel_connect(f.vc.ptr()))?;
    f.vc.write(good);
    same("the circuit's bytes", f.vc.bytes(), live)?;
    let now = (f.transport.bytes(), f.address.bytes(), f.connection.bytes());
    same("the parents' bytes", now, parents)?;
    same("requests", fixture::requests(), sent)?;
    before.unchanged(run, "refused calls")?;
    let data = buffer(b"usable")?;
    ok("a send", send_and_wait(f.vc.ptr(), &data))?;
    ok("initiate", engine::initiate(f.vc.ptr()))?;
    outcome::status(
        "a disconnected circuit",
        extension::cancel_connect(f.vc.ptr()),
        active,
    )?;
    // While a tear-down owns it, and after.
    let f2 = Fixture::orderly()?;
    script(Kind::Release, Script::PEND);
    let vc = Shared(f2.vc.ptr());
    let tear_down = Thread::start(move || vc.tear_down())?;
    wait_held(Kind::Release)?;
    let during = vc.cancel();
    transport::complete(Kind::Release, status::SUCCESS);
    ok("RxCeTearDownVC", tear_down.join("RxCeTearDownVC")?)?;
    gone("a circuit that is being torn down", during)?;
    gone("one that was torn down", vc.cancel())?;
    script(Kind::Release, Script::Inline(status::SUCCESS));
    f2.close()?;
    f.close()
}

/// The connect ends by itself at about the time of the cancel: both agree on who was first.
fn as_it_comes(run: &Run) -> Outcome {
    for round in 0..24 {
        let result = if round % 2 == 0 {
            status::SUCCESS
        } else {
            status::CONNECTION_REFUSED
        };
        let mut f = Fixture::orderly()?;
        let (counts, before) = (f.counts(), run.balance());
        script(Kind::Connect, Script::PEND);
        let (vc, build) = building_with(&mut f, engine::build_vc_by_chance)?;
        wait_held(Kind::Connect)?;
        let go = crate::nt::event::Event::new();
        let cancel = Thread::start(|| {
            go.wait(time::PATIENCE);
            let vc = &vc;
            extension::cancel_connect_by_chance(vc.0)
        })?;
        go.set();
        transport::complete(Kind::Connect, result);
        let (cancelled, built) = (cancel.join("RxCexCancelConnect")?, build.join("BuildVC")?);
        let agreed = match cancelled {
            status::SUCCESS => built == status::CANCELLED,
            status::CONNECTION_ACTIVE => built == status::SUCCESS,
            status::INVALID_PARAMETER => built == status::CONNECTION_REFUSED,
            _ => false,
        };
        let what = format!("RxCexCancelConnect ({cancelled:#x}) and BuildVC ({built:#x}) agree");
        holds(&what, agreed)?;
        if built == status::SUCCESS {
            same("State", state_of(vc.0), RXCE_VC_ACTIVE)?;
            ok("RxCeTearDownVC", engine::tear_down_vc(vc.0))?;
        }
        is_zero(vc)?;
        same("counts of the parents", f.counts(), counts)?;
        before.unchanged(run, "a round")?;
        f.close()?;
        // The transport's log is not endless.
        let clean = TRANSPORT.update(transport::state::State::reset);
        holds("the transport is clean", clean)?;
    }
    Ok(())
}

fn of_a_connection(run: &Run) -> Outcome {
    let builds: [fn(&Fixture) -> Outcome<NTSTATUS>; 2] =
        [Fixture::connect, extension_tables::connect_small];
    for connect in builds {
        let f = Fixture::addressed(Personality::Abortive)?;
        let before = run.balance();
        script(Kind::Connect, Script::PEND);
        let build = Thread::start(|| connect(&f).unwrap_or(status::INSUFFICIENT_RESOURCES))?;
        wait_held(Kind::Connect)?;
        let cancelled = extension::cancel_connect(f.vc.ptr());
        let built = build.join("RxCeBuildConnection")?;
        ok("RxCexCancelConnect", cancelled)?;
        outcome::status("RxCeBuildConnection", built, status::CANCELLED)?;
        holds(
            "both structures are zero",
            f.connection.is_zero() && f.vc.is_zero(),
        )?;
        same("counts of the parents", f.counts_of_parents(), [0; 4])?;
        same("callbacks", fixture::calls(), 0)?;
        before.unchanged(run, "the cancelled build")?;
        script(Kind::Connect, Script::Inline(status::SUCCESS));
        ok("the same structures again", connect(&f)?)?;
        f.close()?;
    }
    Ok(())
}

fn of_a_race(run: &Run) -> Outcome {
    let faults = super::faults()?;
    for (count, level) in [(1, irql::PASSIVE), (3, irql::PASSIVE), (2, irql::DISPATCH)] {
        let race = Race::among(count)?;
        race.connects(Script::PEND);
        outcome::status("the build", race.build(FIRST), status::PENDING)?;
        // One attempt has failed already; that is not what the client hears.
        if count == 3 {
            race.end(0, status::CONNECTION_REFUSED)?;
        }
        let (first, second) = faults.all(|| {
            irql::at(level, || {
                let first = extension::cancel_connect(race.vc.ptr());
                (first, extension::cancel_connect_by_chance(race.vc.ptr()))
            })
        });
        ok("RxCexCancelConnect", first)?;
        let again = second == status::SUCCESS || second == status::INVALID_PARAMETER;
        holds("a second one succeeds, or comes when all is over", again)?;
        same(
            "what the completion routine saw",
            race.completed()?,
            (status::CANCELLED, u32::MAX),
        )?;
        same(
            "completion callbacks",
            COMPLETION.read(|seen| seen.calls),
            1,
        )?;
        race.nothing_built()?;
        same("callbacks", fixture::calls(), 0)?;
        let _ = run;
        gone("afterwards", extension::cancel_connect(race.vc.ptr()))?;
        race.close()?;
    }
    Ok(())
}

fn of_a_race_early_and_late(_run: &Run) -> Outcome {
    let builds: [fn(&Race) -> NTSTATUS; 2] = [
        |race| race.build(FIRST),
        |race| race.build_small(FIRST, &mut extension_tables::small_handlers()),
    ];
    for build in builds {
        for associate in [status::SUCCESS, status::INVALID_CONNECTION] {
            let race = Race::among(2)?;
            let connects = seen(Kind::Connect);
            race.script(0, Kind::Associate, Script::Inline(associate));
            race.script(1, Kind::Associate, Script::Inline(associate));
            let stop = stop_before_io_call_driver()?;
            let thread = Thread::start(|| build(&race))?;
            let stopped = stop.is_reached_within(time::PATIENCE);
            let cancelled = extension::cancel_connect(race.vc.ptr());
            stop.go_on();
            let built = thread.join("the build")?;
            holds("the build stopped before its request", stopped)?;
            ok("RxCexCancelConnect", cancelled)?;
            outcome::status("the build", built, status::CANCELLED)?;
            same(
                "the context's Status",
                race.context.read().Status,
                status::CANCELLED,
            )?;
            same("connects", seen(Kind::Connect), connects)?;
            same(
                "completion callbacks",
                COMPLETION.read(|seen| seen.calls),
                0,
            )?;
            race.nothing_built()?;
            race.close()?;
        }
    }
    let race = Race::among(2)?;
    race.script(1, Kind::Connect, Script::PEND);
    ok("the build", race.build(FIRST))?;
    let late = extension::cancel_connect(race.vc.ptr());
    outcome::status("a winner", late, status::CONNECTION_ACTIVE)?;
    let data = buffer(b"usable")?;
    ok("a send", send_and_wait(race.vc.ptr(), &data))?;
    race.close()
}
