//! RxCeQueryInformation, one call after another (rxce.md §5.14).

use alloc::{format, vec, vec::Vec};
use core::ptr;

use rxce_client::{RXCE_VC, RXCE_VC_ACTIVE, RXCE_VC_DISCONNECTED, RXCE_VC_TEARDOWN};

use super::{Change, Vector, documented, own};
use crate::{
    engine,
    fixture::{self, Fixture, PEER, last, query, requests, script},
    nt::{pool::Block, status, status::Named},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "Q1",
        "RxCeQueryInformation: what the engine knows itself, at every length",
        known,
    ),
    documented(
        "Q2",
        "RxCeQueryInformation: what the provider knows, at every length",
        asked,
    ),
    documented(
        "Q3",
        "RxCeQueryInformation passes the provider's failures and BUFFER_OVERFLOW through",
        provider_fails,
    ),
    documented(
        "Q4",
        "bad arguments to RxCeQueryInformation, and which of them counts",
        bad_arguments,
    ),
    own(
        "Q5",
        "RxCeQueryInformation in every state of the circuit, and on a damaged one",
        states,
    ),
    own(
        "Q6",
        "RxCeQueryInformation with each kernel call failing",
        each_call_fails,
    ),
];

/// RxCeTransportProviderInformation and so on (rxce.h).
pub(super) const PROVIDER: u32 = 1;
pub(super) const CONNECTION: u32 = 2;
pub(super) const ENDPOINT: u32 = 3;
pub(super) const ADDRESS: u32 = 4;
/// Classes with the shortest length that each takes.
pub(super) const CLASSES: [(u32, usize); 4] = [
    (PROVIDER, 40),
    (CONNECTION, 48),
    (ENDPOINT, 56),
    (ADDRESS, 16),
];

/// A buffer that shows every byte written.
fn room(length: usize) -> Vec<u8> {
    vec![0xEE; length]
}

fn untouched(buffer: &[u8]) -> bool {
    buffer.iter().all(|&byte| byte == 0xEE)
}

/// An answer of the provider: `length` bytes, each its position.
pub(super) fn pattern(length: u8) -> Vec<u8> {
    (0..length).collect()
}

fn known(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let (before, sent) = (run.balance(), requests());
    for (class, minimum) in [(PROVIDER, 40_usize), (CONNECTION, 48)] {
        let mut short = room(minimum - 1);
        let answer = query(f.vc.ptr(), class, &mut short);
        outcome::status("one byte short", answer, status::BUFFER_OVERFLOW)?;
        holds("nothing is copied then", untouched(&short))?;
        let mut none = room(minimum);
        let answer = engine::query_information(f.vc.ptr(), class, none.as_mut_ptr().cast(), 0);
        outcome::status("no length", answer, status::BUFFER_OVERFLOW)?;
        holds("nothing is copied then", untouched(&none))?;

        let mut exact = room(minimum);
        fixture::ok("the exact length", query(f.vc.ptr(), class, &mut exact))?;
        let mut long = room(minimum + 100);
        fixture::ok("a longer buffer", query(f.vc.ptr(), class, &mut long))?;
        same("the same bytes", long.get(..minimum), Some(&exact[..]))?;
        let rest = long.get(minimum..).unwrap_or_default();
        holds("nothing behind them", untouched(rest))?;
        let mut huge = room(minimum + 100);
        let buffer = huge.as_mut_ptr().cast();
        let answer = engine::query_information(f.vc.ptr(), class, buffer, u32::MAX);
        fixture::ok("a length of 4 GiB", answer)?;
        same("the same bytes", huge, long)?;
        let expected = if class == PROVIDER {
            // SAFETY: The engine's copy of the provider information, alive while the transport is built.
            unsafe { bytes_at(f.transport.read().pProviderInfo.cast(), 40) }
        } else {
            // SAFETY: The engine's copy of the connection information, alive while the connection is built.
            unsafe { bytes_at(f.connection.read().pConnectionInformation.cast(), 48) }
        };
        same("what is told", exact, expected)?;
    }
    // The pointers of class 2 lead into the engine's copy.
    let mut information = rxce_client::RXCE_CONNECTION_INFORMATION::default();
    let answer = engine::query_information(
        f.vc.ptr(),
        CONNECTION,
        (&raw mut information).cast(),
        u32::try_from(size_of_val(&information)).unwrap_or_default(),
    );
    fixture::ok("class 2", answer)?;
    same("RemoteAddressLength", information.RemoteAddressLength, 22)?;
    // SAFETY: Valid until RxCeTearDownConnection (rxce.h).
    let peer = unsafe { bytes_at(information.RemoteAddress.cast(), PEER.len()) };
    same("the remote address", &peer[..], &PEER[..])?;
    same("requests", requests(), sent)?;
    before.unchanged(run, "queries that need no transport")?;
    f.close()
}

