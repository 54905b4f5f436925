//! RxCeSendDatagram (rxce.md §5.15).

use alloc::{format, vec};
use core::ptr;

use rxce_client::{RXCE_ADDRESS, RXCE_CONNECTION_INFORMATION};

use super::{Change, Shared, Vector, documented, own};
use crate::{
    client::{self, CLIENT, Call},
    engine,
    fixture::{
        self, Fixture, LOCAL, PEER, buffer, called, held, information, last, requests, script,
        send_datagram,
    },
    nt::{mdl::Buffer, pool::Block, status, status::Named, thread::Thread, time},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented(
        "D1",
        "RxCeSendDatagram: SUCCESS, then the address's SendComplete once",
        sends,
    ),
    documented(
        "D2",
        "RxCeSendDatagram disregards the synchronous option, and needs no SendComplete",
        always_asynchronous,
    ),
    own("D3", "lengths of a datagram", lengths),
    documented(
        "D4",
        "bad addresses and connection informations given to RxCeSendDatagram",
        bad_arguments,
    ),
    own(
        "D5",
        "RxCeSendDatagram copies the connection information deeply",
        deep_copy,
    ),
    own(
        "D6",
        "RxCeSendDatagram with each kernel call failing",
        each_call_fails,
    ),
    own(
        "D7",
        "an address torn down with datagrams on their way",
        torn_down,
    ),
];

fn peer() -> Outcome<Block<fixture::Ipv4>> {
    Block::new(PEER).ok_or_else(Trouble::no_memory)
}

fn sends(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Datagram)?;
    let (peer, data) = (peer()?, buffer(b"datagram")?);
    fixture::ok("the first datagram", send_datagram(&f, &peer, &data, 0))?;
    let before = run.balance();
    let mut context = 0x100;
    for result in [
        status::SUCCESS,
        status::HOST_UNREACHABLE,
        status::INVALID_ADDRESS_COMPONENT,
        status::INSUFFICIENT_RESOURCES,
    ] {
        for pend in [false, true] {
            let way = if pend {
                Script::PEND
            } else {
                Script::Inline(result)
            };
            script(Kind::SendDatagram, way);
            context += 1;
            let done = called(Call::DatagramSent);
            fixture::ok("RxCeSendDatagram", send_datagram(&f, &peer, &data, context))?;
            if pend {
                same(
                    "SendComplete before the end",
                    called(Call::DatagramSent),
                    done,
                )?;
                holds(
                    "it is held",
                    transport::complete(Kind::SendDatagram, result),
                )?;
            }
            same(
                "SendComplete callbacks",
                called(Call::DatagramSent),
                done + 1,
            )?;
            let call = CLIENT.read(|client| client.last(Call::DatagramSent));
            let seen = call.map(|call| (call.object.addr(), Named(call.status)));
            same("SendComplete", seen, Some((context, Named(result))))?;
            before.unchanged(run, "a datagram that has ended")?;
        }
    }
    let record = last(Kind::SendDatagram)?;
    same("the request's length", record.length, 8)?;
    same(
        "the request's data",
        record.data.get(..8),
        Some(&b"datagram"[..]),
    )?;
    same("the request's chain", record.mdl.addr(), data.mdl().addr())?;
    same("the remote address", record.remote, PEER)?;
    same("the request's file", record.file, f.address_file())?;
    same(
        "callbacks of other kinds",
        fixture::calls(),
        called(Call::DatagramSent),
    )?;
    f.close()
}

