//! The extension routines that take the small event table, the one of older headers.

use alloc::format;
use core::ptr;

use rxce_client::{RXCE_CONNECTION_EVENT_HANDLER, RXCEX_SMALL_EVENT_HANDLER};
use wdk_sys::NTSTATUS;

use super::{Vector, own};
use crate::{
    client::{self, CLIENT, Call},
    engine::extension::{self, SmallTable},
    fixture::{self, Fixture, PEER, buffer, called, ok, send_and_wait},
    nt::{irql, pool::Block, status},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    race::{FIRST, Race},
    transport::{self, Kind, Personality, Script},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "V4",
        "the 64-byte event table: nothing behind it is read, Send Submitted is never called",
        small_table,
    ),
    own(
        "V5",
        "the 64-byte event table over several transports",
        small_table_of_a_race,
    ),
    own(
        "V6",
        "bad arguments, failing transports and failing allocations with the 64-byte event table",
        small_table_refused,
    ),
];

/// The recorder's callbacks in the table of older headers.
pub(super) fn small_handlers() -> SmallTable {
    let full = client::connection_handlers();
    SmallTable {
        RxCeDisconnectEventHandler: full.RxCeDisconnectEventHandler,
        RxCeErrorEventHandler: full.RxCeErrorEventHandler,
        RxCeReceiveEventHandler: full.RxCeReceiveEventHandler,
        RxCeReceiveDatagramEventHandler: full.RxCeReceiveDatagramEventHandler,
        RxCeReceiveExpeditedEventHandler: full.RxCeReceiveExpeditedEventHandler,
        RxCeSendPossibleEventHandler: full.RxCeSendPossibleEventHandler,
        RxCeDataReadyEventHandler: full.RxCeDataReadyEventHandler,
        RxCeSendCompleteEventHandler: full.RxCeSendCompleteEventHandler,
    }
}

/// RxCeBuildConnection with a table in a block of its own, so that a read behind it faults where blocks are guarded.
pub(super) fn connect_small(f: &Fixture) -> Outcome<NTSTATUS> {
    let table = Block::new(small_handlers()).ok_or_else(Trouble::no_memory)?;
    let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
    let mut information = fixture::information(&peer);
    Ok(extension::build_connection_small(
        f.address.ptr(),
        &raw mut information,
        table.ptr(),
        client::CONNECTION_CONTEXT,
        f.connection.ptr(),
        f.vc.ptr(),
    ))
}

fn small_table(_run: &Run) -> Outcome {
    same("the small table", size_of::<SmallTable>(), 64)?;
    same(
        "RXCEX_SMALL_EVENT_HANDLER",
        size_of::<RXCEX_SMALL_EVENT_HANDLER>(),
        64,
    )?;
    same(
        "the full table",
        size_of::<RXCE_CONNECTION_EVENT_HANDLER>(),
        72,
    )?;
    let f = Fixture::addressed(Personality::Orderly)?;
    ok("the build", connect_small(&f)?)?;
    // SAFETY: The engine's copy of the table lives as long as the connection.
    let copied = unsafe { f.connection.read().pHandler.read() };
    holds(
        "the last member is NULL",
        copied.RxCeSendSubmittedEventHandler.is_none(),
    )?;
    let data = buffer(b"small")?;
    ok("an asynchronous send", fixture::send(f.vc.ptr(), &data, 9))?;
    same("SendComplete callbacks", called(Call::SendComplete), 1)?;
    same("SendSubmitted callbacks", called(Call::SendSubmitted), 0)?;
    let mut bytes = *b"received";
    let seen = transport::receive(f.endpoint(), &mut bytes, 8);
    same("bytes taken", seen.map(|seen| seen.taken), Some(8))?;
    same(
        "the stream",
        CLIENT.read(|client| client.stream().to_vec()),
        bytes.to_vec(),
    )?;
    transport::disconnect(f.endpoint(), super::RELEASE);
    same("Disconnect callbacks", called(Call::Disconnect), 1)?;
    f.close()
}