/// # Safety
///
/// `start` has `length` bytes.
unsafe fn bytes_at(start: *const u8, length: usize) -> Vec<u8> {
    (0..length)
        // SAFETY: By this function's contract.
        .map(|offset| unsafe { start.wrapping_add(offset).read() })
        .collect()
}

fn asked(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    // A TDI_CONNECTION_INFO; a TDI_ADDRESS_INFO with an IPv4 address.
    for (class, minimum, code, length) in [(ENDPOINT, 56, 4, 56_u8), (ADDRESS, 16, 3, 26)] {
        let whole = pattern(length);
        let length = usize::from(length);
        transport::answer_queries(&whole, status::SUCCESS);
        let (before, sent) = (run.balance(), requests());
        for short in [0, 1, minimum - 1] {
            let mut buffer = room(short.max(1));
            let buffer_start = buffer.as_mut_ptr().cast();
            let length = u32::try_from(short).unwrap_or_default();
            let answer = engine::query_information(f.vc.ptr(), class, buffer_start, length);
            outcome::status("too short", answer, status::BUFFER_OVERFLOW)?;
            holds("nothing is copied then", untouched(&buffer))?;
        }
        same("requests for those", requests(), sent)?;
        for long in [length, length + 1, 4096] {
            let mut buffer = room(long);
            let answer = query(f.vc.ptr(), class, &mut buffer);
            fixture::ok(&format!("class {class}, {long} bytes"), answer)?;
            same("the answer", buffer.get(..length), Some(&whole[..]))?;
            let rest = buffer.get(length..).unwrap_or_default();
            holds("nothing behind it", untouched(rest))?;
            let record = last(Kind::Query)?;
            same("QueryType", record.code, code)?;
            same("the file asked", record.file, f.endpoint())?;
        }
        // However long the buffer is said to be, no more than the answer is written.
        let mut buffer = room(length + 64);
        let start = buffer.as_mut_ptr().cast();
        let answer = engine::query_information(f.vc.ptr(), class, start, u32::MAX);
        fixture::ok("a length of 4 GiB", answer)?;
        same("the answer", buffer.get(..length), Some(&whole[..]))?;
        let rest = buffer.get(length..).unwrap_or_default();
        holds("nothing behind it", untouched(rest))?;
        same("requests", requests(), sent + 4)?;
        // A provider may tell less than fits.
        transport::answer_queries(&pattern(12), status::SUCCESS);
        let mut buffer = room(64);
        fixture::ok("a short answer", query(f.vc.ptr(), class, &mut buffer))?;
        same("the answer", buffer.get(..12), Some(&pattern(12)[..]))?;
        let rest = buffer.get(12..).unwrap_or_default();
        holds("nothing behind it", untouched(rest))?;
        before.unchanged(run, "queries that have ended")?;
    }
    same("callbacks", fixture::calls(), 0)?;
    f.close()
}