fn always_asynchronous(_run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Datagram)?;
    let (peer, data) = (peer()?, buffer(b"now")?);
    let mut information = information(&peer);
    script(Kind::SendDatagram, Script::PEND);
    let answer = engine::send_datagram(
        f.address.ptr(),
        &raw mut information,
        engine::SEND_SYNCHRONOUS,
        data.mdl(),
        data.length(),
        ptr::without_provenance_mut(5),
    );
    fixture::ok("RxCeSendDatagram with the synchronous option", answer)?;
    same(
        "datagrams held when it returned",
        held(Kind::SendDatagram),
        1,
    )?;
    same("SendComplete callbacks", called(Call::DatagramSent), 0)?;
    transport::complete(Kind::SendDatagram, status::SUCCESS);
    same("SendComplete callbacks", called(Call::DatagramSent), 1)?;
    f.close()?;

    // A table without callbacks.
    let f = Fixture::bound(Personality::Datagram)?;
    let local = Block::new(LOCAL).ok_or_else(Trouble::no_memory)?;
    let mut none = rxce_client::RXCE_ADDRESS_EVENT_HANDLER::default();
    let built = engine::build_address(
        f.address.ptr(),
        f.transport.ptr(),
        local.ptr().cast(),
        &raw mut none,
        client::ADDRESS_CONTEXT,
    );
    fixture::ok("RxCeBuildAddress without callbacks", built)?;
    for way in [Script::Inline(status::SUCCESS), Script::PEND] {
        script(Kind::SendDatagram, way);
        fixture::ok("RxCeSendDatagram", send_datagram(&f, &peer, &data, 6))?;
    }
    transport::complete(Kind::SendDatagram, status::SUCCESS);
    same("SendComplete callbacks", called(Call::DatagramSent), 1)?;
    f.close()
}

fn lengths(run: &Run) -> Outcome {
    let peer = peer()?;
    let (one, two, three) = (buffer(&[1; 10])?, buffer(&[2; 20])?, buffer(&[3; 30])?);
    let long = Buffer::new(&vec![4; 1401]).ok_or_else(Trouble::no_memory)?;
    let send = |f: &Fixture, options, mdl, length| {
        let mut information = information(&peer);
        let context = ptr::null_mut();
        engine::send_datagram(
            f.address.ptr(),
            &raw mut information,
            options,
            mdl,
            length,
            context,
        )
    };
    let partial = engine::SEND_PARTIAL;
    let nothing = ptr::null_mut();
    one.chain(two.mdl());
    two.chain(three.mdl());
    let chain = one.mdl();

    let f = Fixture::addressed(Personality::Datagram)?;
    let good = [
        (0, chain, 60),
        (partial, chain, 1),
        (partial, chain, 59),
        (partial, chain, 60),
        (0, nothing, 0),
        // MaxDatagramSize, to the byte.
        (partial, long.mdl(), 1400),
    ];
    for (options, mdl, length) in good {
        let answer = send(&f, options, mdl, length);
        fixture::ok(&format!("{length} bytes, options {options:#x}"), answer)?;
        same(
            "the request's length",
            last(Kind::SendDatagram)?.length,
            length,
        )?;
    }
    let (before, sent, calls) = (run.balance(), requests(), fixture::calls());
    let bad = [
        (0, chain, 0),
        (0, chain, 59),
        (0, chain, 61),
        (0, chain, u32::MAX),
        (partial, chain, 0),
        (partial, chain, 61),
        (0, nothing, 1),
        (partial, nothing, 0),
        // One byte past MaxDatagramSize.
        (0, long.mdl(), 1401),
        (partial, long.mdl(), 1401),
    ];
    for (options, mdl, length) in bad {
        let answer = send(&f, options, mdl, length);
        let what = format!("{length} bytes, options {options:#x}");
        outcome::status(&what, answer, status::INVALID_PARAMETER)?;
    }
    three.chain(chain);
    let endless = send(&f, 0, chain, 60);
    three.chain(nothing);
    outcome::status("an endless chain", endless, status::INVALID_PARAMETER)?;
    same("requests for refused datagrams", requests(), sent)?;
    same("callbacks", fixture::calls(), calls)?;
    before.unchanged(run, "refused datagrams")?;
    f.close()?;

    // A MaxDatagramSize of 0 tells nothing, so it forbids nothing.
    TRANSPORT.update(|state| state.longest_datagram = 0);
    let f = Fixture::addressed(Personality::Datagram)?;
    fixture::ok(
        "1401 bytes where no limit is told",
        send(&f, 0, long.mdl(), 1401),
    )?;
    f.close()?;
    // TDI_SERVICE_NO_ZERO_LENGTH.
    TRANSPORT.update(|state| state.more_services = 0x800);
    let f = Fixture::addressed(Personality::Datagram)?;
    let empty = send(&f, 0, nothing, 0);
    outcome::status(
        "no bytes where they are refused",
        empty,
        status::INVALID_PARAMETER,
    )?;
    fixture::ok("some bytes", send(&f, 0, chain, 60))?;
    let result = f.close();
    one.chain(nothing);
    two.chain(nothing);
    result
}

