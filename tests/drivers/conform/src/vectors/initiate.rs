//! RxCeInitiateVCDisconnect, one call after another (rxce.md §5.12).

use core::ptr;

use rxce_client::{RXCE_VC, RXCE_VC_ACTIVE, RXCE_VC_DISCONNECTED, RXCE_VC_TEARDOWN};

use super::{ABORT, RELEASE, Vector, documented, faults, own};
use crate::{
    client::Call,
    engine,
    fixture::{
        self, Fixture, buffer, called, disconnects, held, last, requests, script, send,
        send_and_wait,
    },
    nt::{irql, pool::Block, status, time::SECOND},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, FileKind, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented("I1", "initiate on NULL", null),
    own(
        "I2",
        "initiate on what the engine did not build, and on a damaged circuit",
        not_built,
    ),
    documented(
        "I3",
        "initiate returns while the transport still works on the disconnect",
        pended,
    ),
    documented(
        "I4",
        "the transport ends the disconnect with success or an error",
        ended_later,
    ),
    documented(
        "I5",
        "the transport completes the disconnect in its dispatch routine",
        inline,
    ),
    own(
        "I6",
        "initiate with each allocation failing changes nothing",
        each_allocation_fails,
    ),
    own("I7", "initiate a second time, without memory", again),
    own("I9", "initiate after the peer's ABORT", after_remote_abort),
    own(
        "I10",
        "initiate after the peer's RELEASE sends the one acknowledgement",
        after_remote_release,
    ),
    documented("I11", "initiate on a circuit in tear-down", in_tear_down),
    documented("I12", "initiate with a damaged parent", damaged_parents),
    documented("I13", "sends after initiate", sends_after),
    documented(
        "I14",
        "a send that is pending when initiate is called",
        send_pending,
    ),
];

fn invalid(what: &str, vc: *mut RXCE_VC) -> Outcome {
    outcome::status(what, engine::initiate(vc), status::INVALID_PARAMETER)
}

fn null(run: &Run) -> Outcome {
    let before = run.balance();
    invalid("initiate(NULL)", ptr::null_mut())?;
    same("requests", requests(), 0)?;
    before.unchanged(run, "initiate(NULL)")
}

fn not_built(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let before = run.balance();
    let sent = requests();

    for byte in [0x00, 0xCC] {
        let block = Block::<RXCE_VC>::filled(byte).ok_or_else(Trouble::no_memory)?;
        invalid("initiate on 64 equal bytes", block.ptr())?;
        holds(
            "64 equal bytes are unchanged",
            block.bytes().iter().all(|&now| now == byte),
        )?;
    }
    let copy = Block::new(f.vc.read()).ok_or_else(Trouble::no_memory)?;
    let bytes = copy.bytes();
    invalid("initiate on a copy of a live circuit", copy.ptr())?;
    same("the copy's bytes", copy.bytes(), bytes)?;
    let freed = copy.ptr();
    drop(copy);
    invalid("initiate on freed memory", freed)?;

    let live = f.vc.bytes();
    for offset in [1, 2, 4, 8, 63] {
        invalid(
            "initiate on a misaligned or shifted pointer",
            f.vc.ptr().wrapping_byte_add(offset),
        )?;
    }
    for unmapped in [
        0x10_usize,
        0x7FFF_FFFF_0000,
        0x8000_0000_0000_0000,
        0xFFFF_8000_0000_1000,
        usize::MAX - 63,
    ] {
        invalid(
            "initiate on an unmapped pointer",
            ptr::without_provenance_mut(unmapped),
        )?;
    }
    same("the live circuit's bytes", f.vc.bytes(), live)?;

    // Type word at 0, Size word at 2 (rxce.md §2.1).
    for offset in [2, 0] {
        let damaged = flip_word(&f, offset);
        let bytes = f.vc.bytes();
        let answer = engine::initiate(f.vc.ptr());
        let after = f.vc.bytes();
        flip_word(&f, offset);
        holds("the word was damaged", damaged)?;
        outcome::status(
            "initiate on a damaged signature",
            answer,
            status::INVALID_PARAMETER,
        )?;
        same("the damaged circuit's bytes", after, bytes)?;
    }
    same("requests", requests(), sent)?;
    before.unchanged(run, "refused calls")?;

    let data = buffer(b"repaired")?;
    fixture::ok(
        "a send on the repaired circuit",
        send_and_wait(f.vc.ptr(), &data),
    )?;
    fixture::ok(
        "initiate on the repaired circuit",
        engine::initiate(f.vc.ptr()),
    )?;
    disconnects(1, 0)?;
    f.close()
}