fn provider_fails(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    for (class, length) in [(ENDPOINT, 56), (ADDRESS, 26)] {
        let before = run.balance();
        for failure in [
            status::INVALID_CONNECTION,
            status::INVALID_DEVICE_REQUEST,
            status::DEVICE_NOT_READY,
            status::INSUFFICIENT_RESOURCES,
            status::INVALID_PARAMETER,
        ] {
            script(Kind::Query, Script::Inline(failure));
            let mut buffer = room(length);
            let answer = query(f.vc.ptr(), class, &mut buffer);
            outcome::status("a query that the provider fails", answer, failure)?;
            holds("nothing is copied then", untouched(&buffer))?;
        }
        script(Kind::Query, Script::Inline(status::SUCCESS));
        // An answer longer than the buffer: the provider fills it and says so; an answer that is complete but so marked.
        for (bytes, code) in [(200, status::SUCCESS), (20, status::BUFFER_OVERFLOW)] {
            transport::answer_queries(&pattern(bytes), code);
            let mut buffer = room(length);
            let answer = query(f.vc.ptr(), class, &mut buffer);
            outcome::status("the provider's overflow", answer, status::BUFFER_OVERFLOW)?;
            holds("nothing is copied then", untouched(&buffer))?;
        }
        // §5.14: 16 bytes are the least for class 4; an IPv4 address does not fit into them, which is the provider's say.
        if class == ADDRESS {
            transport::answer_queries(&pattern(26), status::SUCCESS);
            for short in [16, 25] {
                let mut buffer = room(short);
                let answer = query(f.vc.ptr(), class, &mut buffer);
                outcome::status("no room for IPv4", answer, status::BUFFER_OVERFLOW)?;
                holds("nothing is copied then", untouched(&buffer))?;
            }
        }
        before.unchanged(run, "queries that failed")?;
        same("State", f.state(), RXCE_VC_ACTIVE)?;
    }
    f.close()
}

fn bad_arguments(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let copy = Block::new(f.vc.read()).ok_or_else(Trouble::no_memory)?;
    let (zero, garbage) = (
        Block::<RXCE_VC>::zeroed().ok_or_else(Trouble::no_memory)?,
        Block::<RXCE_VC>::filled(0xCC).ok_or_else(Trouble::no_memory)?,
    );
    let circuits = [
        ("NULL", ptr::null_mut()),
        ("zeros", zero.ptr()),
        ("garbage", garbage.ptr()),
        ("a copy", copy.ptr()),
        ("misaligned", f.vc.ptr().wrapping_byte_add(1)),
        ("inside a circuit", f.vc.ptr().wrapping_byte_add(8)),
        (
            "unmapped",
            ptr::without_provenance_mut(0xFFFF_8000_0000_2000),
        ),
        ("a user address", ptr::without_provenance_mut(0x10_0000)),
        ("a transport", f.transport.ptr().cast()),
        ("an address", f.address.ptr().cast()),
        ("a connection", f.connection.ptr().cast()),
    ];
    let (before, sent, bytes) = (run.balance(), requests(), f.vc.bytes());
    let invalid = status::INVALID_PARAMETER;
    for (what, vc) in circuits {
        for class in 0..=5 {
            // A short buffer does not matter while the circuit is wrong.
            for length in [0, 64] {
                let mut buffer = room(64);
                let start = buffer.as_mut_ptr().cast();
                let answer = engine::query_information(vc, class, start, length);
                outcome::status(&format!("class {class} of {what}"), answer, invalid)?;
                holds("nothing is copied", untouched(&buffer))?;
            }
            let answer = engine::query_information(vc, class, ptr::null_mut(), 64);
            outcome::status(
                &format!("class {class} of {what}, no buffer"),
                answer,
                invalid,
            )?;
        }
    }
    // A class that does not exist counts before the length does, and a NULL buffer too.
    for class in [0, 5, 0x8000_0000, u32::MAX] {
        for length in [0, 64] {
            let mut buffer = room(64);
            let start = buffer.as_mut_ptr().cast();
            let answer = engine::query_information(f.vc.ptr(), class, start, length);
            outcome::status(&format!("class {class:#x}"), answer, invalid)?;
            holds("nothing is copied", untouched(&buffer))?;
        }
    }
    for (class, _) in CLASSES {
        for length in [0, 64] {
            let answer = engine::query_information(f.vc.ptr(), class, ptr::null_mut(), length);
            outcome::status(&format!("class {class} without a buffer"), answer, invalid)?;
        }
    }
    same("requests", requests(), sent)?;
    same("the circuit's bytes", f.vc.bytes(), bytes)?;
    before.unchanged(run, "refused queries")?;
    f.close()
}

