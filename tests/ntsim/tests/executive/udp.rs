//! The UDP transport against sockets of the standard library.

use std::net::UdpSocket;
use std::time::Duration;

use ntsim::io::status;

use super::nt::{at, get, get8, nt, pool, put, put8, seconds, system, wait};
use super::tcp::{code, nothing_left};
use super::tdi::*;
use super::{End, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("udp_there_and_back", End::Fine, there_and_back),
    ("udp_a_receive_cuts_what_does_not_fit", End::Fine, cut),
    ("udp_a_receive_may_want_one_source", End::Fine, one_source),
    ("udp_a_peek_leaves_the_datagram_there", End::Fine, peek),
    (
        "udp_a_handed_back_receive_gets_the_rest",
        End::Fine,
        handed_back,
    ),
    (
        "udp_a_handed_back_receive_cuts_what_does_not_fit",
        End::Fine,
        handed_back_cut,
    ),
    ("udp_a_refused_datagram_is_lost", End::Fine, refused),
    (
        "udp_a_datagram_that_nobody_waits_for_is_lost",
        End::Fine,
        nobody,
    ),
    ("udp_a_receive_can_be_cancelled", End::Fine, cancelled),
    (
        "udp_close_completes_what_is_outstanding",
        End::Fine,
        close_pending,
    ),
    ("udp_refuses_bad_requests", End::Fine, bad_requests),
    ("udp_answers_queries", End::Fine, queries),
    (
        "udp_taking_too_much_stops",
        End::Stop("more bytes than were indicated"),
        take_too_much,
    ),
    (
        "udp_handing_back_a_stream_receive_stops",
        End::Stop("not a receive request of this file object"),
        wrong_irp,
    ),
];

const DEVICE_NAME: &str = r"\Device\Udp";

// More words of the block, after those of the TCP client.
const INDICATED: u64 = 168;
const AVAILABLE: u64 = 176;
const EVENT_FLAGS: u64 = 184;
const SOURCE_LENGTH: u64 = 192;
const SOURCE_PORT: u64 = 200;
const TAKE: u64 = 208;
const COUNT: u64 = 216;
const FIRST: u64 = 224;

/// The handler: notes what it is told, and answers by the mode.
type Event = extern "win64" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u64;

extern "win64" fn on_datagram(
    block: u64,
    source_length: u64,
    source: u64,
    _: u64,
    _: u64,
    flags: u64,
    indicated: u64,
    available: u64,
    taken: u64,
    tsdu: u64,
    irp: u64,
) -> u64 {
    let (indicated, available) = (indicated & 0xffff_ffff, available & 0xffff_ffff);
    put(block + IRQLS, nt("KeGetCurrentIrql", &[]));
    put(block + INDICATED, indicated);
    put(block + AVAILABLE, available);
    put(block + EVENT_FLAGS, flags & 0xffff_ffff);
    put(block + SOURCE_LENGTH, source_length & 0xffff_ffff);
    let port = u16::from_be_bytes([get8(source + 8), get8(source + 9)]);
    put(block + SOURCE_PORT, port.into());
    put(
        block + FIRST,
        if indicated == 0 { 0 } else { get8(tsdu).into() },
    );
    put(block + COUNT, get(block + COUNT) + 1);
    let (answer, took) = match get(block + MODE) {
        TAKE_ALL => (0, indicated),
        TAKE_TOO_MUCH => (0, indicated + 1),
        HAND_BACK => {
            put(irp, get(block + SPARE_IRP));
            put(block + MODE, TAKE_ALL);
            (0xc000_0016, get(block + TAKE))
        }
        _ => (0xc000_021b, 0),
    };
    // SAFETY: The out parameter of the event.
    unsafe { (taken as *mut u32).write(u32::try_from(took).unwrap_or(0)) };
    nt("KeSetEvent", &[block + RECEIVED, 0, 0]);
    answer
}

/// TRANSPORT_ADDRESS of 127.0.0.1, or of no address.
fn address(port: u64, ip: [u8; 4]) -> [u8; 22] {
    let [high, low] = u16::try_from(port).unwrap_or(0).to_be_bytes();
    let [a, b, c, d] = ip;
    [
        1, 0, 0, 0, 14, 0, 2, 0, high, low, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0,
    ]
}

/// TDI_CONNECTION_INFORMATION with a remote address.
fn information(port: u64, ip: [u8; 4]) -> u64 {
    let information = pool(0x30);
    put(information + 0x20, 22);
    put(information + 0x28, copy(&address(port, ip)));
    information
}