fn bad_arguments(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Datagram)?;
    let (peer, data) = (peer()?, buffer(b"nowhere")?);
    let copy = Block::new(f.address.read()).ok_or_else(Trouble::no_memory)?;
    let (zero, garbage) = (
        Block::<RXCE_ADDRESS>::zeroed().ok_or_else(Trouble::no_memory)?,
        Block::<RXCE_ADDRESS>::filled(0xCC).ok_or_else(Trouble::no_memory)?,
    );
    let refused = |what: &str, address, information: *mut RXCE_CONNECTION_INFORMATION| {
        let context = ptr::null_mut();
        let length = data.length();
        let answer = engine::send_datagram(address, information, 0, data.mdl(), length, context);
        outcome::status(what, answer, status::INVALID_PARAMETER)
    };
    let (before, sent, bytes) = (run.balance(), requests(), f.address.bytes());
    let mut good = information(&peer);
    for (what, address) in [
        ("NULL", ptr::null_mut()),
        ("zeros", zero.ptr()),
        ("garbage", garbage.ptr()),
        ("a copy", copy.ptr()),
        ("misaligned", f.address.ptr().wrapping_byte_add(4)),
        (
            "unmapped",
            ptr::without_provenance_mut(0xFFFF_8000_0000_2000),
        ),
        ("a user address", ptr::without_provenance_mut(0x10_0000)),
        // The reference page calls the parameter a transport (rxce.md §8.5).
        ("a transport", f.transport.ptr().cast()),
    ] {
        refused(what, address, &raw mut good)?;
    }
    let bad: [Change<RXCE_CONNECTION_INFORMATION>; 8] = [
        ("no remote address", |info| {
            info.RemoteAddress = ptr::null_mut()
        }),
        ("a remote address of no bytes", |info| {
            info.RemoteAddressLength = 0
        }),
        ("a negative length", |info| info.RemoteAddressLength = -1),
        ("the smallest length", |info| {
            info.RemoteAddressLength = i32::MIN
        }),
        ("user data that is not there", |info| {
            info.UserDataLength = 1
        }),
        ("user data of a negative length", |info| {
            info.UserDataLength = -1
        }),
        ("options that are not there", |info| info.OptionsLength = 1),
        ("options of a negative length", |info| {
            info.OptionsLength = -1
        }),
    ];
    for (what, change) in bad {
        let mut changed = good;
        change(&mut changed);
        refused(what, f.address.ptr(), &raw mut changed)?;
    }
    refused("no information", f.address.ptr(), ptr::null_mut())?;
    let live = f.address.read();
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
    for (what, damage) in damages {
        f.address.change(damage);
        let outcome = refused(what, f.address.ptr(), &raw mut good);
        f.address.write(live);
        outcome?;
    }
    same("the address's bytes", f.address.bytes(), bytes)?;
    same("requests", requests(), sent)?;
    before.unchanged(run, "refused datagrams")?;
    fixture::ok("a datagram afterwards", send_datagram(&f, &peer, &data, 1))?;
    same("SendComplete callbacks", called(Call::DatagramSent), 1)?;
    let address = f.address.ptr();
    fixture::ok("RxCeTearDownAddress", engine::tear_down_address(address))?;
    refused("an address that was torn down", address, &raw mut good)?;
    f.close()?;

    // A provider of streams only; and a connection and a circuit where an address is asked for.
    let f = Fixture::orderly()?;
    let (before, sent) = (run.balance(), requests());
    refused("streams only", f.address.ptr(), &raw mut good)?;
    refused("a connection", f.connection.ptr().cast(), &raw mut good)?;
    refused("a circuit", f.vc.ptr().cast(), &raw mut good)?;
    same("requests", requests(), sent)?;
    before.unchanged(run, "refused datagrams")?;
    same("callbacks", fixture::calls(), 1)?;
    f.close()
}

