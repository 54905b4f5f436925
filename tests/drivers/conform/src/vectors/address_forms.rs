//! Forms of transport addresses (tdi.md §2.3): IPv4, IPv6, NetBIOS, several at once, and those that only a transport knows.

use alloc::{format, vec, vec::Vec};
use core::ptr;

use rxce_client::{RXCE_ADDRESS, RXCE_CONNECTION_INFORMATION};
use wdk_sys::NTSTATUS;

use super::{Vector, own};
use crate::{
    client, engine,
    fixture::{self, Fixture, last, ok, requests},
    nt::{pool::Block, status},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{FileKind, Kind, Personality, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "W1",
        "every form of a local address reaches the transport as it is",
        local_forms,
    ),
    own(
        "W2",
        "every form of a remote address reaches the transport as it is",
        remote_forms,
    ),
    own(
        "W3",
        "addresses that are shorter than their form, or than they say",
        short_addresses,
    ),
];

/// A TRANSPORT_ADDRESS of these TA_ADDRESSes: type and data.
fn address(members: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let count = i32::try_from(members.len()).unwrap_or_default();
    let mut bytes = count.to_le_bytes().to_vec();
    for (address_type, data) in members {
        let length = u16::try_from(data.len()).unwrap_or_default();
        bytes.extend(length.to_le_bytes());
        bytes.extend(address_type.to_le_bytes());
        bytes.extend(data);
    }
    bytes
}

const IP: u16 = 2;
const IP6: u16 = 23;
const NETBIOS: u16 = 17;
const NETBIOS_EX: u16 = 22;
const NETBIOS_UNICODE_EX: u16 = 24;