/// Opens an address and registers the handler.
fn prepare(peer: u64, mode: u64) -> u64 {
    let block = pool(BLOCK);
    for event in [RECEIVED, DONE] {
        nt("KeInitializeEvent", &[block + event, 1, 0]);
    }
    put(block + MODE, mode);
    put(block + PORT, peer);
    let ea = ea(b"TransportAddress", &address(0, [127, 0, 0, 1]));
    let (result, handle, file) = open_on(DEVICE_NAME, ea, 3);
    assert_eq!(result, 0);
    put(block + ADDRESS_HANDLE, handle);
    put(block + ADDRESS, file);
    listen(block, on_datagram as Event as *const () as u64);
    block
}

/// Sets or removes the handler.
fn listen(block: u64, routine: u64) {
    assert_eq!(
        request(block, get(block + ADDRESS), 0x0b, &[4, routine, block]),
        0
    );
}

fn close_address(block: u64) -> u64 {
    nt("ZwClose", &[get(block + ADDRESS_HANDLE)]);
    nt("ObfDereferenceObject", &[get(block + ADDRESS)]);
    0
}

/// A datagram request with a buffer of pool.
fn datagram(block: u64, minor: u8, buffer: u64, length: u64, rest: [u64; 3]) -> u64 {
    let mdl = nt("IoAllocateMdl", &[buffer, length, 0, 0, 0]);
    nt("MmBuildMdlForNonPagedPool", &[mdl]);
    let [second, third, fourth] = rest;
    let parameters = [length, second, third, fourth];
    let irp = build(block, get(block + ADDRESS), minor, &parameters);
    put(irp + 8, mdl);
    irp
}

fn perform(block: u64, irp: u64) -> (i32, u64) {
    let mdl = get(irp + 8);
    let result = send(block, irp);
    nt("IoFreeMdl", &[mdl]);
    result
}

/// Sends bytes to the peer, which answers with as many datagrams as it is asked for.
fn ask(block: u64, text: &[u8]) {
    let target = information(get(block + PORT), [127, 0, 0, 1]);
    let irp = datagram(block, 9, copy(text), text.len() as u64, [target, 0, 0]);
    assert_eq!(perform(block, irp), (0, text.len() as u64));
}

fn begin(block: u64, irp: u64) {
    assert_eq!(nt("IofCallDriver", &[get(block + DEVICE), irp]), 0x103);
}

fn ended(block: u64, irp: u64) -> (i32, u64) {
    wait(block + DONE);
    let result = result(irp);
    nt("IoFreeMdl", &[get(irp + 8)]);
    nt("IoFreeIrp", &[irp]);
    result
}

fn pause() {
    let pause = seconds(1) / 5;
    nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
}

/// Starts a peer which answers each datagram with the given ones, and installs the transport. Returns its port.
fn peer(answers: Vec<Vec<u8>>) -> u64 {
    ntsim::udp::install(DEVICE_NAME);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    let port = socket.local_addr().expect("a bound address").port();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, source)) = socket.recv_from(&mut buffer) {
            for answer in &answers {
                socket.send_to(answer, source).expect("answered");
                // Time for what the client does with it.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    port.into()
}

fn there_and_back() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        ask(block, b"ping");
        wait(block + RECEIVED);
        assert_eq!((get(block + INDICATED), get(block + AVAILABLE)), (5, 5));
        assert_eq!(get(block + FIRST), u64::from(b'p'));
        assert_eq!(
            (get(block + SOURCE_LENGTH), get(block + SOURCE_PORT)),
            (22, port)
        );
        // NORMAL, ENTIRE_MESSAGE, AT_DISPATCH_LEVEL
        assert_eq!((get(block + EVENT_FLAGS), get(block + IRQLS)), (0xc20, 2));
        // A datagram without a byte is one, too.
        wait(block + RECEIVED);
        assert_eq!((get(block + AVAILABLE), get(block + COUNT)), (0, 2));
        close_address(block)
    });
    system(code, peer(vec![b"pong!".to_vec(), Vec::new()]));
    nothing_left();
}

