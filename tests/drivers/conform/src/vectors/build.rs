//! RxCeBuildVC, one call after another (rxce.md §5.10), and the fault sweep of every build routine.

use alloc::format;

use rxce_client::{RXCE_VC, RXCE_VC_ACTIVE, RXCE_VC_SIGNATURE};

use super::{Vector, documented, faults, own};
use crate::{
    client::Call,
    engine,
    fixture::{
        self, Fixture, PEER, buffer, bytes_of, called, disconnects, last, open_address, script,
        send_and_wait, state_of,
    },
    nt::{irql, pool::Block, status, status::Named},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, FileKind, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "B1",
        "BuildVC with each allocation and each step of the transport failing",
        each_step_fails,
    ),
    documented("B3", "BuildVC succeeds", succeeds),
    own("B4", "BuildVC on a live circuit", on_live),
    own(
        "B8",
        "BuildTransport, BuildAddress, BuildConnection with each kernel call failing",
        sweep_the_rest,
    ),
];

/// The storage is zero, and the failed build left nothing behind.
fn left_nothing(f: &Fixture, vc: *const RXCE_VC, counts: [i64; 5], files: usize) -> Outcome {
    holds(
        "the structure is zero",
        bytes_of(vc).iter().all(|&byte| byte == 0),
    )?;
    same("counts of the parents", f.counts(), counts)?;
    let open = TRANSPORT.read(transport::state::State::open_files);
    same("open files of the transport", open, files)
}

fn each_step_fails(run: &Run) -> Outcome {
    let mut f = Fixture::orderly()?;
    let vc = f.room_for_vc()?;
    let counts = f.counts();
    let files = TRANSPORT.read(transport::state::State::open_files);
    let connection = f.connection.ptr();

    let steps = [
        (Kind::Open(FileKind::Endpoint), status::DEVICE_NOT_READY),
        (Kind::Associate, status::INVALID_CONNECTION),
        (Kind::Connect, status::CONNECTION_REFUSED),
        (Kind::Connect, status::HOST_UNREACHABLE),
        (Kind::Connect, status::IO_TIMEOUT),
    ];
    for (kind, failure) in steps {
        let before = run.balance();
        script(kind, Script::Inline(failure));
        let answer = engine::build_vc(vc, connection);
        script(kind, Script::Inline(status::SUCCESS));
        outcome::status(&format!("BuildVC, {kind:?} failing"), answer, failure)?;
        left_nothing(&f, vc, counts, files)?;
        before.unchanged(run, &format!("{kind:?} failing"))?;
    }
    same("callbacks", fixture::calls(), 0)?;

    let Ok(faults) = faults() else {
        run.part_missing("failing chosen kernel calls");
        return f.close();
    };
    for nth in 1..200 {
        let before = run.balance();
        let (answer, calls) = faults.nth(nth, || engine::build_vc(vc, connection));
        if calls < nth {
            fixture::ok("BuildVC without a fault", answer)?;
            holds("several calls could fail", nth > 3)?;
            return f.close();
        }
        if answer >= 0 {
            // A failure that is no failure of the build (a cache, a table's growth): the circuit must be whole.
            same("State", state_of(vc), RXCE_VC_ACTIVE)?;
            fixture::ok("RxCeTearDownVC", engine::tear_down_vc(vc))?;
            continue;
        }
        let expected = Named(answer) == Named(status::INSUFFICIENT_RESOURCES);
        holds(
            &format!(
                "call {nth} failing gives INSUFFICIENT_RESOURCES, seen {:?}",
                Named(answer)
            ),
            expected,
        )?;
        left_nothing(&f, vc, counts, files)?;
        before.unchanged(run, &format!("call {nth} failing"))?;
    }
    Err(Trouble::Failed(
        "two hundred fallible calls in one BuildVC".into(),
    ))
}

