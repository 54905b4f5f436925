//! RxCeBuildConnectionOverMultipleTransports: bad arguments, useless addresses, and no memory (rxce.md §5.8).

use alloc::{format, vec};
use core::ptr;

use rxce_client::RXCE_ADDRESS;

use super::{Change, Vector, documented, multiple, own};
use crate::{
    engine::{self, Multiple},
    fixture::{self, Fixture, requests, seen},
    nt::{pool::Block, status, status::Named},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    race::{ALL, BEST, COMPLETION, FIRST, Race, won},
    transport::{FileKind, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "M14",
        "RxCeBuildConnectionOverMultipleTransports refuses bad arguments",
        bad_arguments,
    ),
    documented(
        "M15",
        "INVALID_HANDLE where no address is of use; useless ones are passed over",
        useless_addresses,
    ),
    own(
        "M16",
        "RxCeBuildConnectionOverMultipleTransports with each kernel call failing",
        without_memory,
    ),
    own(
        "M17",
        "one address alone, and one address several times",
        same_address,
    ),
];

fn bad_arguments(run: &Run) -> Outcome {
    let race = Race::among(2)?;
    let before = run.balance();
    let opened = seen(Kind::Open(FileKind::Endpoint));
    let changes: [Change<Multiple>; 8] = [
        ("no addresses", |with| with.count = 0),
        ("1,025 addresses", |with| with.count = 1025),
        ("the largest count", |with| with.count = u32::MAX),
        ("no array", |with| with.addresses = ptr::null_mut()),
        ("no completion routine", |with| with.routine = None),
        ("no context", |with| with.context = ptr::null_mut()),
        ("no information", |with| with.information = ptr::null_mut()),
        ("no table", |with| with.handler = ptr::null_mut()),
    ];
    let refused = |what: &str, answer: i32| -> Outcome {
        outcome::status(what, answer, status::INVALID_PARAMETER)?;
        let bytes = [race.connection.bytes(), race.vc.bytes()];
        let untouched = bytes.iter().flatten().all(|&byte| byte == 0xCC);
        holds(&format!("{what}: the structures are untouched"), untouched)
    };
    for (what, change) in changes {
        let mut addresses = race.addresses();
        refused(what, race.build_changed(FIRST, &mut addresses, change))?;
    }
    for option in [3, 0x8000_0000, u32::MAX] {
        refused(&format!("option {option:#x}"), race.build(option))?;
    }
    let good = race.context.read();
    let contexts: [Change<rxce_client::RXCE_CONNECTION_COMPLETION_CONTEXT>; 4] = [
        ("no connection", |context| {
            context.pConnection = ptr::null_mut()
        }),
        ("no circuit", |context| context.pVc = ptr::null_mut()),
        ("one structure for both", |context| {
            context.pVc = context.pConnection.cast()
        }),
        ("structures that overlap", |context| {
            context.pVc = context.pConnection.wrapping_byte_add(8).cast();
        }),
    ];
    for (what, change) in contexts {
        race.context.change(change);
        let answer = race.build(FIRST);
        race.context.write(good);
        refused(what, answer)?;
    }
    let bad_remote: [Change<rxce_client::RXCE_CONNECTION_INFORMATION>; 3] = [
        ("no remote address", |info| {
            info.RemoteAddress = ptr::null_mut()
        }),
        ("a remote address of no bytes", |info| {
            info.RemoteAddressLength = 0
        }),
        ("a negative length", |info| info.RemoteAddressLength = -1),
    ];
    for (what, change) in bad_remote {
        let answer = race.build_changed(FIRST, &mut race.addresses(), |with| {
            // SAFETY: The fixture's information, alive during the call.
            change(unsafe { &mut *with.information });
        });
        refused(what, answer)?;
    }
    same(
        "endpoints opened",
        seen(Kind::Open(FileKind::Endpoint)),
        opened,
    )?;
    before.unchanged(run, "refused calls")?;

    // Structures that are built stay what they are.
    let live = Fixture::connected(Personality::NoZeroLength)?;
    let bytes = (live.connection.bytes(), live.vc.bytes());
    let before = run.balance();
    for (connection, vc) in [
        (live.connection.ptr(), race.vc.ptr()),
        (race.connection.ptr(), live.vc.ptr()),
    ] {
        race.context.change(|context| {
            context.pConnection = connection;
            context.pVc = vc;
        });
        let answer = race.build(FIRST);
        race.context.write(good);
        refused("a structure that is built", answer)?;
    }
    same(
        "the live structures",
        (live.connection.bytes(), live.vc.bytes()),
        bytes,
    )?;
    before.unchanged(run, "refused calls")?;
    live.close()?;
    same(
        "calls of the completion routine",
        COMPLETION.read(|seen| seen.calls),
        0,
    )?;
    same("callbacks", fixture::calls(), 0)?;
    race.close()
}