fn cut() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let (buffer, back) = (pool(64), information(0, [0; 4]));
        let irp = datagram(block, 0x0a, buffer, 4, [0, back, 0x20]);
        begin(block, irp);
        // The events are one: the send has its own.
        let asked = pool(24);
        nt("KeInitializeEvent", &[asked, 1, 0]);
        let target = information(port, [127, 0, 0, 1]);
        let ask = datagram(block, 9, copy(b"ping"), 4, [target, 0, 0]);
        put(get(ask + 0xb8) - 0x48 + 0x40, asked);
        begin(block, ask);
        wait(asked);
        assert_eq!(result(ask), (0, 4));
        nt("IoFreeMdl", &[get(ask + 8)]);
        nt("IoFreeIrp", &[ask]);
        assert_eq!(ended(block, irp), (status::BUFFER_OVERFLOW, 4));
        assert_eq!(get(buffer), u64::from(u32::from_le_bytes(*b"firs")));
        let from = get(back + 0x28);
        assert_eq!(
            u16::from_be_bytes([get8(from + 8), get8(from + 9)]),
            u16::try_from(port).unwrap_or(0)
        );
        // The cut end is lost, and the next datagram goes to the handler.
        wait(block + RECEIVED);
        assert_eq!((get(block + COUNT), get(block + AVAILABLE)), (1, 6));
        close_address(block)
    });
    system(
        code,
        peer(vec![b"first datagram".to_vec(), b"second".to_vec()]),
    );
    nothing_left();
}

fn one_source() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let other = information(1, [127, 0, 0, 1]);
        let irp = datagram(block, 0x0a, pool(64), 64, [other, 0, 0x20]);
        begin(block, irp);
        let asked = pool(24);
        nt("KeInitializeEvent", &[asked, 1, 0]);
        let any = datagram(
            block,
            0x0a,
            pool(64),
            64,
            [information(port, [0; 4]), 0, 0x20],
        );
        put(get(any + 0xb8) - 0x48 + 0x40, asked);
        begin(block, any);
        let sent = pool(24);
        nt("KeInitializeEvent", &[sent, 1, 0]);
        let target = information(port, [127, 0, 0, 1]);
        let ask = datagram(block, 9, copy(b"ping"), 4, [target, 0, 0]);
        put(get(ask + 0xb8) - 0x48 + 0x40, sent);
        begin(block, ask);
        wait(sent);
        wait(asked);
        assert_eq!(result(any), (0, 5));
        // The second finds no request that wants it.
        wait(block + RECEIVED);
        assert_eq!(get(block + AVAILABLE), 6);
        assert_eq!(nt("IoCancelIrp", &[irp]), 1);
        assert_eq!(ended(block, irp), (status::CANCELLED, 0));
        for irp in [any, ask] {
            nt("IoFreeMdl", &[get(irp + 8)]);
            nt("IoFreeIrp", &[irp]);
        }
        close_address(block)
    });
    system(code, peer(vec![b"first".to_vec(), b"second".to_vec()]));
    nothing_left();
}

fn peek() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let buffer = pool(64);
        let irp = datagram(block, 0x0a, buffer, 64, [0, 0, 0x80]);
        let looked = pool(24);
        nt("KeInitializeEvent", &[looked, 1, 0]);
        put(get(irp + 0xb8) - 0x48 + 0x40, looked);
        begin(block, irp);
        ask(block, b"ping");
        wait(looked);
        assert_eq!((result(irp), get8(buffer)), ((0, 5), b'f'));
        nt("IoFreeMdl", &[get(irp + 8)]);
        nt("IoFreeIrp", &[irp]);
        wait(block + RECEIVED);
        assert_eq!((get(block + AVAILABLE), get(block + COUNT)), (5, 1));
        close_address(block)
    });
    system(code, peer(vec![b"first".to_vec()]));
    nothing_left();
}

/// A receive request as a handler hands it back: IoSetNextIrpStackLocation was called.
fn spare(block: u64, irp: u64) -> u64 {
    put8(irp + 0x43, 1);
    put(irp + 0xb8, irp + 0xd0);
    put(block + SPARE_IRP, irp);
    let event = pool(24);
    nt("KeInitializeEvent", &[event, 1, 0]);
    put(irp + 0xd0 + 0x40, event);
    event
}

/// 4000 bytes, of which a handler sees the first packet.
fn long() -> Vec<u8> {
    (0..4000)
        .map(|index| u8::try_from(index % 251).unwrap_or(0))
        .collect()
}