fn succeeds(_run: &Run) -> Outcome {
    for personality in [
        Personality::Orderly,
        Personality::Abortive,
        Personality::Buffering,
    ] {
        let mut f = Fixture::connected(personality)?;
        let [connection, address, transport, on_address, on_transport] = f.counts();
        same("counts after BuildConnection", f.counts(), [1, 1, 1, 1, 1])?;
        let vc = f.add_vc()?;
        let expected = [
            connection + 1,
            address + 1,
            transport + 1,
            on_address,
            on_transport,
        ];
        same("counts of the parents", f.counts(), expected)?;
        for circuit in [vc, f.vc.ptr()] {
            // SAFETY: The fixture's storage.
            let built = unsafe { circuit.read_volatile() };
            let signature = bytes_of(circuit)
                .first_chunk()
                .copied()
                .map(u32::from_le_bytes);
            same("Signature", signature, Some(RXCE_VC_SIGNATURE))?;
            same("Signature as a number", RXCE_VC_SIGNATURE, 0x0040_EB74)?;
            same("State", built.State, RXCE_VC_ACTIVE)?;
            same("pConnection", built.pConnection, f.connection.ptr())?;
            holds("pCleanUpEvent is NULL", built.pCleanUpEvent.is_null())?;
            holds("pReceiveMdl is NULL", built.pReceiveMdl.is_null())?;
            holds("hEndpoint is set", !built.hEndpoint.is_null())?;
            let file = fixture::endpoint_of(circuit);
            let token = TRANSPORT.read(|state| state.file(file).map(|file| file.token));
            same(
                "ConnectionId is the token the transport got",
                token,
                Some(built.ConnectionId.cast()),
            )?;
        }
        let connect = last(Kind::Connect)?;
        same(
            "bytes of the remote address",
            connect.length as usize,
            PEER.len(),
        )?;
        same(
            "the remote address",
            connect.data.get(..PEER.len()),
            Some(&PEER[..]),
        )?;
        let associate = last(Kind::Associate)?;
        same(
            "level of the associate request",
            associate.irql,
            irql::PASSIVE,
        )?;
        same("callbacks", fixture::calls(), 0)?;
        let data = buffer(b"usable")?;
        fixture::ok("a synchronous send", send_and_wait(vc, &data))?;
        f.close()?;
    }
    Ok(())
}

fn on_live(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let data = buffer(b"still alive")?;
    let (before, bytes, counts, sent) =
        (run.balance(), f.vc.bytes(), f.counts(), fixture::requests());
    let answer = engine::build_vc(f.vc.ptr(), f.connection.ptr());
    outcome::status(
        "BuildVC on a live circuit",
        answer,
        status::INVALID_PARAMETER,
    )?;
    same("the circuit's bytes", f.vc.bytes(), bytes)?;
    same("counts of the parents", f.counts(), counts)?;
    same("requests", fixture::requests(), sent)?;
    before.unchanged(run, "the refused build")?;
    fixture::ok("a synchronous send", send_and_wait(f.vc.ptr(), &data))?;
    fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    disconnects(1, 0)?;
    f.close()
}

fn sweep_the_rest(run: &Run) -> Outcome {
    let faults = faults()?;
    let sweep = |what: &str,
                 build: &dyn Fn() -> Outcome<i32>,
                 undo: &dyn Fn() -> i32,
                 zero: &dyn Fn() -> bool|
     -> Outcome {
        for nth in 1..300 {
            let before = run.balance();
            let files = TRANSPORT.read(transport::state::State::open_files);
            let (answer, calls) = faults.nth(nth, build);
            let answer = answer?;
            if answer >= 0 {
                fixture::ok(&format!("undoing {what}"), undo())?;
                if calls < nth {
                    return holds(&format!("{what}: several calls could fail"), nth > 1);
                }
                continue;
            }
            let expected = answer == status::INSUFFICIENT_RESOURCES;
            holds(
                &format!(
                    "{what}, call {nth} failing gives INSUFFICIENT_RESOURCES, seen {:?}",
                    Named(answer)
                ),
                expected,
            )?;
            holds(
                &format!("{what}, call {nth} failing: the structures are zero"),
                zero(),
            )?;
            let open = TRANSPORT.read(transport::state::State::open_files);
            same("open files of the transport", open, files)?;
            before.unchanged(run, &format!("{what}, call {nth} failing"))?;
        }
        Err(Trouble::Failed(format!(
            "three hundred fallible calls in {what}"
        )))
    };

    let spare = Block::filled(0xCC).ok_or_else(Trouble::no_memory)?;
    let name = transport::device_name(Personality::Orderly);
    sweep(
        "RxCeBuildTransport",
        &|| Ok(fixture::bind(&spare, &name)),
        &|| engine::tear_down_transport(spare.ptr()),
        &|| spare.is_zero(),
    )?;
    let bound = Fixture::bound(Personality::Orderly)?;
    sweep(
        "RxCeBuildAddress",
        &|| open_address(&bound.address, &bound.transport),
        &|| engine::tear_down_address(bound.address.ptr()),
        &|| bound.address.is_zero(),
    )?;
    bound.close()?;
    let addressed = Fixture::addressed(Personality::Orderly)?;
    sweep(
        "RxCeBuildConnection",
        &|| addressed.connect(),
        &|| match engine::tear_down_vc(addressed.vc.ptr()) {
            status::SUCCESS => engine::tear_down_connection(addressed.connection.ptr()),
            failure => failure,
        },
        &|| addressed.vc.is_zero() && addressed.connection.is_zero(),
    )?;
    same("callbacks", called(Call::Disconnect), 0)?;
    addressed.close()
}