fn small_table_of_a_race(run: &Run) -> Outcome {
    let race = Race::among(2)?;
    let answer = race.build_small(FIRST, &mut small_handlers());
    ok("the build", answer)?;
    crate::race::won(run, &race, 0)?;
    race.close()?;
    // Pending, refused, failing.
    let race = Race::among(2)?;
    race.connects(Script::PEND);
    let answer = race.build_small(FIRST, &mut small_handlers());
    outcome::status("a build that pends", answer, status::PENDING)?;
    race.end(1, status::SUCCESS)?;
    same("the winner", race.completed()?, (status::SUCCESS, 1))?;
    race.close()?;
    let race = Race::among(1)?;
    let none = race.build_small(FIRST, ptr::null_mut());
    outcome::status("no table", none, status::INVALID_PARAMETER)?;
    race.script(0, Kind::Connect, Script::Inline(status::CONNECTION_REFUSED));
    let answer = race.build_small(FIRST, &mut small_handlers());
    outcome::status("a connect that fails", answer, status::CONNECTION_REFUSED)?;
    race.script(
        0,
        Kind::Associate,
        Script::Inline(status::INVALID_CONNECTION),
    );
    race.reset_context();
    let open = Kind::Open(transport::FileKind::Endpoint);
    race.script(0, open, Script::Inline(status::DEVICE_NOT_READY));
    let answer = race.build_small(FIRST, &mut small_handlers());
    outcome::status("no endpoint", answer, status::INVALID_HANDLE)?;
    let faults = super::faults()?;
    race.reset_context();
    let answer = faults.all(|| race.build_small(FIRST, &mut small_handlers()));
    outcome::status("no memory", answer, status::INSUFFICIENT_RESOURCES)?;
    race.nothing_built()?;
    race.close()
}

fn small_table_refused(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Orderly)?;
    let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
    let mut information = fixture::information(&peer);
    let before = run.balance();
    let answer = extension::build_connection_small(
        f.address.ptr(),
        &raw mut information,
        ptr::null_mut(),
        client::CONNECTION_CONTEXT,
        f.connection.ptr(),
        f.vc.ptr(),
    );
    outcome::status("no table", answer, status::INVALID_PARAMETER)?;
    for level in [irql::DISPATCH, 12] {
        let answer = irql::at(level, || {
            // The table is not looked at either.
            extension::build_connection_small(
                f.address.ptr(),
                &raw mut information,
                ptr::without_provenance_mut(0xFFFF_8000_0000_3000),
                client::CONNECTION_CONTEXT,
                f.connection.ptr(),
                f.vc.ptr(),
            )
        });
        outcome::status("above APC_LEVEL", answer, status::INVALID_PARAMETER)?;
    }
    let untouched = |bytes: alloc::vec::Vec<u8>| bytes.iter().all(|&byte| byte == 0xCC);
    holds(
        "the structures are unchanged",
        untouched(f.connection.bytes()) && untouched(f.vc.bytes()),
    )?;
    before.unchanged(run, "refused builds")?;
    fixture::script(Kind::Connect, Script::Inline(status::CONNECTION_REFUSED));
    outcome::status(
        "a connect that fails",
        connect_small(&f)?,
        status::CONNECTION_REFUSED,
    )?;
    fixture::script(Kind::Connect, Script::Inline(status::SUCCESS));
    holds(
        "the structures are zero",
        f.connection.is_zero() && f.vc.is_zero(),
    )?;
    before.unchanged(run, "a connect that fails")?;
    let faults = super::faults()?;
    for nth in 1..200 {
        let (answer, calls) = faults.nth(nth, || connect_small(&f));
        let answer = answer?;
        if answer >= 0 {
            if calls < nth {
                let data = buffer(b"whole")?;
                ok("a send", send_and_wait(f.vc.ptr(), &data))?;
                return f.close();
            }
            ok("RxCeTearDownVC", crate::engine::tear_down_vc(f.vc.ptr()))?;
            let answer = crate::engine::tear_down_connection(f.connection.ptr());
            ok("RxCeTearDownConnection", answer)?;
            continue;
        }
        let what = format!("call {nth} failing");
        outcome::status(&what, answer, status::INSUFFICIENT_RESOURCES)?;
        holds(
            "the structures are zero",
            f.connection.is_zero() && f.vc.is_zero(),
        )?;
        before.unchanged(run, &what)?;
    }
    Err(Trouble::Failed(
        "two hundred fallible calls in one build".into(),
    ))
}