/// Flips the bits of a 16-bit word of the circuit; tells whether that changed it.
fn flip_word(f: &Fixture, offset: usize) -> bool {
    let word = f.vc.ptr().cast::<u16>().wrapping_byte_add(offset);
    // SAFETY: Inside the circuit's storage, aligned.
    let old = unsafe { word.read_volatile() };
    // SAFETY: As above; no other thread uses the circuit now.
    unsafe { word.write_volatile(!old) };
    // SAFETY: As above.
    unsafe { word.read_volatile() != old }
}

fn pended(_run: &Run) -> Outcome {
    pended_on(Personality::Orderly, Kind::Release, RELEASE)?;
    TRANSPORT.update(transport::state::State::reset);
    pended_on(Personality::Abortive, Kind::Abort, ABORT)
}

fn pended_on(personality: Personality, kind: Kind, flags: u32) -> Outcome {
    let f = Fixture::connected(personality)?;
    let (before, counts, sent) = (f.vc.read(), f.counts(), requests());
    script(kind, Script::PEND);
    fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
    same("disconnects held by the transport", held(kind), 1)?;
    same("requests sent", requests(), sent + 1)?;
    let request = last(kind)?;
    same("RequestFlags", request.flags, flags)?;
    if kind == Kind::Release {
        // rxce.md §5.12: relative, 8 s.
        same(
            "time-out of the RELEASE",
            request.timeout_value,
            Some(-8 * SECOND),
        )?;
    }
    holds(
        "the request came at or below APC_LEVEL",
        request.irql <= irql::APC,
    )?;
    fixture::endpoint_closed(0)?;
    let mut expected = before;
    expected.State = RXCE_VC_DISCONNECTED;
    let after = f.vc.read();
    same("State", after.State, expected.State)?;
    same("pConnection", after.pConnection, expected.pConnection)?;
    same("hEndpoint", after.hEndpoint, expected.hEndpoint)?;
    same(
        "pEndpointFileObject",
        after.pEndpointFileObject,
        expected.pEndpointFileObject,
    )?;
    same("ConnectionId", after.ConnectionId, expected.ConnectionId)?;
    same("pReceiveMdl", after.pReceiveMdl, expected.pReceiveMdl)?;
    same("pCleanUpEvent", after.pCleanUpEvent, expected.pCleanUpEvent)?;
    same(
        "the signature",
        f.vc.bytes().get(..4),
        Some(&rxce_client::RXCE_VC_SIGNATURE.to_le_bytes()[..]),
    )?;
    same("counts of the parents", f.counts(), counts)?;
    same("Disconnect callbacks", called(Call::Disconnect), 0)?;
    f.close()
}

fn ended_later(run: &Run) -> Outcome {
    for result in [
        status::SUCCESS,
        status::IO_TIMEOUT,
        status::CONNECTION_RESET,
        status::INVALID_CONNECTION,
    ] {
        for level in [irql::PASSIVE, irql::DISPATCH] {
            let f = Fixture::orderly()?;
            script(Kind::Release, Script::PEND);
            TRANSPORT.update(|state| state.complete_at = level);
            let before = run.balance();
            fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
            holds(
                "the transport completes the disconnect",
                transport::complete(Kind::Release, result),
            )?;
            before.unchanged(run, "after the completion")?;
            same("State", f.state(), RXCE_VC_DISCONNECTED)?;
            // The peer's answer to a local disconnect is no news to the client either.
            same(
                "answer to the indication",
                transport::disconnect(f.endpoint(), RELEASE),
                Some(status::SUCCESS),
            )?;
            same("Disconnect callbacks", called(Call::Disconnect), 0)?;
            f.close()?;
        }
    }
    Ok(())
}

