//! Bad arguments to the tear-down routines of transport, address and connection.

use alloc::format;
use core::ptr;

use rxce_client::{RXCE_ADDRESS, RXCE_CONNECTION, RXCE_TRANSPORT};
use wdk_sys::NTSTATUS;

use super::{Change, Vector, documented, own};
use crate::{
    engine,
    fixture::{self, Fixture, requests},
    nt::{pool::Block, status},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::Personality,
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "H8",
        "RxCeTearDownTransport on what is not bound, in use, or damaged",
        transport,
    ),
    documented(
        "H9",
        "RxCeTearDownAddress on what is not built, in use, or damaged",
        address,
    ),
    documented(
        "H10",
        "RxCeTearDownConnection on what is not built, in use, or damaged",
        connection,
    ),
    own(
        "H13",
        "the tear-down routines need no memory",
        without_memory,
    ),
];

fn invalid(what: &str, seen: NTSTATUS) -> Outcome {
    outcome::status(what, seen, status::INVALID_PARAMETER)
}

/// Pointers that no structure can be at: NULL, user range, misaligned.
const IMPOSSIBLE: [(&str, usize); 3] = [
    ("NULL", 0),
    ("a user address", 0x10_0000),
    ("a misaligned address", 0xFFFF_8000_0000_1001),
];

/// Where no structure can be, and where none was built, which gets `answer`.
fn not_built<T: Copy>(tear_down: fn(*mut T) -> NTSTATUS, answer: NTSTATUS) -> Outcome {
    for (what, pointer) in IMPOSSIBLE {
        invalid(what, tear_down(ptr::without_provenance_mut(pointer)))?;
    }
    for byte in [0x00, 0xCC] {
        let block = Block::<T>::filled(byte).ok_or_else(Trouble::no_memory)?;
        let seen = tear_down(block.ptr());
        outcome::status("a structure that is not built", seen, answer)?;
        let unchanged = block.bytes().iter().all(|&now| now == byte);
        holds("it is unchanged", unchanged)?;
    }
    Ok(())
}

/// A built structure that somebody has written to, in each of these ways; it is as it was afterwards.
fn damaged<T: Copy>(
    block: &Block<T>,
    damages: &[Change<T>],
    tear_down: fn(*mut T) -> NTSTATUS,
) -> Outcome {
    let good = block.read();
    for (what, damage) in damages {
        block.change(*damage);
        let bytes = block.bytes();
        let answer = tear_down(block.ptr());
        let after = block.bytes();
        block.write(good);
        invalid(what, answer)?;
        same("the damaged structure's bytes", after, bytes)?;
    }
    Ok(())
}

fn transport(run: &Run) -> Outcome {
    let before = run.balance();
    // Not bound is documented SUCCESS; the memory is neither read nor written (§5.2).
    not_built(engine::tear_down_transport, status::SUCCESS)?;
    let unmapped = ptr::without_provenance_mut(0xFFFF_8000_0000_2000);
    fixture::ok(
        "an unmapped system address",
        engine::tear_down_transport(unmapped),
    )?;
    before.unchanged(run, "refused calls")?;

    let f = Fixture::addressed(Personality::Orderly)?;
    let copy = Block::new(f.transport.read()).ok_or_else(Trouble::no_memory)?;
    let bytes = copy.bytes();
    fixture::ok(
        "a copy of a bound transport",
        engine::tear_down_transport(copy.ptr()),
    )?;
    same("the copy's bytes", copy.bytes(), bytes)?;
    let (before, live, sent) = (run.balance(), f.transport.bytes(), requests());
    invalid(
        "an address where a transport is asked for",
        engine::tear_down_transport(f.address.ptr().cast()),
    )?;
    invalid(
        "a transport with an address",
        engine::tear_down_transport(f.transport.ptr()),
    )?;
    same("its bytes", f.transport.bytes(), live)?;
    before.unchanged(run, "refused calls")?;

    fixture::ok(
        "RxCeTearDownAddress",
        engine::tear_down_address(f.address.ptr()),
    )?;
    let damages: [Change<RXCE_TRANSPORT>; 3] = [
        ("a damaged handle", |transport| {
            transport.ControlChannel = ptr::null_mut()
        }),
        ("a damaged file object", |transport| {
            transport.pControlChannelFileObject = ptr::null_mut()
        }),
        ("a damaged signature", |transport| {
            transport.__bindgen_anon_1.Signature = 0x0048_EB72
        }),
    ];
    damaged(&f.transport, &damages, engine::tear_down_transport)?;
    same("requests", requests(), sent)?;
    fixture::ok(
        "RxCeTearDownTransport",
        engine::tear_down_transport(f.transport.ptr()),
    )?;
    holds("the transport is zero", f.transport.is_zero())?;
    fixture::ok(
        "a second time",
        engine::tear_down_transport(f.transport.ptr()),
    )?;
    f.close()
}

