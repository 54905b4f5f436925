//! The TCP transport against servers of the standard library.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ntsim::io::status;

use super::nt::{Code, at, get, nt, pool, put, put8, seconds, system, wait};
use super::tdi::*;
use super::{End, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("tcp_echo_release_and_zero_account", End::Fine, echo),
    ("tcp_over_ipv6", End::Fine, over_ipv6),
    ("tcp_connect_refused", End::Fine, refused),
    ("tcp_leaves_the_machine_never", End::Fine, foreign),
    (
        "tcp_refused_data_goes_to_the_next_receive",
        End::Fine,
        refused_data,
    ),
    (
        "tcp_a_handed_back_receive_gets_the_rest",
        End::Fine,
        handed_back,
    ),
    ("tcp_a_receive_can_be_cancelled", End::Fine, cancelled),
    ("tcp_abort_ends_everything", End::Fine, abort),
    ("tcp_a_reset_is_told_as_abort", End::Fine, reset),
    ("tcp_half_close_lets_data_come", End::Fine, half_close),
    (
        "tcp_close_completes_what_is_outstanding",
        End::Fine,
        close_pending,
    ),
    (
        "tcp_bad_disconnect_flags_change_nothing",
        End::Fine,
        bad_flags,
    ),
    (
        "tcp_taking_too_much_stops",
        End::Stop("more bytes than were indicated"),
        take_too_much,
    ),
    ("tcp_64_mib_in_seconds", End::Fine, large),
    ("tcp_answers_queries", End::Fine, queries),
];

const SIZE: u64 = 64 << 20;

/// Starts a server for one connection and returns its port.
pub(crate) fn serve(run: impl FnOnce(TcpStream) + Send + 'static) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("a bound address").port();
    thread::spawn(move || run(listener.accept().expect("a connection").0));
    port.into()
}

pub(crate) fn install() {
    ntsim::tcp::install(r"\Device\Tcp");
}

pub(crate) fn nothing_left() {
    assert_eq!(ntsim::ob::all(ntsim::ob::ObjectKind::File).len(), 0);
    let total = ntsim::account().total;
    assert_eq!(
        (total.irps, total.handles, total.object_references),
        (0, 0, 0)
    );
}

/// A peer that reads nothing until the sender is dropped.
pub(crate) fn deaf() -> (u64, mpsc::Sender<()>) {
    let (sender, receiver) = mpsc::channel::<()>();
    let port = serve(move |stream| {
        let _ended = receiver.recv();
        drop(stream);
    });
    (port, sender)
}

/// Runs a scenario against this peer, which ends when what is kept of it is dropped.
pub(crate) fn against<T>(code: Code, peer: impl FnOnce() -> (u64, T)) {
    install();
    let (port, kept) = peer();
    system(code, port);
    drop(kept);
    nothing_left();
}

macro_rules! code {
    ($name:ident, $port:ident, $body:block) => {
        extern "win64" fn $name(
            $port: u64,
            _: u64,
            _: u64,
            _: u64,
            _: u64,
            _: u64,
            _: u64,
            _: u64,
        ) -> u64 {
            $body
        }
    };
}
pub(crate) use code;

fn echo() {
    code!(code, port, {
        let block = connected(port, TAKE_HALF);
        let buffer = pool(100_000);
        for index in 0..100_000 {
            put8(buffer + index, 3);
        }
        assert_eq!(transfer(block, 7, buffer, 100_000), (0, 100_000));
        while get(block + BYTES) < 100_000 {
            wait(block + RECEIVED);
        }
        assert_eq!(get(block + IRQLS), 2);
        assert_eq!(disconnect(block, 4), 0);
        wait(block + DISCONNECTED);
        assert_eq!(get(block + FLAGS), 4);
        assert_eq!(get(block + BYTES), 100_000);
        close(block)
    });
    install();
    let port = serve(|mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            stream
                .write_all(buffer.get(..length).unwrap_or_default())
                .expect("the echo is written");
        }
    });
    system(code, port);
    nothing_left();
}

/// A TRANSPORT_ADDRESS with one IPv6 address.
fn ipv6(port: u16, last: u8) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 26, 0, 23, 0];
    bytes.extend(port.to_be_bytes());
    bytes.extend([0; 19]);
    bytes.push(last);
    bytes.extend([0; 4]);
    bytes
}

fn over_ipv6() {
    code!(code, port, {
        let port_number = u16::try_from(port).expect("a port");
        let block = prepare_from(port, TAKE_ALL, &ipv6(0, 0));
        let foreign = connect_at(block, &ipv6(port_number, 2));
        assert_eq!(foreign, status::NETWORK_UNREACHABLE);
        assert_eq!(connect_at(block, &ipv6(port_number, 1)), 0);
        let buffer = pool(8);
        put8(buffer, 7);
        assert_eq!(transfer(block, 7, buffer, 1), (0, 1));
        wait(block + RECEIVED);
        assert_eq!((get(block + BYTES), get(block + RESULT)), (1, 7));
        wait(block + DISCONNECTED);
        assert_eq!(disconnect(block, 4), 0);
        close(block)
    });
    install();
    let listener = TcpListener::bind("[::1]:0").expect("IPv6 on the loopback interface");
    let port = listener.local_addr().expect("a bound address").port();
    thread::spawn(move || {
        let (mut stream, peer) = listener.accept().expect("a connection");
        assert!(peer.is_ipv6());
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).expect("a byte");
        stream.write_all(&byte).expect("the same byte");
    });
    system(code, port.into());
    nothing_left();
}

