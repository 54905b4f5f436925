//! RxCeSend (rxce.md §5.11).

use core::ptr;

use super::{Vector, documented, own};
use crate::{
    client::{CLIENT, Call},
    engine,
    fixture::{self, Fixture, buffer, called, last, script, send, send_and_wait, wait_held},
    nt::{status, thread::Thread, time::SECOND},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Kind, Personality, Script},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "S1",
        "a synchronous send returns the final status, without a callback",
        synchronous,
    ),
    own(
        "S2",
        "an asynchronous send: SUCCESS, then SendComplete once",
        asynchronous,
    ),
    own("S3", "lengths of a send", lengths),
    own("S4", "options of a send", options),
    own(
        "S5",
        "sends with each allocation failing",
        each_allocation_fails,
    ),
];

fn synchronous(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let data = buffer(b"synchronous data")?;
    for result in [
        status::SUCCESS,
        status::CONNECTION_RESET,
        status::DEVICE_NOT_READY,
    ] {
        script(Kind::Send, Script::Inline(result));
        outcome::status(
            "a send that ends inline",
            send_and_wait(f.vc.ptr(), &data),
            result,
        )?;
        script(Kind::Send, Script::PEND);
        let vc = super::Shared(f.vc.ptr());
        let thread = Thread::start(|| {
            let vc = &vc;
            send_and_wait(vc.0, &data)
        })?;
        let came = wait_held(Kind::Send);
        let waits = !thread.ends_within(SECOND);
        transport::complete(Kind::Send, result);
        let answer = thread.join("RxCeSend")?;
        came?;
        holds("the routine waits for the completion", waits)?;
        outcome::status("a send that ends later", answer, result)?;
    }
    let record = last(Kind::Send)?;
    same("the request's length", record.length, 16)?;
    same(
        "the request's data",
        record.data.get(..16),
        Some(&b"synchronous data"[..]),
    )?;
    same("the request's chain", record.mdl.addr(), data.mdl().addr())?;
    same("callbacks", fixture::calls(), 0)?;
    f.close()
}

fn asynchronous(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let data = buffer(b"asynchronous")?;
    // The engine may keep a request for the next send: look at the balance with that in place.
    fixture::ok("the first send", send(f.vc.ptr(), &data, 0))?;
    let before = run.balance();
    for (round, result) in [
        status::SUCCESS,
        status::CONNECTION_RESET,
        status::INVALID_CONNECTION,
    ]
    .into_iter()
    .enumerate()
    {
        for (half, pend) in [false, true].into_iter().enumerate() {
            script(
                Kind::Send,
                if pend {
                    Script::PEND
                } else {
                    Script::Inline(result)
                },
            );
            let context = 0x100 + 2 * round + half;
            let done = called(Call::SendComplete);
            fixture::ok("an asynchronous send", send(f.vc.ptr(), &data, context))?;
            if pend {
                same(
                    "SendComplete callbacks before the completion",
                    called(Call::SendComplete),
                    done,
                )?;
                transport::complete(Kind::Send, result);
            }
            same(
                "SendComplete callbacks",
                called(Call::SendComplete),
                done + 1,
            )?;
            same(
                "SendSubmitted callbacks",
                called(Call::SendSubmitted),
                done + 1,
            )?;
            let calls = CLIENT.read(|client| {
                (
                    client.last(Call::SendComplete),
                    client.last(Call::SendSubmitted),
                )
            });
            let (Some(complete), Some(submitted)) = calls else {
                return Err(Trouble::Failed("a callback is missing".into()));
            };
            outcome::status("SendComplete's status", complete.status, result)?;
            outcome::status("SendSubmitted's status", submitted.status, status::SUCCESS)?;
            same(
                "the contexts",
                [complete.object.addr(), submitted.object.addr()],
                [context; 2],
            )?;
            same("the circuits", [complete.vc, submitted.vc], [f.vc.ptr(); 2])?;
            before.unchanged(run, "a send that has ended")?;
        }
    }
    holds(
        "the contexts were the ones given at build",
        !CLIENT.read(crate::client::Client::context_was_wrong),
    )?;
    // Inline completion comes first.
    let order = CLIENT.read(|client| {
        (
            client.position(Call::SendComplete),
            client.position(Call::SendSubmitted),
        )
    });
    holds(
        "SendComplete of an inline completion comes before SendSubmitted",
        order.0 < order.1,
    )?;
    f.close()
}