fn rest(port: u64, room: u64) -> (i32, u64) {
    let block = prepare(port, HAND_BACK);
    put(block + TAKE, 100);
    let (buffer, back) = (pool(4000), information(0, [0; 4]));
    let irp = datagram(block, 0x0a, buffer, room, [0, back, 0x20]);
    let filled = spare(block, irp);
    ask(block, b"ping");
    wait(filled);
    assert_eq!(
        (get(block + INDICATED), get(block + AVAILABLE)),
        (1472, 4000)
    );
    assert_eq!(get(block + EVENT_FLAGS), 0x820, "not the entire message");
    let result = result(irp);
    for index in 0..result.1 {
        assert_eq!(u64::from(get8(buffer + index)), (100 + index) % 251);
    }
    nt("IoFreeMdl", &[get(irp + 8)]);
    nt("IoFreeIrp", &[irp]);
    // The next one is indicated anew.
    wait(block + RECEIVED);
    while get(block + COUNT) < 2 {
        wait(block + RECEIVED);
    }
    assert_eq!(get(block + AVAILABLE), 4);
    close_address(block);
    result
}

fn handed_back() {
    code!(code, port, {
        assert_eq!(rest(port, 4000), (0, 3900));
        0
    });
    system(code, peer(vec![long(), b"next".to_vec()]));
    nothing_left();
}

fn handed_back_cut() {
    code!(code, port, {
        assert_eq!(rest(port, 1000), (status::BUFFER_OVERFLOW, 1000));
        0
    });
    system(code, peer(vec![long(), b"next".to_vec()]));
    nothing_left();
}

fn refused() {
    code!(code, port, {
        let block = prepare(port, REFUSE);
        ask(block, b"ping");
        wait(block + RECEIVED);
        pause();
        // Two came and were refused; neither waits for this request.
        assert_eq!(get(block + COUNT), 2);
        let buffer = pool(64);
        let irp = datagram(block, 0x0a, buffer, 64, [0, 0, 0x20]);
        let came = pool(24);
        nt("KeInitializeEvent", &[came, 1, 0]);
        put(get(irp + 0xb8) - 0x48 + 0x40, came);
        begin(block, irp);
        pause();
        assert_eq!(nt("KeReadStateEvent", &[came]), 0);
        put(block + MODE, TAKE_ALL);
        ask(block, b"ping");
        wait(came);
        assert_eq!(result(irp), (0, 5));
        nt("IoFreeMdl", &[get(irp + 8)]);
        nt("IoFreeIrp", &[irp]);
        close_address(block)
    });
    system(code, peer(vec![b"first".to_vec(), b"second".to_vec()]));
    nothing_left();
}

fn nobody() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        listen(block, 0);
        ask(block, b"ping");
        let again = pool(24);
        nt("KeInitializeEvent", &[again, 1, 0]);
        // No handler holds the clock to real time: sleep for real.
        std::thread::sleep(Duration::from_millis(300));
        listen(block, on_datagram as Event as *const () as u64);
        pause();
        assert_eq!(get(block + COUNT), 0);
        ask(block, b"ping");
        wait(block + RECEIVED);
        close_address(block)
    });
    system(code, peer(vec![b"first".to_vec()]));
    nothing_left();
}

fn cancelled() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let irp = datagram(block, 0x0a, pool(64), 64, [0, 0, 0x20]);
        begin(block, irp);
        assert_eq!(nt("IoCancelIrp", &[irp]), 1);
        assert_eq!(ended(block, irp), (status::CANCELLED, 0));
        // One that is cancelled before it is sent, and one that a handler hands back cancelled.
        let irp = datagram(block, 0x0a, pool(64), 64, [0, 0, 0x20]);
        nt("IoCancelIrp", &[irp]);
        begin(block, irp);
        assert_eq!(ended(block, irp), (status::CANCELLED, 0));
        let irp = datagram(block, 0x0a, pool(64), 64, [0, 0, 0x20]);
        let done = spare(block, irp);
        nt("IoCancelIrp", &[irp]);
        put(block + MODE, HAND_BACK);
        ask(block, b"ping");
        wait(done);
        assert_eq!(result(irp), (status::CANCELLED, 0));
        nt("IoFreeMdl", &[get(irp + 8)]);
        nt("IoFreeIrp", &[irp]);
        close_address(block)
    });
    system(code, peer(vec![b"first".to_vec()]));
    nothing_left();
}

fn close_pending() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let irp = datagram(block, 0x0a, pool(64), 64, [0, 0, 0x20]);
        begin(block, irp);
        close_address(block);
        assert_eq!(ended(block, irp), (status::ADDRESS_CLOSED, 0));
        0
    });
    system(code, peer(Vec::new()));
    nothing_left();
}

