//! Bad circuits given to RxCeTearDownVC and RxCeSend. RxCeInitiateVCDisconnect has I1, I2, I11 and I12.

use alloc::format;
use core::ptr;

use rxce_client::{RXCE_VC, RXCE_VC_ACTIVE, RXCE_VC_TEARDOWN};

use super::{Change, Vector, documented, own};
use crate::{
    engine,
    fixture::{self, Fixture, buffer, requests, send, send_and_wait},
    nt::{mdl::Buffer, pool::Block, status},
    outcome::{self, Outcome, Run, Trouble, same},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "H11",
        "RxCeTearDownVC and RxCeSend on what the engine did not build",
        not_built,
    ),
    own(
        "H12",
        "RxCeTearDownVC and RxCeSend on a damaged circuit, or under a damaged parent",
        damaged,
    ),
];

/// Both refuse `vc`, each in its own way.
fn refuse(what: &str, vc: *mut RXCE_VC, data: &Buffer) -> Outcome {
    let torn_down = engine::tear_down_vc(vc);
    outcome::status(
        &format!("RxCeTearDownVC on {what}"),
        torn_down,
        status::INVALID_PARAMETER,
    )?;
    let asynchronous = send(vc, data, 1);
    outcome::status(
        &format!("asynchronous send on {what}"),
        asynchronous,
        status::CONNECTION_DISCONNECTED,
    )?;
    let synchronous = send_and_wait(vc, data);
    outcome::status(
        &format!("synchronous send on {what}"),
        synchronous,
        status::CONNECTION_DISCONNECTED,
    )
}

fn not_built(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let data = buffer(b"nowhere")?;
    let copy = Block::new(f.vc.read()).ok_or_else(Trouble::no_memory)?;
    let (zero, garbage) = (
        Block::<RXCE_VC>::zeroed().ok_or_else(Trouble::no_memory)?,
        Block::<RXCE_VC>::filled(0xCC).ok_or_else(Trouble::no_memory)?,
    );
    let (before, sent) = (run.balance(), requests());
    let bytes = (
        f.vc.bytes(),
        copy.bytes(),
        zero.bytes(),
        garbage.bytes(),
        f.connection.bytes(),
    );
    let pointers = [
        ("NULL", ptr::null_mut()),
        ("zeros", zero.ptr()),
        ("garbage", garbage.ptr()),
        ("a copy of a circuit", copy.ptr()),
        ("a connection", f.connection.ptr().cast()),
        ("a shifted circuit", f.vc.ptr().wrapping_byte_add(8)),
        ("a misaligned circuit", f.vc.ptr().wrapping_byte_add(1)),
        (
            "an unmapped address",
            ptr::without_provenance_mut(0xFFFF_8000_0000_1000),
        ),
        ("a user address", ptr::without_provenance_mut(0x1000)),
    ];
    for (what, vc) in pointers {
        refuse(what, vc, &data)?;
    }
    let now = (
        f.vc.bytes(),
        copy.bytes(),
        zero.bytes(),
        garbage.bytes(),
        f.connection.bytes(),
    );
    same("the bytes of all of them", now, bytes)?;
    same("requests", requests(), sent)?;
    same("callbacks", fixture::calls(), 0)?;
    before.unchanged(run, "refused calls")?;
    fixture::ok(
        "a send on the live circuit",
        send_and_wait(f.vc.ptr(), &data),
    )?;
    f.close()
}

fn damaged(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let data = buffer(b"damaged")?;
    let (before, sent, good) = (run.balance(), requests(), f.vc.read());
    let damages: [Change<RXCE_VC>; 6] = [
        ("a circuit without a signature", |vc| {
            vc.__bindgen_anon_1.Signature = 0
        }),
        ("a circuit with another's signature", |vc| {
            vc.__bindgen_anon_1.Signature = 0x0030_EB73
        }),
        ("a circuit with a damaged parent", |vc| {
            vc.pConnection = ptr::null_mut()
        }),
        ("a circuit with a damaged handle", |vc| {
            vc.hEndpoint = ptr::null_mut()
        }),
        ("a circuit with a damaged file object", |vc| {
            vc.pEndpointFileObject = ptr::null_mut()
        }),
        ("a circuit in tear-down", |vc| vc.State = RXCE_VC_TEARDOWN),
    ];
    for (what, damage) in damages {
        f.vc.change(damage);
        let bytes = f.vc.bytes();
        let outcome = refuse(what, f.vc.ptr(), &data);
        let after = f.vc.bytes();
        f.vc.write(good);
        outcome?;
        same(&format!("{what}: its bytes"), after, bytes)?;
    }
    let parents: [(&str, *mut u32); 3] = [
        (
            "a circuit whose connection is damaged",
            f.connection.ptr().cast(),
        ),
        ("a circuit whose address is damaged", f.address.ptr().cast()),
        (
            "a circuit whose transport is damaged",
            f.transport.ptr().cast(),
        ),
    ];
    for (what, signature) in parents {
        // SAFETY: The first member of a structure that the fixture owns.
        let old = unsafe { signature.read_volatile() };
        // SAFETY: As above; nobody else uses the structures now.
        unsafe { signature.write_volatile(!old) };
        let outcome = refuse(what, f.vc.ptr(), &data);
        // SAFETY: As above.
        unsafe { signature.write_volatile(old) };
        outcome?;
    }
    same("State", f.state(), RXCE_VC_ACTIVE)?;
    same("requests", requests(), sent)?;
    same("callbacks", fixture::calls(), 0)?;
    before.unchanged(run, "refused calls")?;
    fixture::ok(
        "a send on the repaired circuit",
        send_and_wait(f.vc.ptr(), &data),
    )?;
    f.close()
}
