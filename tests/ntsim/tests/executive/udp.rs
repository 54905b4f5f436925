//! The UDP transport against sockets of the standard library.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ntsim::io::status;

use super::datagrams::*;
use super::nt::{get, get8, nt, pool, put, system, wait};
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

/// How many datagrams the peer has answered.
static ANSWERED: AtomicUsize = AtomicUsize::new(0);

/// Starts a peer which answers each datagram with one of the given ones, in turn, and installs the transport. Returns its port.
pub(crate) fn peer(answers: Vec<Vec<u8>>) -> u64 {
    ntsim::udp::install(DEVICE_NAME);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    let port = socket.local_addr().expect("a bound address").port();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        for answer in answers.iter().cycle() {
            let Ok((_, source)) = socket.recv_from(&mut buffer) else {
                return;
            };
            socket.send_to(answer, source).expect("answered");
            ANSWERED.fetch_add(1, Ordering::SeqCst);
        }
        // Without answers it only keeps its port.
        while socket.recv_from(&mut buffer).is_ok() {}
    });
    port.into()
}

fn there_and_back() {
    code!(code, port, {
        let block = open_and_listen(port, TAKE_ALL);
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
        ask(block, b"ping");
        wait(block + RECEIVED);
        assert_eq!((get(block + AVAILABLE), get(block + COUNT)), (0, 2));
        close_address(block)
    });
    system(code, peer(vec![b"pong!".to_vec(), Vec::new()]));
    nothing_left();
}

fn cut() {
    code!(code, port, {
        let block = open_and_listen(port, TAKE_ALL);
        let (buffer, back) = (pool(64), information(0, [0; 4]));
        let irp = datagram(block, 0x0a, buffer, 4, [0, back, 0x20]);
        let filled = apart(irp);
        begin(block, irp);
        ask(block, b"ping");
        wait(filled);
        assert_eq!(take_back(irp), (status::BUFFER_OVERFLOW, 4));
        assert_eq!(get(buffer), u64::from(u32::from_le_bytes(*b"firs")));
        let from = get(back + 0x28);
        let source = u16::from_be_bytes([get8(from + 8), get8(from + 9)]);
        assert_eq!(u64::from(source), port);
        // The end that was cut off is lost, and the next datagram goes to the handler.
        ask(block, b"ping");
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
        let block = open_and_listen(port, TAKE_ALL);
        let from = |port: u64, ip: [u8; 4]| {
            let wanted = information(port, ip);
            let irp = datagram(block, 0x0a, pool(64), 64, [wanted, 0, 0x20]);
            let done = apart(irp);
            begin(block, irp);
            (irp, done)
        };
        let (other, other_done) = from(1, [127, 0, 0, 1]);
        let (peer, peer_done) = from(port, [0; 4]);
        ask(block, b"ping");
        wait(peer_done);
        assert_eq!(take_back(peer), (0, 5));
        // The second finds no request that wants it.
        ask(block, b"ping");
        wait(block + RECEIVED);
        assert_eq!(get(block + AVAILABLE), 6);
        assert_eq!(nt("IoCancelIrp", &[other]), 1);
        wait(other_done);
        assert_eq!(take_back(other), (status::CANCELLED, 0));
        close_address(block)
    });
    system(code, peer(vec![b"first".to_vec(), b"second".to_vec()]));
    nothing_left();
}

fn peek() {
    code!(code, port, {
        let block = open_and_listen(port, TAKE_ALL);
        let buffer = pool(64);
        let irp = datagram(block, 0x0a, buffer, 64, [0, 0, 0x80]);
        let looked = apart(irp);
        begin(block, irp);
        ask(block, b"ping");
        wait(looked);
        assert_eq!((take_back(irp), get8(buffer)), ((0, 5), b'f'));
        wait(block + RECEIVED);
        assert_eq!((get(block + AVAILABLE), get(block + COUNT)), (5, 1));
        close_address(block)
    });
    system(code, peer(vec![b"first".to_vec()]));
    nothing_left();
}

/// 4000 bytes, of which a handler sees the first packet.
fn long() -> Vec<u8> {
    (0..4000)
        .map(|index| u8::try_from(index % 251).unwrap_or(0))
        .collect()
}

fn rest(port: u64, room: u64) -> (i32, u64) {
    let block = open_and_listen(port, HAND_BACK);
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
    let result = take_back(irp);
    for index in 0..result.1 {
        assert_eq!(u64::from(get8(buffer + index)), (100 + index) % 251);
    }
    // The next one is indicated anew.
    ask(block, b"ping");
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
        let block = open_and_listen(port, REFUSE);
        // Two come and are refused; neither waits for this request.
        for count in 1..=2 {
            ask(block, b"ping");
            wait(block + RECEIVED);
            assert_eq!(get(block + COUNT), count);
        }
        let buffer = pool(64);
        let irp = datagram(block, 0x0a, buffer, 64, [0, 0, 0x20]);
        let came = apart(irp);
        begin(block, irp);
        pause();
        assert_eq!(nt("KeReadStateEvent", &[came]), 0);
        put(block + MODE, TAKE_ALL);
        ask(block, b"ping");
        wait(came);
        assert_eq!(take_back(irp), (0, 5));
        close_address(block)
    });
    system(code, peer(vec![b"first".to_vec(), b"second".to_vec()]));
    nothing_left();
}

fn nobody() {
    code!(code, port, {
        let block = open_and_listen(port, TAKE_ALL);
        listen(block, 0);
        ask(block, b"ping");
        // No handler holds the clock to real time: sleep for real.
        while ANSWERED.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // The transport looks for datagrams with each request, and is done with that when it completes the next one.
        for _ in 0..2 {
            let elsewhere = information(1, [127, 0, 0, 1]);
            let irp = datagram(block, 9, pool(4), 4, [elsewhere, 0, 0]);
            assert_eq!(perform(block, irp), (0, 4));
        }
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
        let block = open_and_listen(port, TAKE_ALL);
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
        assert_eq!(take_back(irp), (status::CANCELLED, 0));
        close_address(block)
    });
    system(code, peer(vec![b"first".to_vec()]));
    nothing_left();
}

fn close_pending() {
    code!(code, port, {
        let block = open_and_listen(port, TAKE_ALL);
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
        let block = open_and_listen(port, TAKE_ALL);
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
        let block = open_and_listen(port, TAKE_ALL);
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
        let block = open_and_listen(port, TAKE_TOO_MUCH);
        ask(block, b"ping");
        // The stop comes when the handler has returned, and nothing else ends this.
        wait(block + DONE)
    });
    system(code, peer(vec![b"first".to_vec()]));
}

fn wrong_irp() {
    code!(code, port, {
        let block = open_and_listen(port, HAND_BACK);
        let irp = datagram(block, 8, pool(64), 64, [0; 3]);
        spare(block, irp);
        ask(block, b"ping");
        // The stop comes when the handler has returned, and nothing else ends this.
        wait(block + DONE)
    });
    system(code, peer(vec![b"first".to_vec()]));
}