fn ipv4() -> (u16, Vec<u8>) {
    (IP, vec![0x02, 0x34, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// Port 564 of ::1, with a flow and a scope.
fn ipv6() -> (u16, Vec<u8>) {
    let mut data = vec![0x02, 0x34, 1, 2, 3, 4];
    data.extend([0; 15]);
    data.extend([1, 5, 6, 7, 8]);
    (IP6, data)
}

/// The unique name of a server.
fn netbios() -> (u16, Vec<u8>) {
    let mut data = vec![0, 0];
    data.extend(b"FILESERVER      ".iter().take(15));
    data.push(0x20);
    (NETBIOS, data)
}

/// Names of addresses, and the addresses.
fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let mut extended = b"ENDPOINT        ".to_vec();
    extended.extend(netbios().1);
    vec![
        ("IPv4", address(&[ipv4()])),
        ("IPv6", address(&[ipv6()])),
        ("NetBIOS", address(&[netbios()])),
        (
            "NetBIOS with an endpoint",
            address(&[(NETBIOS_EX, extended)]),
        ),
        (
            "a Unicode name",
            address(&[(NETBIOS_UNICODE_EX, vec![9; 74])]),
        ),
        ("two forms at once", address(&[netbios(), ipv6()])),
        ("an unknown form", address(&[(0x1234, vec![7; 5])])),
        ("an unknown form without data", address(&[(6, vec![])])),
        ("a longer IPv4", address(&[(IP, vec![3; 20])])),
    ]
}

/// What the transport has seen of `bytes`.
fn arrived(what: &str, seen: &[u8], bytes: &[u8]) -> Outcome {
    let shown = bytes.len().min(seen.len());
    same(what, seen.get(..shown), bytes.get(..shown))
}

fn build(f: &Fixture, bytes: &[u8], to: *mut RXCE_ADDRESS) -> Outcome<NTSTATUS> {
    let memory = fixture::buffer(bytes)?;
    let mut handlers = client::address_handlers();
    Ok(engine::build_address(
        to,
        f.transport.ptr(),
        memory.start().cast(),
        &raw mut handlers,
        client::ADDRESS_CONTEXT,
    ))
}

fn local_forms(run: &Run) -> Outcome {
    let f = Fixture::bound(Personality::Orderly)?;
    for (what, bytes) in forms() {
        let before = run.balance();
        let block = Block::<RXCE_ADDRESS>::zeroed().ok_or_else(Trouble::no_memory)?;
        ok(what, build(&f, &bytes, block.ptr())?)?;
        let opened = last(Kind::Open(FileKind::Address))?;
        // Header, "TransportAddress" with its NUL, and the value.
        same(
            "bytes of the attribute",
            opened.length as usize,
            25 + bytes.len(),
        )?;
        arrived(what, &opened.data, &bytes)?;
        // SAFETY: The engine's copy lives as long as the address.
        let copy = unsafe {
            core::slice::from_raw_parts(block.read().pTransportAddress.cast::<u8>(), bytes.len())
        };
        same("pTransportAddress", copy, &bytes[..])?;
        ok(
            "RxCeTearDownAddress",
            engine::tear_down_address(block.ptr()),
        )?;
        before.unchanged(run, what)?;
    }
    f.close()
}

/// RxCeBuildConnection to a peer of `length` bytes.
fn connect(f: &Fixture, bytes: &[u8], length: usize) -> Outcome<NTSTATUS> {
    let memory = fixture::buffer(bytes)?;
    let mut information = RXCE_CONNECTION_INFORMATION {
        UserDataLength: 0,
        UserData: ptr::null_mut(),
        OptionsLength: 0,
        Options: ptr::null_mut(),
        RemoteAddressLength: i32::try_from(length).unwrap_or_default(),
        RemoteAddress: memory.start().cast(),
    };
    let mut handlers = client::connection_handlers();
    Ok(engine::build_connection(
        f.address.ptr(),
        &raw mut information,
        &raw mut handlers,
        client::CONNECTION_CONTEXT,
        f.connection.ptr(),
        f.vc.ptr(),
    ))
}

fn remote_forms(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Orderly)?;
    for (what, bytes) in forms() {
        let before = run.balance();
        ok(what, connect(&f, &bytes, bytes.len())?)?;
        let record = last(Kind::Connect)?;
        same(
            "bytes of the remote address",
            record.length as usize,
            bytes.len(),
        )?;
        arrived(what, &record.data, &bytes)?;
        ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
        ok(
            "RxCeTearDownConnection",
            engine::tear_down_connection(f.connection.ptr()),
        )?;
        before.unchanged(run, what)?;
    }
    f.close()
}

fn short_addresses(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Orderly)?;
    let block = Block::<RXCE_ADDRESS>::filled(0xCC).ok_or_else(Trouble::no_memory)?;
    let invalid = status::INVALID_PARAMETER;
    let known = [
        (IP, 14),
        (IP6, 26),
        (NETBIOS, 18),
        (NETBIOS_EX, 34),
        (NETBIOS_UNICODE_EX, 74),
    ];
    let (before, sent) = (run.balance(), requests());
    let files = TRANSPORT.read(crate::transport::state::State::open_files);
    for (address_type, length) in known {
        for short in [0, 1, length - 1] {
            let what = format!("{short} bytes of type {address_type}");
            let alone = address(&[(address_type, vec![1; short])]);
            outcome::status(&what, build(&f, &alone, block.ptr())?, invalid)?;
            outcome::status(&what, connect(&f, &alone, alone.len())?, invalid)?;
            let behind = address(&[ipv4(), (address_type, vec![1; short])]);
            outcome::status(&what, build(&f, &behind, block.ptr())?, invalid)?;
            outcome::status(&what, connect(&f, &behind, behind.len())?, invalid)?;
        }
    }
    // A remote address that says more than RemoteAddressLength, or has none.
    let whole = address(&[ipv4(), ipv6()]);
    for length in 0..whole.len() {
        let answer = connect(&f, &whole, length)?;
        outcome::status(
            &format!("{length} bytes of a remote address"),
            answer,
            invalid,
        )?;
    }
    for count in [0, -1, 3, i32::MAX, i32::MIN] {
        let mut bytes = whole.clone();
        for (to, from) in bytes.iter_mut().zip(count.to_le_bytes()) {
            *to = from;
        }
        let answer = connect(&f, &bytes, bytes.len())?;
        outcome::status(&format!("{count} remote addresses"), answer, invalid)?;
    }
    let pattern = |bytes: Vec<u8>| bytes.iter().all(|&byte| byte == 0xCC);
    holds(
        "the structures are unchanged",
        pattern(block.bytes()) && pattern(f.connection.bytes()) && pattern(f.vc.bytes()),
    )?;
    same("requests", requests(), sent)?;
    same(
        "open files",
        TRANSPORT.read(crate::transport::state::State::open_files),
        files,
    )?;
    before.unchanged(run, "refused addresses")?;
    f.close()
}