fn refused() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        assert_eq!(
            connect_to(block, [127, 0, 0, 1]),
            status::CONNECTION_REFUSED
        );
        assert_eq!(disconnect(block, 2), status::CONNECTION_INVALID);
        close(block)
    });
    install();
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a loopback port")
        .local_addr()
        .expect("a bound address")
        .port();
    system(code, free.into());
    nothing_left();
}

fn foreign() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        assert_eq!(
            connect_to(block, [192, 0, 2, 1]),
            status::NETWORK_UNREACHABLE
        );
        close(block)
    });
    install();
    system(code, 80);
    nothing_left();
}

fn refused_data() {
    code!(code, port, {
        let block = connected(port, REFUSE);
        wait(block + RECEIVED);
        let pause = seconds(1) / 10;
        assert_eq!(
            nt(
                "KeWaitForSingleObject",
                &[block + RECEIVED, 0, 0, 0, at(&pause)]
            ),
            0x102,
            "told once only"
        );
        let buffer = pool(64);
        put(block + MODE, TAKE_ALL);
        assert_eq!(transfer(block, 8, buffer, 4), (0, 4));
        assert_eq!(
            get(buffer) & 0xffff_ffff,
            u64::from(u32::from_le_bytes(*b"hell"))
        );
        // What the receive did not take is indicated again.
        wait(block + RECEIVED);
        assert_eq!(get(block + BYTES), 1);
        wait(block + DISCONNECTED);
        assert_eq!(disconnect(block, 4), 0);
        close(block)
    });
    install();
    system(
        code,
        serve(|mut stream| stream.write_all(b"hello").expect("written")),
    );
    nothing_left();
}

fn handed_back() {
    code!(code, port, {
        let block = prepare(port, HAND_BACK);
        let buffer = pool(64);
        let (irp, mdl) = data(block, 8, buffer, 64, 0);
        // IoSetNextIrpStackLocation
        put8(irp + 0x43, 1);
        put(irp + 0xb8, irp + 0xd0);
        put(block + SPARE_IRP, irp);
        assert_eq!(connect_to(block, [127, 0, 0, 1]), 0);
        wait(block + DONE);
        assert_eq!(result(irp), (0, 4));
        assert_eq!(
            get(buffer) & 0xffff_ffff,
            u64::from(u32::from_le_bytes(*b"ello"))
        );
        nt("IoFreeIrp", &[irp]);
        nt("IoFreeMdl", &[mdl]);
        close(block)
    });
    install();
    let (sender, receiver) = mpsc::channel::<()>();
    let port = serve(move |mut stream| {
        stream.write_all(b"hello").expect("written");
        let _ended = receiver.recv();
    });
    system(code, port);
    drop(sender);
    nothing_left();
}

fn cancelled() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        let (irp, mdl) = data(block, 8, pool(64), 64, 0);
        assert_eq!(nt("IofCallDriver", &[get(block + DEVICE), irp]), 0x103);
        let pause = seconds(1) / 20;
        nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
        assert_eq!(nt("IoCancelIrp", &[irp]), 1);
        wait(block + DONE);
        assert_eq!(result(irp), (status::CANCELLED, 0));
        nt("IoFreeIrp", &[irp]);
        nt("IoFreeMdl", &[mdl]);
        close(block)
    });
    against(code, deaf);
}

fn abort() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        let (irp, mdl) = data(block, 8, pool(64), 64, 0);
        let second = pool(24);
        nt("KeInitializeEvent", &[second, 1, 0]);
        put(get(irp + 0xb8) - 0x48 + 0x40, second);
        nt("IofCallDriver", &[get(block + DEVICE), irp]);
        assert_eq!(disconnect(block, 2), 0);
        wait(second);
        assert_eq!(result(irp), (status::CONNECTION_ABORTED, 0));
        nt("IoFreeIrp", &[irp]);
        nt("IoFreeMdl", &[mdl]);
        assert_eq!(
            transfer(block, 7, pool(16), 16).0,
            status::CONNECTION_INVALID
        );
        // The endpoint is idle: it may be connected again, here to nobody.
        assert_eq!(nt("KeReadStateEvent", &[block + DISCONNECTED]), 0);
        close(block)
    });
    install();
    let (sender, receiver) = mpsc::channel();
    let port = serve(move |mut stream| {
        let seen = stream.read(&mut [0; 16]).map_err(|error| error.kind());
        sender.send(seen).expect("the scenario waits");
    });
    system(code, port);
    let seen = receiver
        .recv_timeout(Duration::from_secs(60))
        .expect("the server saw the end");
    assert_eq!(seen, Err(std::io::ErrorKind::ConnectionReset));
    nothing_left();
}