fn deep_copy(_run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Datagram)?;
    let data = buffer(b"kept")?;
    script(Kind::SendDatagram, Script::PEND);
    {
        let peer = peer()?;
        let options = Block::new([9_u8; 40]).ok_or_else(Trouble::no_memory)?;
        let information = Block::new(RXCE_CONNECTION_INFORMATION {
            Options: options.ptr().cast(),
            OptionsLength: 40,
            UserData: options.ptr().cast(),
            UserDataLength: 3,
            ..information(&peer)
        })
        .ok_or_else(Trouble::no_memory)?;
        let answer = engine::send_datagram(
            f.address.ptr(),
            information.ptr(),
            0,
            data.mdl(),
            data.length(),
            ptr::null_mut(),
        );
        fixture::ok("RxCeSendDatagram", answer)?;
        let record = last(Kind::SendDatagram)?;
        let passed = record.information.addr();
        holds(
            "the information is a copy",
            passed != (&raw const information).addr(),
        )?;
        information.change(|information| information.RemoteAddressLength = 1);
        peer.write([0xAA; 22]);
        options.write([0xAA; 40]);
    }
    // All of the caller's is freed by now. On completion the transport looks at the remote address again.
    transport::complete(Kind::SendDatagram, status::SUCCESS);
    same("SendComplete callbacks", called(Call::DatagramSent), 1)?;
    let changed = TRANSPORT.read(transport::state::State::violation);
    holds(
        "the transport saw the same address to the end",
        changed.is_none(),
    )?;
    f.close()
}

fn each_call_fails(run: &Run) -> Outcome {
    let faults = super::faults()?;
    let f = Fixture::addressed(Personality::Datagram)?;
    let (peer, data) = (peer()?, buffer(b"short of memory")?);
    let mut sent_well = 0;
    for nth in 0..50 {
        let (before, sent) = (run.balance(), requests());
        let send = || send_datagram(&f, &peer, &data, 1);
        let (answer, calls) = if nth == 0 {
            (faults.all(send), u32::MAX)
        } else {
            faults.nth(nth, send)
        };
        before.unchanged(run, &format!("call {nth} failing"))?;
        if calls < nth {
            fixture::ok("the datagram without a fault", answer)?;
            holds("several calls could fail", nth > 2)?;
            sent_well += 1;
            same(
                "SendComplete callbacks",
                called(Call::DatagramSent),
                sent_well,
            )?;
            return f.close();
        }
        let expected = Named(status::INSUFFICIENT_RESOURCES);
        same(&format!("call {nth} failing"), Named(answer), expected)?;
        same("requests", requests(), sent)?;
        same(
            "SendComplete callbacks",
            called(Call::DatagramSent),
            sent_well,
        )?;
        fixture::ok("the retry", send_datagram(&f, &peer, &data, 2))?;
        sent_well += 1;
        same(
            "SendComplete callbacks",
            called(Call::DatagramSent),
            sent_well,
        )?;
    }
    Err(Trouble::Failed(
        "fifty fallible calls in one datagram".into(),
    ))
}

fn torn_down(_run: &Run) -> Outcome {
    for way in [Script::PEND, Script::UNTIL_CANCEL, Script::UNTIL_CLOSE] {
        let f = Fixture::addressed(Personality::Datagram)?;
        let (peer, data) = (peer()?, buffer(b"on the way")?);
        script(Kind::SendDatagram, way);
        for context in 0..3 {
            fixture::ok("RxCeSendDatagram", send_datagram(&f, &peer, &data, context))?;
        }
        same("datagrams held", held(Kind::SendDatagram), 3)?;
        CLIENT.update(client::Client::forget_calls);
        let address = Shared(f.address.ptr());
        let tearing = Thread::start(move || address.tear_down_address())?;
        // §5.6: the close ends them; waiting for them first could take for ever.
        let returned = tearing.ends_within(time::PATIENCE);
        let (sent, any) = (called(Call::DatagramSent), fixture::calls());
        holds("RxCeTearDownAddress returns", returned)?;
        fixture::ok("RxCeTearDownAddress", tearing.join("RxCeTearDownAddress")?)?;
        same("SendComplete callbacks when it returned", sent, 3)?;
        same("callbacks of other kinds", any, 3)?;
        let call = CLIENT.read(|client| client.last(Call::DatagramSent));
        let result = call.map(|call| Named(call.status));
        same(
            "SendComplete's status",
            result,
            Some(Named(status::CONNECTION_ABORTED)),
        )?;
        holds("the address is zero", f.address.is_zero())?;
        f.close()?;
        same("callbacks at the end", fixture::calls(), 3)?;
    }
    Ok(())
}

impl Shared<RXCE_ADDRESS> {
    pub(super) fn tear_down_address(self) -> i32 {
        engine::tear_down_address(self.0)
    }
}