fn states(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    transport::answer_queries(&pattern(26), status::SUCCESS);
    let all = |what: &str, expected: i32| -> Outcome {
        for (class, _) in CLASSES {
            let answer = query(f.vc.ptr(), class, &mut room(64));
            outcome::status(&format!("class {class}, {what}"), answer, expected)?;
        }
        Ok(())
    };
    all("ACTIVE", status::SUCCESS)?;
    let good = f.vc.read();
    let damages: [Change<RXCE_VC>; 6] = [
        ("a damaged parent", |vc| vc.pConnection = ptr::null_mut()),
        ("a damaged handle", |vc| vc.hEndpoint = ptr::null_mut()),
        ("a damaged file object", |vc| {
            vc.pEndpointFileObject = ptr::null_mut()
        }),
        ("a damaged token", |vc| vc.ConnectionId = ptr::null_mut()),
        ("a damaged signature", |vc| {
            vc.__bindgen_anon_1.Signature = 0
        }),
        ("a State of TEARDOWN", |vc| vc.State = RXCE_VC_TEARDOWN),
    ];
    let (before, sent) = (run.balance(), requests());
    for (what, damage) in damages {
        f.vc.change(damage);
        let bytes = f.vc.bytes();
        let outcome = all(what, status::INVALID_PARAMETER);
        let after = f.vc.bytes();
        f.vc.write(good);
        outcome?;
        same("the damaged structure's bytes", after, bytes)?;
    }
    // One parent after the other without its signature.
    for parent in [
        f.connection.ptr().cast::<u32>(),
        f.address.ptr().cast(),
        f.transport.ptr().cast(),
    ] {
        // SAFETY: The fixture's structures begin with their signatures.
        let signature = unsafe { parent.replace(0) };
        let outcome = all("a parent without its signature", status::INVALID_PARAMETER);
        // SAFETY: As above.
        unsafe { parent.write(signature) };
        outcome?;
    }
    same("requests for those", requests(), sent)?;
    before.unchanged(run, "refused queries")?;

    fixture::ok("initiate", engine::initiate(f.vc.ptr()))?;
    same("State", f.state(), RXCE_VC_DISCONNECTED)?;
    all("DISCONNECTED", status::SUCCESS)?;
    fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    all("torn down", status::INVALID_PARAMETER)?;
    holds("the structure is zero", f.vc.is_zero())?;
    f.close()?;

    // A provider without these queries.
    let f = Fixture::connected(Personality::Abortive)?;
    for (class, _) in [(ENDPOINT, 0), (ADDRESS, 0)] {
        let answer = query(f.vc.ptr(), class, &mut room(64));
        outcome::status(
            "an unsupported query",
            answer,
            status::INVALID_DEVICE_REQUEST,
        )?;
    }
    f.close()
}

fn each_call_fails(run: &Run) -> Outcome {
    let faults = super::faults()?;
    let f = Fixture::orderly()?;
    transport::answer_queries(&pattern(26), status::SUCCESS);
    for (class, _) in CLASSES {
        let needs_memory = matches!(class, ENDPOINT | ADDRESS);
        let expected = if needs_memory {
            status::INSUFFICIENT_RESOURCES
        } else {
            status::SUCCESS
        };
        let (before, sent) = (run.balance(), requests());
        let mut buffer = room(64);
        let answer = faults.all(|| query(f.vc.ptr(), class, &mut buffer));
        outcome::status(&format!("class {class} without memory"), answer, expected)?;
        same("nothing is copied", untouched(&buffer), needs_memory)?;
        same("requests", requests(), sent)?;
        before.unchanged(run, "a query without memory")?;
        if !needs_memory {
            continue;
        }
        for nth in 1..50 {
            let (before, sent) = (run.balance(), requests());
            let mut buffer = room(64);
            let (answer, calls) = faults.nth(nth, || query(f.vc.ptr(), class, &mut buffer));
            before.unchanged(run, &format!("class {class}, call {nth} failing"))?;
            if calls < nth {
                fixture::ok("the query without a fault", answer)?;
                holds("several calls could fail", nth > 2)?;
                break;
            }
            if answer < 0 {
                let seen = Named(answer);
                same(&format!("call {nth} failing"), seen, Named(expected))?;
                holds("nothing is copied", untouched(&buffer))?;
                same("requests", requests(), sent)?;
            }
            holds("fewer than 49 calls", nth < 49)?;
        }
    }
    same("State", f.state(), RXCE_VC_ACTIVE)?;
    let violated = TRANSPORT.read(transport::state::State::violation);
    holds("no request broke a rule", violated.is_none())?;
    f.close()
}