fn useless_addresses(run: &Run) -> Outcome {
    let race = Race::among(2)?;
    let datagrams = Fixture::addressed(Personality::Datagram)?;
    let gone = Fixture::addressed(Personality::NoZeroLength)?;
    fixture::ok(
        "RxCeTearDownAddress",
        engine::tear_down_address(gone.address.ptr()),
    )?;
    let Some(first) = race.stacks.first() else {
        return Err(Trouble::Failed("a race without addresses".into()));
    };
    let copy = Block::new(first.address.read()).ok_or_else(Trouble::no_memory)?;
    let garbage = Block::<RXCE_ADDRESS>::filled(0xCC).ok_or_else(Trouble::no_memory)?;
    let useless = [
        ptr::null_mut(),
        garbage.ptr(),
        copy.ptr(),
        gone.address.ptr(),
        datagrams.address.ptr(),
        first.transport.ptr().cast(),
        ptr::without_provenance_mut(0xFFFF_8000_0000_2000),
        ptr::without_provenance_mut(0x1001),
    ];
    let before = run.balance();
    let sent = requests();
    for option in [FIRST, BEST, ALL] {
        let mut addresses = useless;
        let answer = race.build_over(option, &mut addresses, ptr::null_mut());
        outcome::status("useless addresses alone", answer, status::INVALID_HANDLE)?;
        let mut many = vec![ptr::null_mut(); 1024];
        let answer = race.build_over(option, &mut many, ptr::null_mut());
        outcome::status("1,024 useless addresses", answer, status::INVALID_HANDLE)?;
    }
    same("requests", requests(), sent)?;
    before.unchanged(run, "refused calls")?;
    // Good ones that cannot be opened, or associated.
    for kind in [Kind::Open(FileKind::Endpoint), Kind::Associate] {
        fixture::script(kind, Script::Inline(status::DEVICE_NOT_READY));
        let answer = race.build(FIRST);
        fixture::script(kind, Script::Inline(status::SUCCESS));
        outcome::status(&format!("{kind:?} failing"), answer, status::INVALID_HANDLE)?;
        race.nothing_built()?;
        before.unchanged(run, "endpoints that could not be opened")?;
    }
    same("connects", seen(Kind::Connect), 0)?;
    // A good one behind them wins, and AddressIndex counts the caller's array.
    let mut addresses = useless.to_vec();
    addresses.push(race.addresses().get(1).copied().unwrap_or(ptr::null_mut()));
    let answer = race.build_over(BEST, &mut addresses, ptr::null_mut());
    fixture::ok("one good address", answer)?;
    same(
        "AddressIndex",
        race.context.read().AddressIndex as usize,
        useless.len(),
    )?;
    won(run, &race, 1)?;
    same(
        "calls of the completion routine",
        COMPLETION.read(|seen| seen.calls),
        0,
    )?;
    datagrams.close()?;
    gone.close()?;
    race.close()
}

fn without_memory(run: &Run) -> Outcome {
    let faults = super::faults()?;
    let race = Race::among(2)?;
    let files = || TRANSPORT.read(crate::transport::state::State::open_files);
    for nth in 0..200 {
        let (before, connects, open) = (run.balance(), seen(Kind::Connect), files());
        race.reset_context();
        let (answer, calls) = if nth == 0 {
            (faults.all(|| race.build(FIRST)), u32::MAX)
        } else {
            faults.nth(nth, || race.build(FIRST))
        };
        if answer >= 0 {
            // One slot less, or no fault at all: the winner is whole.
            fixture::ok(&format!("call {nth} failing"), answer)?;
            race.losers_gone()?;
            fixture::ok("RxCeTearDownVC", engine::tear_down_vc(race.vc.ptr()))?;
            let connection = race.connection.ptr();
            fixture::ok(
                "RxCeTearDownConnection",
                engine::tear_down_connection(connection),
            )?;
            if calls < nth {
                holds("many calls could fail", nth > 10)?;
                break;
            }
        } else {
            let expected = Named(status::INSUFFICIENT_RESOURCES);
            same(&format!("call {nth} failing"), Named(answer), expected)?;
            // Endpoints may have been opened and associated by then, and are closed again; no peer has heard of it.
            same(
                "connects: nothing is started",
                seen(Kind::Connect),
                connects,
            )?;
            same("open files of the transport", files(), open)?;
            race.nothing_built()?;
            before.unchanged(run, &format!("call {nth} failing"))?;
        }
        holds("fewer than 199 calls", nth < 199)?;
    }
    same(
        "calls of the completion routine",
        COMPLETION.read(|seen| seen.calls),
        0,
    )?;
    race.close()?;
    multiple::next_round()?;

    // Once it has begun, nothing can fail for memory any more.
    let race = Race::among(2)?;
    race.connects(Script::PEND);
    outcome::status("the routine", race.build(BEST), status::PENDING)?;
    let result = faults.all(|| {
        race.end(1, status::SUCCESS)?;
        race.end(0, status::CONNECTION_REFUSED)?;
        let result = race.completed()?;
        race.losers_gone()?;
        Ok(result)
    })?;
    same("Status and AddressIndex", result, (status::SUCCESS, 1))?;
    won(run, &race, 1)?;
    race.close()
}

fn same_address(run: &Run) -> Outcome {
    for option in [FIRST, BEST, ALL] {
        let race = Race::among(1)?;
        fixture::ok("one address", race.build(option))?;
        same("AddressIndex", race.context.read().AddressIndex, 0)?;
        won(run, &race, 0)?;
        race.close()?;
        multiple::next_round()?;

        let race = Race::among(1)?;
        let address = race.addresses().first().copied().unwrap_or(ptr::null_mut());
        let mut addresses = [address; 5];
        let answer = race.build_over(option, &mut addresses, ptr::null_mut());
        fixture::ok("one address five times", answer)?;
        race.losers_gone()?;
        same("AddressIndex", race.context.read().AddressIndex, 0)?;
        same("counts of its parents", race.counts(0), [1; 4])?;
        // Once it is decided, the others need not even try.
        let connects = seen(Kind::Connect);
        holds(
            "each is tried, or it is decided",
            connects == 5 || option != ALL && connects > 0,
        )?;
        fixture::endpoint_closed(4)?;
        race.close()?;
        fixture::endpoint_closed(5)?;
        multiple::next_round()?;
    }
    Ok(())
}