fn reset() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        assert_eq!(transfer(block, 7, pool(16), 16), (0, 16));
        wait(block + DISCONNECTED);
        assert_eq!(get(block + FLAGS), 2);
        assert_eq!(disconnect(block, 2), status::CONNECTION_INVALID);
        close(block)
    });
    install();
    // Closing with unread data makes the host send a reset.
    let port = serve(|stream| {
        let mut byte = [0];
        stream.peek(&mut byte).expect("data comes");
        drop(stream);
    });
    system(code, port);
    nothing_left();
}

fn half_close() {
    static TRIED: AtomicBool = AtomicBool::new(false);
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        assert_eq!(disconnect(block, 4), 0);
        assert_eq!(
            transfer(block, 7, pool(16), 16).0,
            status::INVALID_DEVICE_STATE
        );
        TRIED.store(true, Ordering::SeqCst);
        wait(block + DISCONNECTED);
        assert_eq!((get(block + BYTES), get(block + FLAGS)), (9, 4));
        close(block)
    });
    install();
    let port = serve(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("the release is seen");
        // The client tries a send on the half that it closed, before it hears more.
        while !TRIED.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        stream.write_all(b"still yes").expect("written");
    });
    system(code, port);
    nothing_left();
}

fn close_pending() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        let (irp, mdl) = data(block, 8, pool(64), 64, 0);
        nt("IofCallDriver", &[get(block + DEVICE), irp]);
        close(block);
        wait(block + DONE);
        assert_eq!(result(irp).0, status::CONNECTION_ABORTED);
        nt("IoFreeIrp", &[irp]);
        nt("IoFreeMdl", &[mdl])
    });
    against(code, deaf);
}

fn bad_flags() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        for flags in [1, 6, 8, 0x4000_0000] {
            assert_eq!(disconnect(block, flags), status::INVALID_PARAMETER);
        }
        assert_eq!(transfer(block, 7, pool(16), 16), (0, 16));
        assert_eq!(disconnect(block, 0), 0);
        close(block)
    });
    install();
    let port = serve(|mut stream| drop(stream.read(&mut [0; 64])));
    system(code, port);
    nothing_left();
}

fn take_too_much() {
    code!(code, port, {
        let block = connected(port, TAKE_TOO_MUCH);
        wait(block + DISCONNECTED)
    });
    install();
    system(
        code,
        serve(|mut stream| stream.write_all(b"hello").expect("written")),
    );
}

fn large() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        while get(block + BYTES) < SIZE {
            wait(block + RECEIVED);
        }
        let size = 1 << 20;
        let buffer = pool(size);
        for _ in 0..SIZE / size {
            assert_eq!(transfer(block, 7, buffer, size), (0, size));
        }
        assert_eq!(disconnect(block, 4), 0);
        wait(block + DISCONNECTED);
        close(block)
    });
    install();
    let port = serve(|mut stream| {
        let chunk = vec![1; 1 << 20];
        for _ in 0..64 {
            stream.write_all(&chunk).expect("written");
        }
        let mut buffer = vec![0; 1 << 20];
        while let Ok(1..) = stream.read(&mut buffer) {}
    });
    let begun = Instant::now();
    system(code, port);
    let took = begun.elapsed();
    eprintln!("64 MiB each way: {took:?}");
    // It takes a second or two; the host may be slow and busy.
    assert!(took < Duration::from_secs(120), "{took:?}");
    nothing_left();
}

fn queries() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        let buffer = pool(64);
        let query = |file: u64, code: u64, room: u64| {
            let mdl = nt("IoAllocateMdl", &[buffer, room, 0, 0, 0]);
            nt("MmBuildMdlForNonPagedPool", &[mdl]);
            let irp = build(block, file, 0x0c, &[code]);
            put(irp + 8, mdl);
            let result = send(block, irp);
            nt("IoFreeMdl", &[mdl]);
            result
        };
        let (control, file) = open((0, 0));
        assert_eq!(query(file, 2, 64), (0, 0x28));
        assert_eq!(
            get(buffer + 0x10) & 3,
            3,
            "connection mode and orderly release"
        );
        assert_eq!(query(file, 2, 8), (status::BUFFER_OVERFLOW, 8));
        assert_eq!(query(get(block + ADDRESS), 3, 64), (0, 26));
        assert_eq!(query(get(block + ENDPOINT), 3, 64), (0, 26));
        assert_eq!(query(get(block + ENDPOINT), 4, 64), (0, 0x38));
        assert_eq!(query(file, 0x77, 64).0, status::INVALID_DEVICE_REQUEST);
        nt("ZwClose", &[control]);
        nt("ObfDereferenceObject", &[file]);
        close(block)
    });
    install();
    let port = serve(|mut stream| drop(stream.read(&mut [0; 64])));
    system(code, port);
    nothing_left();
}
