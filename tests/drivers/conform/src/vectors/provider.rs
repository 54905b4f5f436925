//! Queries of a provider and of a transport, and the routine that is documented not to work (rxce.md §5.3, §5.4, §5.16).

use alloc::{format, vec, vec::Vec};
use core::ptr;

use rxce_client::{RXCE_TRANSPORT, RXCE_TRANSPORT_INFORMATION};

use super::{Change, Shared, Vector, documented, own};
use crate::{
    engine,
    fixture::{self, Fixture, PEER, last, requests, script, wait_held},
    nt::{pool::Block, status, status::Named, thread::Thread, time::SECOND, unicode::Unicode},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, FileKind, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "Q10",
        "RxCeQueryAdapterStatus: the fixed part, however much the provider tells",
        adapter,
    ),
    documented(
        "Q11",
        "RxCeQueryAdapterStatus passes the provider's failures through",
        adapter_fails,
    ),
    own(
        "Q12",
        "RxCeQueryAdapterStatus with each kernel call failing",
        adapter_without_memory,
    ),
    own(
        "Q13",
        "RxCeQueryAdapterStatus pending while the transport is torn down",
        adapter_during_tear_down,
    ),
    documented(
        "Q14",
        "RxCeQueryTransportInformation: provider, connections, quality of service",
        transport_information,
    ),
    documented(
        "Q15",
        "bad transports given to both queries of a transport",
        bad_transports,
    ),
    documented(
        "N1",
        "RxCeCancelConnectRequest is not implemented, whatever it is given",
        cancel,
    ),
];

/// sizeof(ADAPTER_STATUS), nb30.h.
const STATUS: usize = 60;

fn pattern(length: usize) -> Vec<u8> {
    (0_u8..=255).cycle().take(length).collect()
}

fn ask(f: &Fixture, out: &mut [u8]) -> i32 {
    engine::query_adapter_status(f.transport.ptr(), out.as_mut_ptr())
}

fn adapter(run: &Run) -> Outcome {
    let f = Fixture::bound(Personality::Orderly)?;
    let before = run.balance();
    // With no name, one, several; and more than any buffer the engine may have: BUFFER_OVERFLOW with the fixed part valid.
    for length in [STATUS, STATUS + 18, STATUS + 5 * 18, 512] {
        for pend in [false, true] {
            transport::answer_queries(&pattern(length), status::SUCCESS);
            let mut out = vec![0xEE; STATUS + 20];
            if pend {
                script(Kind::Query, Script::PEND);
                let room = Shared(out.as_mut_ptr());
                let transport = Shared(f.transport.ptr());
                let asking = Thread::start(move || transport.adapter_status(room))?;
                let came = wait_held(Kind::Query);
                let waits = !asking.ends_within(SECOND);
                transport::complete_query();
                let answer = asking.join("RxCeQueryAdapterStatus")?;
                came?;
                holds("the routine waits for the answer", waits)?;
                fixture::ok("RxCeQueryAdapterStatus", answer)?;
            } else {
                script(Kind::Query, Script::Inline(status::SUCCESS));
                fixture::ok("RxCeQueryAdapterStatus", ask(&f, &mut out))?;
            }
            let (fixed, rest) = out.split_at(STATUS);
            same("the fixed part", fixed, &pattern(STATUS)[..])?;
            holds("exactly 60 bytes", rest.iter().all(|&byte| byte == 0xEE))?;
            let record = last(Kind::Query)?;
            same("QueryType", record.code, 0x100)?;
            let kind = TRANSPORT.read(|state| state.file(record.file).map(|file| file.kind));
            same("the file asked", kind, Some(FileKind::Control))?;
        }
    }
    before.unchanged(run, "queries that have ended")?;
    f.close()
}

impl Shared<RXCE_TRANSPORT> {
    fn adapter_status(self, out: Shared<u8>) -> i32 {
        engine::query_adapter_status(self.0, out.0)
    }

    fn tear_down_transport(self) -> i32 {
        engine::tear_down_transport(self.0)
    }
}

fn adapter_fails(run: &Run) -> Outcome {
    let f = Fixture::bound(Personality::Orderly)?;
    let before = run.balance();
    for failure in [
        status::ADDRESS_NOT_ASSOCIATED,
        status::INVALID_DEVICE_REQUEST,
        status::DEVICE_NOT_READY,
        status::INSUFFICIENT_RESOURCES,
    ] {
        script(Kind::Query, Script::Inline(failure));
        let mut out = [0xEE; STATUS];
        let answer = ask(&f, &mut out);
        outcome::status("a query that the provider fails", answer, failure)?;
        holds(
            "the buffer is untouched",
            out.iter().all(|&byte| byte == 0xEE),
        )?;
    }
    let sent = requests();
    let answer = engine::query_adapter_status(f.transport.ptr(), ptr::null_mut());
    outcome::status("without a buffer", answer, status::INVALID_PARAMETER)?;
    same("requests for that", requests(), sent)?;
    before.unchanged(run, "queries that failed")?;
    f.close()
}