fn bad_requests() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let sent = |target: u64, length: u64| {
            let irp = datagram(block, 9, pool(length), length, [target, 0, 0]);
            perform(block, irp)
        };
        let good = information(port, [127, 0, 0, 1]);
        assert_eq!(sent(good, 65507), (0, 65507));
        assert_eq!(sent(good, 65508), (status::INVALID_BUFFER_SIZE, 0));
        assert_eq!(sent(0, 4), (status::INVALID_ADDRESS_COMPONENT, 0));
        assert_eq!(
            sent(information(0, [127, 0, 0, 1]), 4),
            (status::INVALID_ADDRESS_COMPONENT, 0)
        );
        for ip in [[192, 0, 2, 1], [255, 255, 255, 255], [0, 0, 0, 0]] {
            assert_eq!(
                sent(information(port, ip), 4),
                (status::NETWORK_UNREACHABLE, 0)
            );
        }
        // There are no connections here.
        for minor in [1, 3, 6, 7, 8] {
            assert_eq!(
                request(block, get(block + ADDRESS), minor, &[0, 0, 0, 0]),
                status::INVALID_DEVICE_REQUEST
            );
        }
        let endpoint = ea(b"ConnectionContext", &7_u64.to_le_bytes());
        assert_eq!(open_on(DEVICE_NAME, endpoint, 3).0, status::INVALID_EA_NAME);
        // The peer has this port for itself.
        let taken = ea(b"TransportAddress", &address(port, [127, 0, 0, 1]));
        assert_eq!(
            open_on(DEVICE_NAME, taken, 0).0,
            status::ADDRESS_ALREADY_EXISTS
        );
        let foreign = ea(b"TransportAddress", &address(0, [192, 0, 2, 1]));
        assert_eq!(
            open_on(DEVICE_NAME, foreign, 0).0,
            status::INVALID_ADDRESS_COMPONENT
        );
        close_address(block)
    });
    system(code, peer(Vec::new()));
    nothing_left();
}

fn queries() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let buffer = pool(64);
        let query = |file: u64, code: u64, room: u64| {
            let mdl = nt("IoAllocateMdl", &[buffer, room, 0, 0, 0]);
            nt("MmBuildMdlForNonPagedPool", &[mdl]);
            let irp = build(block, file, 0x0c, &[code]);
            put(irp + 8, mdl);
            perform(block, irp)
        };
        let (result, control, file) = open_on(DEVICE_NAME, (0, 0), 3);
        assert_eq!(result, 0);
        assert_eq!(query(file, 2, 64), (0, 0x28));
        let (datagram, flags) = (
            get(buffer + 0x0c) & 0xffff_ffff,
            get(buffer + 0x10) & 0xffff_ffff,
        );
        assert_eq!(datagram, 65507);
        assert_eq!(flags, 0x24, "connectionless, broadcast");
        assert_eq!(query(file, 9, 64), (0, 4));
        assert_eq!(get(buffer) & 0xffff_ffff, 65507);
        assert_eq!(query(get(block + ADDRESS), 3, 64), (0, 26));
        assert_ne!(
            u16::from_be_bytes([get8(buffer + 12), get8(buffer + 13)]),
            0
        );
        assert_eq!(
            query(get(block + ADDRESS), 3, 8),
            (status::BUFFER_OVERFLOW, 8)
        );
        assert_eq!(query(get(block + ADDRESS), 6, 64), (0, 8));
        for (file, code) in [(file, 3), (file, 4), (get(block + ADDRESS), 4)] {
            assert_eq!(query(file, code, 64).0, status::INVALID_DEVICE_REQUEST);
        }
        nt("ZwClose", &[control]);
        nt("ObfDereferenceObject", &[file]);
        close_address(block)
    });
    system(code, peer(Vec::new()));
    nothing_left();
}

fn take_too_much() {
    code!(code, port, {
        let block = prepare(port, TAKE_TOO_MUCH);
        ask(block, b"ping");
        wait(block + RECEIVED);
        pause();
        0
    });
    system(code, peer(vec![b"first".to_vec()]));
}

fn wrong_irp() {
    code!(code, port, {
        let block = prepare(port, HAND_BACK);
        let irp = datagram(block, 8, pool(64), 64, [0; 3]);
        spare(block, irp);
        ask(block, b"ping");
        wait(block + RECEIVED);
        pause();
        0
    });
    system(code, peer(vec![b"first".to_vec()]));
}