fn inline(run: &Run) -> Outcome {
    for result in [status::SUCCESS, status::IO_TIMEOUT] {
        let f = Fixture::orderly()?;
        script(Kind::Release, Script::Inline(result));
        let (before, released) = (run.balance(), fixture::seen(Kind::Release));
        fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
        same("State", f.state(), RXCE_VC_DISCONNECTED)?;
        disconnects(released + 1, 0)?;
        before.unchanged(run, "after the completion")?;
        f.close()?;
    }
    Ok(())
}

fn each_allocation_fails(run: &Run) -> Outcome {
    let faults = faults()?;
    for nth in 1..100 {
        let f = Fixture::orderly()?;
        script(Kind::Release, Script::PEND);
        let (before, sent, bytes) = (run.balance(), requests(), f.vc.bytes());
        let (answer, calls) = faults.nth(nth, || engine::initiate(f.vc.ptr()));
        if calls < nth {
            fixture::ok("initiate without a fault", answer)?;
            holds("at least one allocation could fail", nth > 1)?;
            return f.close();
        }
        outcome::status(
            "initiate with a failed allocation",
            answer,
            status::INSUFFICIENT_RESOURCES,
        )?;
        same("State", f.state(), RXCE_VC_ACTIVE)?;
        same("the circuit's bytes", f.vc.bytes(), bytes)?;
        same("requests sent", requests(), sent)?;
        before.unchanged(run, "after the refusal")?;
        fixture::ok("the retry", engine::initiate(f.vc.ptr()))?;
        same("requests sent by the retry", requests(), sent + 1)?;
        f.close()?;
    }
    Err(Trouble::Failed(
        "a hundred fallible calls in one initiate".into(),
    ))
}

fn again(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    script(Kind::Release, Script::PEND);
    fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
    let (before, sent) = (run.balance(), requests());
    fixture::ok("the second initiate", engine::initiate(f.vc.ptr()))?;
    match faults() {
        Ok(faults) => {
            fixture::ok(
                "initiate without memory",
                faults.all(|| engine::initiate(f.vc.ptr())),
            )?;
            let (answer, calls) = faults.nth(u32::MAX, || engine::initiate(f.vc.ptr()));
            fixture::ok("the fourth initiate", answer)?;
            same("fallible calls of a repeated initiate", calls, 0)?;
        }
        Err(_) => run.part_missing("failing allocations"),
    }
    same("requests sent", requests(), sent)?;
    before.unchanged(run, "repeated calls")?;
    // Also once the disconnect has ended.
    transport::complete(Kind::Release, status::SUCCESS);
    fixture::ok(
        "initiate after the disconnect",
        engine::initiate(f.vc.ptr()),
    )?;
    disconnects(1, 0)?;
    f.close()
}

fn after_remote_abort(run: &Run) -> Outcome {
    // Anything but RELEASE alone counts as an ABORT (rxce.md §4.1, RemoteWasRelease).
    for flags in [ABORT, 0, ABORT | RELEASE] {
        let f = Fixture::orderly()?;
        let told = called(Call::Disconnect);
        same(
            "answer to the indication",
            transport::disconnect(f.endpoint(), flags),
            Some(status::SUCCESS),
        )?;
        same("Disconnect callbacks", called(Call::Disconnect), told + 1)?;
        same("State", f.state(), RXCE_VC_DISCONNECTED)?;
        let (before, sent) = (run.balance(), requests());
        fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
        same("requests sent", requests(), sent)?;
        before.unchanged(run, "initiate")?;
        f.close()?;
    }
    disconnects(0, 0)
}