fn adapter_without_memory(run: &Run) -> Outcome {
    let faults = super::faults()?;
    let f = Fixture::bound(Personality::Orderly)?;
    transport::answer_queries(&pattern(STATUS), status::SUCCESS);
    for nth in 0..50 {
        let (before, sent) = (run.balance(), requests());
        let mut out = [0xEE; STATUS];
        let (answer, calls) = if nth == 0 {
            (faults.all(|| ask(&f, &mut out)), u32::MAX)
        } else {
            faults.nth(nth, || ask(&f, &mut out))
        };
        before.unchanged(run, &format!("call {nth} failing"))?;
        if calls < nth {
            fixture::ok("the query without a fault", answer)?;
            holds("several calls could fail", nth > 2)?;
            return f.close();
        }
        let seen = Named(answer);
        let expected = Named(status::INSUFFICIENT_RESOURCES);
        same(&format!("call {nth} failing"), seen, expected)?;
        holds(
            "the buffer is untouched",
            out.iter().all(|&byte| byte == 0xEE),
        )?;
        same("requests", requests(), sent)?;
    }
    Err(Trouble::Failed("fifty fallible calls in one query".into()))
}

fn adapter_during_tear_down(_run: &Run) -> Outcome {
    // §5.2: the close ends what is outstanding, and only then the run-down is waited for.
    for way in [Script::PEND, Script::UNTIL_CANCEL, Script::UNTIL_CLOSE] {
        let f = Fixture::bound(Personality::Orderly)?;
        script(Kind::Query, way);
        let out = Block::<[u8; STATUS]>::filled(0xEE).ok_or_else(Trouble::no_memory)?;
        let (room, transport) = (Shared(out.ptr().cast::<u8>()), Shared(f.transport.ptr()));
        let asking = Thread::start(move || transport.adapter_status(room))?;
        wait_held(Kind::Query)?;
        let tearing = Thread::start(move || transport.tear_down_transport())?;
        let answer = asking.join("RxCeQueryAdapterStatus")?;
        let torn_down = tearing.join("RxCeTearDownTransport")?;
        fixture::ok("RxCeTearDownTransport", torn_down)?;
        outcome::status("the query", answer, status::CONNECTION_ABORTED)?;
        holds(
            "the buffer is untouched",
            out.bytes().iter().all(|&byte| byte == 0xEE),
        )?;
        holds("the transport is zero", f.transport.is_zero())?;
        f.close()?;
    }
    Ok(())
}

fn transport_information(run: &Run) -> Outcome {
    let mut f = Fixture::orderly()?;
    let faults = super::faults().ok();
    let tell = |f: &Fixture| -> Outcome<RXCE_TRANSPORT_INFORMATION> {
        let out =
            Block::<RXCE_TRANSPORT_INFORMATION>::filled(0xEE).ok_or_else(Trouble::no_memory)?;
        let call = || engine::query_transport_information(f.transport.ptr(), out.ptr());
        // It needs no memory.
        let answer = match &faults {
            Some(faults) => faults.all(call),
            None => call(),
        };
        fixture::ok("RxCeQueryTransportInformation", answer)?;
        Ok(out.read())
    };
    same("its size", size_of::<RXCE_TRANSPORT_INFORMATION>(), 0x30)?;
    let (before, sent) = (run.balance(), requests());
    let told = tell(&f)?;
    same("ConnectionCount", told.ConnectionCount, 1)?;
    same("QualityOfService", told.QualityOfService, 7)?;
    let provider = told.ProviderInfo;
    same(
        "ServiceFlags",
        provider.ServiceFlags,
        Personality::Orderly.service_flags(),
    )?;
    same("MaxDatagramSize", provider.MaxDatagramSize, 1400)?;
    same("MaxSendSize", provider.MaxSendSize, 0x10000)?;
    same("Version", provider.Version, 0x0200)?;
    same("requests", requests(), sent)?;
    before.unchanged(run, "a query of a transport")?;

    f.add_vc()?;
    same(
        "ConnectionCount with two circuits",
        tell(&f)?.ConnectionCount,
        1,
    )?;
    f.close()?;
    let f = Fixture::bound(Personality::Datagram)?;
    let told = tell(&f)?;
    same("ConnectionCount of none", told.ConnectionCount, 0)?;
    let flags = told.ProviderInfo.ServiceFlags;
    same("ServiceFlags", flags, Personality::Datagram.service_flags())?;
    let null = engine::query_transport_information(f.transport.ptr(), ptr::null_mut());
    outcome::status("without a buffer", null, status::INVALID_PARAMETER)?;
    f.close()
}

