//! Connects that do not succeed, and endpoints that are used again.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use ntsim::io::status;
use socket2::{Domain, Socket, Type};

use super::conformance::{pause, status_of};
use super::datagrams;
use super::nt::{get, nt, pool, put, seconds, system, wait};
use super::tcp::{against, code, install, nothing_left};
use super::tdi::*;
use super::{End, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "tcp_a_disconnect_ends_a_pending_connect",
        End::Fine,
        connect_disconnected,
    ),
    (
        "tcp_a_connect_can_be_cancelled",
        End::Fine,
        connect_cancelled,
    ),
    ("tcp_a_connect_has_a_time_limit", End::Fine, connect_late),
    (
        "tcp_an_endpoint_can_be_connected_again",
        End::Fine,
        connected_again,
    ),
];

/// A port on which connects stay pending: its queue is full, and nobody takes from it. The port is its as long as the
/// sockets live.
fn full_port() -> (u64, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("a literal address");
    listener.bind(&any.into()).expect("a loopback port");
    listener.listen(0).expect("a listening socket");
    let address = listener.local_addr().expect("a bound address");
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // An error means that the queue is full.
        drop(socket.connect_timeout(&address, Duration::from_millis(50)));
        sockets.push(socket);
    }
    let port = address.as_socket().map_or(0, |address| address.port());
    (port.into(), sockets)
}

/// Sends a connect with a time limit, and leaves it: IRP and its event.
fn begin_connect(block: u64, limit: i64) -> (u64, u64) {
    let information = datagrams::information(get(block + PORT), [127, 0, 0, 1]);
    let time = pool(8);
    put(time, limit.cast_unsigned());
    let parameters = [0, information, 0, time];
    let irp = build(block, get(block + ENDPOINT), 3, &parameters);
    let done = datagrams::apart(irp);
    datagrams::begin(block, irp);
    (irp, done)
}

fn connect_disconnected() {
    code!(code, port, {
        for flags in [2, 4] {
            let block = prepare(port, TAKE_ALL);
            let (irp, done) = begin_connect(block, seconds(60));
            pause();
            assert_eq!(nt("KeReadStateEvent", &[done]), 0);
            assert_eq!(disconnect(block, flags), 0);
            wait(done);
            assert_eq!(status_of(irp), status::CONNECTION_ABORTED);
            // The client did it: it is not told.
            assert_eq!(nt("KeReadStateEvent", &[block + DISCONNECTED]), 0);
            close(block);
        }
        0
    });
    against(code, full_port);
}

fn connect_cancelled() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let (irp, done) = begin_connect(block, seconds(60));
        pause();
        assert_eq!(nt("IoCancelIrp", &[irp]), 1);
        wait(done);
        assert_eq!(status_of(irp), status::CANCELLED);
        assert_eq!(disconnect(block, 2), status::CONNECTION_INVALID);
        close(block)
    });
    against(code, full_port);
}

fn connect_late() {
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let (irp, done) = begin_connect(block, seconds(1) / 4);
        wait(done);
        assert_eq!(status_of(irp), status::IO_TIMEOUT);
        close(block)
    });
    against(code, full_port);
}

fn connected_again() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        // While it is connected it is neither connected nor set free.
        assert_eq!(connect_to(block, [127, 0, 0, 1]), status::CONNECTION_ACTIVE);
        let endpoint = get(block + ENDPOINT);
        assert_eq!(request(block, endpoint, 2, &[]), status::CONNECTION_ACTIVE);
        assert_eq!(disconnect(block, 2), 0);
        // After an abort, and after both sides have released.
        assert_eq!(connect_to(block, [127, 0, 0, 1]), 0);
        assert_eq!(disconnect(block, 4), 0);
        wait(block + DISCONNECTED);
        assert_eq!(get(block + FLAGS), 4);
        assert_eq!(connect_to(block, [127, 0, 0, 1]), 0);
        assert_eq!(transfer(block, 7, pool(1), 1), (0, 1));
        assert_eq!(disconnect(block, 2), 0);
        assert_eq!(request(block, endpoint, 2, &[]), 0);
        assert_eq!(
            request(block, endpoint, 2, &[]),
            status::ADDRESS_NOT_ASSOCIATED
        );
        assert_eq!(
            connect_to(block, [127, 0, 0, 1]),
            status::ADDRESS_NOT_ASSOCIATED
        );
        close(block)
    });
    install();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("a bound address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Until the end or a reset; then its own end.
            drop(std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    system(code, port.into());
    nothing_left();
}