fn lengths(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let (one, two, three) = (buffer(&[1; 10])?, buffer(&[2; 20])?, buffer(&[3; 30])?);
    let send = |options: u32, mdl, length| {
        engine::send(
            f.vc.ptr(),
            options | engine::SEND_SYNCHRONOUS,
            mdl,
            length,
            ptr::null_mut(),
        )
    };
    let chain = one.mdl();
    one.chain(two.mdl());
    two.chain(three.mdl());
    let partial = engine::SEND_PARTIAL;
    let good = [
        (0, chain, 60),
        (partial, chain, 1),
        (partial, chain, 59),
        (partial, chain, 60),
        (0, three.mdl(), 30),
        (0, ptr::null_mut(), 0),
    ];
    for (options, mdl, length) in good {
        fixture::ok("a send of a good length", send(options, mdl, length))?;
        same("the request's length", last(Kind::Send)?.length, length)?;
    }
    let (before, sent) = (run.balance(), fixture::requests());
    let bad = [
        (0, chain, 0),
        (0, chain, 59),
        (0, chain, 61),
        (0, chain, u32::MAX),
        (partial, chain, 0),
        (partial, chain, 61),
        (partial, chain, u32::MAX),
        (0, ptr::null_mut(), 1),
        (partial, ptr::null_mut(), 0),
        (partial, ptr::null_mut(), 1),
    ];
    for (options, mdl, length) in bad {
        let answer = send(options, mdl, length);
        outcome::status(
            &alloc::format!("{length} bytes, options {options:#x}"),
            answer,
            status::INVALID_PARAMETER,
        )?;
    }
    // A chain that bites its tail: its length passes 32 bits some time.
    three.chain(chain);
    let endless = send(0, chain, 60);
    three.chain(ptr::null_mut());
    one.chain(ptr::null_mut());
    two.chain(ptr::null_mut());
    outcome::status("an endless chain", endless, status::INVALID_PARAMETER)?;
    same("requests for refused sends", fixture::requests(), sent)?;
    before.unchanged(run, "refused sends")?;
    same("callbacks", fixture::calls(), 0)?;
    f.close()?;

    let f = Fixture::connected(Personality::NoZeroLength)?;
    let answer = engine::send(
        f.vc.ptr(),
        engine::SEND_SYNCHRONOUS,
        ptr::null_mut(),
        0,
        ptr::null_mut(),
    );
    outcome::status(
        "no bytes over a provider that refuses that",
        answer,
        status::INVALID_PARAMETER,
    )?;
    f.close()
}

fn options(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let data = buffer(b"flags")?;
    // rxce.md §2.6: TDI flags = options without the engine's bits; unknown high bits are ignored, low ones pass.
    let cases = [
        (0, 0),
        (0x20, 0x20),
        (0x80, 0x80),
        (0x100, 0x100),
        (0x40, 0x40),
        (0x0010_0000, 0x0010_0000),
        (0xC000_0020, 0x20),
    ];
    for (options, flags) in cases {
        let answer = engine::send(
            f.vc.ptr(),
            options | engine::SEND_SYNCHRONOUS,
            data.mdl(),
            5,
            ptr::null_mut(),
        );
        fixture::ok("a send with options", answer)?;
        same("SendFlags", last(Kind::Send)?.flags, flags)?;
    }
    f.close()
}

fn each_allocation_fails(run: &Run) -> Outcome {
    let faults = super::faults()?;
    let f = Fixture::orderly()?;
    let data = buffer(b"short of memory")?;
    // Enough sends at once that no kept request can serve them all.
    script(Kind::Send, Script::PEND);
    let mut accepted = 0;
    for nth in 1..50 {
        let (before, sent) = (run.balance(), fixture::requests());
        let (answer, calls) = faults.nth(nth, || send(f.vc.ptr(), &data, 1));
        if answer >= 0 {
            accepted += 1;
            if calls < nth && accepted > 4 {
                break;
            }
            continue;
        }
        outcome::status(
            "a send with a failed allocation",
            answer,
            status::INSUFFICIENT_RESOURCES,
        )?;
        same("requests", fixture::requests(), sent)?;
        before.unchanged(run, "the refused send")?;
        same("State", f.state(), rxce_client::RXCE_VC_ACTIVE)?;
        fixture::ok("the retry", send(f.vc.ptr(), &data, 1))?;
        accepted += 1;
    }
    while transport::complete(Kind::Send, status::SUCCESS) {}
    same(
        "SendComplete callbacks",
        called(Call::SendComplete),
        accepted,
    )?;
    f.close()
}