fn bad_transports(run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    transport::answer_queries(&pattern(STATUS), status::SUCCESS);
    let copy = Block::new(f.transport.read()).ok_or_else(Trouble::no_memory)?;
    let (zero, garbage) = (
        Block::<RXCE_TRANSPORT>::zeroed().ok_or_else(Trouble::no_memory)?,
        Block::<RXCE_TRANSPORT>::filled(0xCC).ok_or_else(Trouble::no_memory)?,
    );
    let transports = [
        ("NULL", ptr::null_mut()),
        ("zeros", zero.ptr()),
        ("garbage", garbage.ptr()),
        ("a copy", copy.ptr()),
        ("misaligned", f.transport.ptr().wrapping_byte_add(1)),
        (
            "unmapped",
            ptr::without_provenance_mut(0xFFFF_8000_0000_2000),
        ),
        ("a user address", ptr::without_provenance_mut(0x10_0000)),
        ("an address", f.address.ptr().cast()),
        ("a connection", f.connection.ptr().cast()),
        ("a circuit", f.vc.ptr().cast()),
    ];
    let (before, sent) = (run.balance(), requests());
    let out = Block::<RXCE_TRANSPORT_INFORMATION>::filled(0xEE).ok_or_else(Trouble::no_memory)?;
    let refused = |what: &str, transport: *mut RXCE_TRANSPORT| -> Outcome {
        let mut status = [0xEE; STATUS];
        let answer = engine::query_adapter_status(transport, status.as_mut_ptr());
        let what_asked = format!("RxCeQueryAdapterStatus on {what}");
        outcome::status(&what_asked, answer, status::INVALID_PARAMETER)?;
        holds("nothing is copied", status.iter().all(|&byte| byte == 0xEE))?;
        let answer = engine::query_transport_information(transport, out.ptr());
        let what_asked = format!("RxCeQueryTransportInformation on {what}");
        outcome::status(&what_asked, answer, status::INVALID_PARAMETER)?;
        holds(
            "nothing is copied",
            out.bytes().iter().all(|&byte| byte == 0xEE),
        )
    };
    for (what, transport) in transports {
        refused(what, transport)?;
    }
    let good = f.transport.read();
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
    for (what, damage) in damages {
        f.transport.change(damage);
        let bytes = f.transport.bytes();
        let outcome = refused(what, f.transport.ptr());
        let after = f.transport.bytes();
        f.transport.write(good);
        outcome?;
        same("the damaged structure's bytes", after, bytes)?;
    }
    same("requests", requests(), sent)?;
    before.unchanged(run, "refused queries")?;
    let gone = Fixture::bound(Personality::Orderly)?;
    fixture::ok(
        "RxCeTearDownTransport",
        engine::tear_down_transport(gone.transport.ptr()),
    )?;
    refused("a transport that was torn down", gone.transport.ptr())?;
    gone.close()?;
    f.close()
}

fn cancel(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Orderly)?;
    let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
    let server = Unicode::new("server");
    let mut information = fixture::information(&peer);
    let garbage = 0xFFFF_8000_0000_1001;
    let cases = [
        (
            f.address.ptr(),
            server.borrow().as_mut_ptr(),
            &raw mut information,
        ),
        (ptr::null_mut(), ptr::null_mut(), ptr::null_mut()),
        (
            ptr::without_provenance_mut(garbage),
            ptr::without_provenance_mut(garbage),
            ptr::without_provenance_mut(garbage),
        ),
    ];
    // While a connect is under way, which it must not disturb.
    script(Kind::Connect, Script::PEND);
    let connecting = Thread::start(|| f.connect())?;
    wait_held(Kind::Connect)?;
    let (before, sent, bytes) = (run.balance(), requests(), f.address.bytes());
    let mut answers = [0; 3];
    for (answer, (address, server, information)) in answers.iter_mut().zip(cases) {
        *answer = engine::cancel_connect_request(address, server, information);
    }
    let still = fixture::held(Kind::Connect);
    let (sent_since, bytes_since) = (requests(), f.address.bytes());
    let balance = before.unchanged(run, "RxCeCancelConnectRequest");
    transport::complete(Kind::Connect, status::SUCCESS);
    fixture::ok(
        "RxCeBuildConnection",
        connecting.join("RxCeBuildConnection")??,
    )?;
    for answer in answers {
        outcome::status("RxCeCancelConnectRequest", answer, status::NOT_IMPLEMENTED)?;
    }
    same("connects held", still, 1)?;
    same("requests", sent_since, sent)?;
    same("the address's bytes", bytes_since, bytes)?;
    balance?;
    f.close()
}
