//! What circuits cost: bytes of pool, and allocations per call (rxce.md §3.3, §5.12, §5.13).

use alloc::format;

use wdk_sys::NTSTATUS;

use super::{RELEASE, Vector, faults, own};
use crate::{
    engine,
    fixture::{self, Fixture, buffer, script, send},
    nt::{
        irql,
        mdl::Buffer,
        sim::{self, Account, Faults},
        status,
    },
    outcome::{Outcome, Run, Trouble, holds, same},
    transport::{self, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "C1",
        "a circuit takes at most 512 bytes of nonpaged pool besides its IRPs",
        bytes_per_circuit,
    ),
    own(
        "C2",
        "a disconnect takes one IRP and one context; repeated, nothing",
        allocations_of_initiate,
    ),
    own(
        "C3",
        "RxCeTearDownVC allocates nothing, whatever it has to do",
        allocations_of_tear_down,
    ),
];

/// Circuits to measure with, as many as this transport takes. So few that the share of tables which grow does not show; a
/// run with thousands measures that.
const CIRCUITS: u64 = 80;

/// The limit.
const MOST_BYTES: u64 = 512;

/// Pool tag of a circuit's block.
const CIRCUIT_TAG: u32 = u32::from_le_bytes(*b"RxVc");

fn account() -> Outcome<Account> {
    sim::engine_account().ok_or_else(|| Trouble::NotPossible("an account of the engine".into()))
}

fn bytes_per_circuit(_run: &Run) -> Outcome {
    // With every service that makes the engine keep more for a circuit.
    let mut f = Fixture::connected(Personality::Orderly)?;
    let of_circuits = || sim::engine_pool_bytes(CIRCUIT_TAG).unwrap_or(0);
    let (before, before_by_tag) = (account()?, of_circuits());
    for _ in 0..CIRCUITS {
        f.add_vc()?;
    }
    let (after, after_by_tag) = (account()?, of_circuits());
    let bytes = after.pool_bytes.saturating_sub(before.pool_bytes);
    holds(
        &format!(
            "{bytes} bytes for {CIRCUITS} circuits are at most {MOST_BYTES} for each ({} of them under RxVc)",
            after_by_tag.saturating_sub(before_by_tag)
        ),
        bytes <= CIRCUITS * MOST_BYTES,
    )?;
    // Less than a structure's own size, or no packets, would mean that the account misses something.
    holds(
        "the account counts the circuits",
        after_by_tag - before_by_tag >= CIRCUITS * 64,
    )?;
    holds(
        "the account counts packets",
        after.irps >= before.irps + CIRCUITS,
    )?;
    f.close()
}

/// What a call took besides its answer.
struct Taken {
    answer: NTSTATUS,
    fallible: u32,
    pool_blocks: u64,
    irps: u64,
}

/// Makes a call whose request the transport keeps, so that what it took is still there.
fn taken_by(faults: &Faults, call: impl FnOnce() -> NTSTATUS) -> Outcome<Taken> {
    let before = account()?;
    let (answer, fallible) = faults.count(call);
    let after = account()?;
    Ok(Taken {
        answer,
        fallible,
        pool_blocks: after.pool_blocks.saturating_sub(before.pool_blocks),
        irps: after.irps.saturating_sub(before.irps),
    })
}

fn allocations_of_initiate(_run: &Run) -> Outcome {
    let faults = faults()?;
    for (personality, kind) in [
        (Personality::Orderly, Kind::Release),
        (Personality::Abortive, Kind::Abort),
    ] {
        let f = Fixture::connected(personality)?;
        script(kind, Script::PEND);
        let first = taken_by(&faults, || engine::initiate(f.vc.ptr()))?;
        fixture::ok("initiate", first.answer)?;
        same("IRPs of a disconnect", first.irps, 1)?;
        holds("at most one context", first.pool_blocks <= 1)?;
        same(
            "fallible calls besides the packet and the context",
            u64::from(first.fallible),
            first.irps + first.pool_blocks,
        )?;
        for _ in 0..3 {
            let again = taken_by(&faults, || engine::initiate(f.vc.ptr()))?;
            fixture::ok("initiate again", again.answer)?;
            same("fallible calls of a repeated disconnect", again.fallible, 0)?;
        }
        transport::complete(kind, status::SUCCESS);
        let later = taken_by(&faults, || engine::initiate(f.vc.ptr()))?;
        fixture::ok("initiate once it is over", later.answer)?;
        same("fallible calls once it is over", later.fallible, 0)?;
        f.close()?;
        clean()?;
    }
    Ok(())
}

fn clean() -> Outcome {
    holds(
        "the transport is clean",
        TRANSPORT.update(transport::state::State::reset),
    )
}

/// What came before a tear-down.
type Past = (&'static str, fn(&Fixture, &Buffer) -> Outcome);

fn allocations_of_tear_down(_run: &Run) -> Outcome {
    let faults = faults()?;
    let data = buffer(b"stuck")?;
    let pasts: [Past; 5] = [
        ("nothing", |_, _| Ok(())),
        ("the peer's RELEASE", |f, _| {
            transport::disconnect(f.endpoint(), RELEASE);
            Ok(())
        }),
        ("an initiated RELEASE that only an ABORT ends", |f, _| {
            script(Kind::Release, Script::UNTIL_ABORT);
            fixture::ok("initiate", engine::initiate(f.vc.ptr()))
        }),
        ("a transport that ends no RELEASE by itself", |_, _| {
            script(Kind::Release, Script::UNTIL_ABORT);
            Ok(())
        }),
        ("a send that only the close ends", |f, data| {
            script(Kind::Send, Script::UNTIL_CLOSE);
            fixture::ok("asynchronous send", send(f.vc.ptr(), data, 7))
        }),
    ];
    for (name, past) in pasts {
        for level in [irql::PASSIVE, irql::APC] {
            let f = Fixture::orderly()?;
            past(&f, &data)?;
            let (answer, fallible) =
                faults.count(|| irql::at(level, || engine::tear_down_vc(f.vc.ptr())));
            fixture::ok(&format!("RxCeTearDownVC after {name}"), answer)?;
            same(
                &format!("fallible calls of RxCeTearDownVC after {name}, at IRQL {level}"),
                fallible,
                0,
            )?;
            f.close()?;
            clean()?;
        }
    }
    Ok(())
}