fn after_remote_release(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    transport::disconnect(f.endpoint(), RELEASE);
    same("Disconnect callbacks", called(Call::Disconnect), 1)?;
    fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
    fixture::ok("the second initiate", engine::initiate(f.vc.ptr()))?;
    disconnects(1, 0)?;
    f.close()?;
    disconnects(1, 0)?;

    // A later ABORT cancels the debt.
    let f = Fixture::orderly()?;
    transport::disconnect(f.endpoint(), RELEASE);
    transport::disconnect(f.endpoint(), ABORT);
    fixture::ok(
        "initiate after RELEASE and ABORT",
        engine::initiate(f.vc.ptr()),
    )?;
    f.close()?;
    disconnects(1, 0)?;

    // A provider without orderly release knows no RELEASE: it counts as an ABORT.
    let f = Fixture::connected(Personality::Abortive)?;
    transport::disconnect(f.endpoint(), RELEASE);
    fixture::ok(
        "initiate over an abortive provider",
        engine::initiate(f.vc.ptr()),
    )?;
    f.close()?;
    disconnects(1, 0)
}

fn in_tear_down(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let sent = requests();
    f.vc.change(|vc| vc.State = RXCE_VC_TEARDOWN);
    let bytes = f.vc.bytes();
    let answer = engine::initiate(f.vc.ptr());
    let after = f.vc.bytes();
    f.vc.change(|vc| vc.State = RXCE_VC_ACTIVE);
    outcome::status("initiate", answer, status::INVALID_PARAMETER)?;
    same("the circuit's bytes", after, bytes)?;
    same("requests sent", requests(), sent)?;
    f.close()
}

fn damaged_parents(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let sent = requests();
    let parents = [
        ("connection", f.connection.ptr().cast()),
        ("address", f.address.ptr().cast()),
        ("transport", f.transport.ptr().cast::<u32>()),
    ];
    for (name, signature) in parents {
        // SAFETY: The first member of a structure that the fixture owns.
        let old = unsafe { signature.read_volatile() };
        // SAFETY: As above; nobody else uses the structures now.
        unsafe { signature.write_volatile(0) };
        let bytes = f.vc.bytes();
        let answer = engine::initiate(f.vc.ptr());
        let after = f.vc.bytes();
        // SAFETY: As above.
        unsafe { signature.write_volatile(old) };
        outcome::status(name, answer, status::INVALID_PARAMETER)?;
        same("the circuit's bytes", after, bytes)?;
    }
    same("State", f.state(), RXCE_VC_ACTIVE)?;
    same("requests sent", requests(), sent)?;
    f.close()
}

fn sends_after(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let data = buffer(b"too late")?;
    script(Kind::Release, Script::PEND);
    fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
    let (before, sent) = (run.balance(), requests());
    let asynchronous = send(f.vc.ptr(), &data, 1);
    outcome::status(
        "asynchronous send",
        asynchronous,
        status::CONNECTION_DISCONNECTED,
    )?;
    let synchronous = send_and_wait(f.vc.ptr(), &data);
    outcome::status(
        "synchronous send",
        synchronous,
        status::CONNECTION_DISCONNECTED,
    )?;
    same("requests sent", requests(), sent)?;
    same("callbacks", fixture::calls(), 0)?;
    before.unchanged(run, "refused sends")?;
    f.close()
}

fn send_pending(_run: &Run) -> Outcome {
    for result in [status::SUCCESS, status::CONNECTION_RESET] {
        let f = Fixture::orderly()?;
        let data = buffer(b"under way")?;
        let done = called(Call::SendComplete);
        script(Kind::Send, Script::PEND);
        fixture::ok("asynchronous send", send(f.vc.ptr(), &data, 0x5E4D))?;
        fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
        same(
            "SendComplete callbacks before the completion",
            called(Call::SendComplete),
            done,
        )?;
        holds(
            "the transport completes the send",
            transport::complete(Kind::Send, result),
        )?;
        same(
            "SendComplete callbacks",
            called(Call::SendComplete),
            done + 1,
        )?;
        let complete = crate::client::CLIENT
            .read(|client| client.last(Call::SendComplete))
            .ok_or_else(|| Trouble::Failed("no SendComplete".into()))?;
        outcome::status("SendComplete's status", complete.status, result)?;
        same("SendComplete's context", complete.object.addr(), 0x5E4D)?;
        same(
            "handle closes",
            fixture::seen(Kind::Cleanup(FileKind::Endpoint)),
            done,
        )?;
        f.close()?;
        same(
            "SendComplete callbacks after tear-down",
            called(Call::SendComplete),
            done + 1,
        )?;
    }
    Ok(())
}