fn address(run: &Run) -> Outcome {
    not_built(engine::tear_down_address, status::INVALID_PARAMETER)?;
    let f = Fixture::orderly()?;
    let copy = Block::new(f.address.read()).ok_or_else(Trouble::no_memory)?;
    let (before, live, sent) = (run.balance(), f.address.bytes(), requests());
    invalid(
        "a copy of an address",
        engine::tear_down_address(copy.ptr()),
    )?;
    invalid(
        "a transport where an address is asked for",
        engine::tear_down_address(f.transport.ptr().cast()),
    )?;
    invalid(
        "an address with a connection",
        engine::tear_down_address(f.address.ptr()),
    )?;
    same("its bytes", f.address.bytes(), live)?;
    same("requests", requests(), sent)?;
    before.unchanged(run, "refused calls")?;

    fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    invalid(
        "an address with an empty connection",
        engine::tear_down_address(f.address.ptr()),
    )?;
    fixture::ok(
        "RxCeTearDownConnection",
        engine::tear_down_connection(f.connection.ptr()),
    )?;
    let damages: [Change<RXCE_ADDRESS>; 4] = [
        ("a damaged parent", |address| {
            address.pTransport = ptr::null_mut()
        }),
        ("a damaged handle", |address| {
            address.hAddress = ptr::null_mut()
        }),
        ("a damaged file object", |address| {
            address.pFileObject = ptr::null_mut()
        }),
        ("a damaged signature", |address| {
            address.__bindgen_anon_1.Signature = 0
        }),
    ];
    damaged(&f.address, &damages, engine::tear_down_address)?;
    fixture::ok(
        "RxCeTearDownAddress",
        engine::tear_down_address(f.address.ptr()),
    )?;
    holds("the address is zero", f.address.is_zero())?;
    invalid("a second time", engine::tear_down_address(f.address.ptr()))?;
    f.close()
}

fn connection(run: &Run) -> Outcome {
    not_built(engine::tear_down_connection, status::INVALID_PARAMETER)?;
    let f = Fixture::orderly()?;
    let copy = Block::new(f.connection.read()).ok_or_else(Trouble::no_memory)?;
    let (before, live, sent) = (run.balance(), f.connection.bytes(), requests());
    invalid(
        "a copy of a connection",
        engine::tear_down_connection(copy.ptr()),
    )?;
    invalid(
        "a circuit where a connection is asked for",
        engine::tear_down_connection(f.vc.ptr().cast()),
    )?;
    invalid(
        "a connection with a circuit",
        engine::tear_down_connection(f.connection.ptr()),
    )?;
    same("its bytes", f.connection.bytes(), live)?;
    same("requests", requests(), sent)?;
    before.unchanged(run, "refused calls")?;

    fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
    let damages: [Change<RXCE_CONNECTION>; 2] = [
        ("a damaged parent", |connection| {
            connection.pAddress = ptr::null_mut()
        }),
        ("a damaged signature", |connection| {
            connection.__bindgen_anon_1.Signature = 0
        }),
    ];
    damaged(&f.connection, &damages, engine::tear_down_connection)?;
    let requests_before = requests();
    fixture::ok(
        "RxCeTearDownConnection",
        engine::tear_down_connection(f.connection.ptr()),
    )?;
    same(
        "requests of RxCeTearDownConnection",
        requests(),
        requests_before,
    )?;
    holds("the connection is zero", f.connection.is_zero())?;
    invalid(
        "a second time",
        engine::tear_down_connection(f.connection.ptr()),
    )?;
    f.close()
}

fn without_memory(_run: &Run) -> Outcome {
    // §3.3; INSUFFICIENT_RESOURCES is documented for RxCeTearDownConnection and never needed (§5.9).
    let faults = super::faults()?;
    let f = Fixture::orderly()?;
    let answers = faults.all(|| {
        [
            ("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr())),
            (
                "RxCeTearDownConnection",
                engine::tear_down_connection(f.connection.ptr()),
            ),
            (
                "RxCeTearDownAddress",
                engine::tear_down_address(f.address.ptr()),
            ),
            (
                "RxCeTearDownTransport",
                engine::tear_down_transport(f.transport.ptr()),
            ),
        ]
    });
    for (routine, answer) in answers {
        fixture::ok(&format!("{routine} without memory"), answer)?;
    }
    holds("the connection is zero", f.connection.is_zero())?;
    f.close()
}
