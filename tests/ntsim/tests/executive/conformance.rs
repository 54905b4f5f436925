//! What every transport of the bench owes a TDI client and the other files do not test: how a connection ends, and receives
//! that are handed back late. The table in docs/peers.md has all rules.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use libtest_mimic::Trial;
use ntsim::io::status;

use super::datagrams;
use super::nt::{at, get, nt, pool, put, seconds, start, system, wait};
use super::tcp::{against, code, deaf, install, nothing_left, serve};
use super::tdi::*;
use super::{End, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "tcp_a_reset_behind_refused_data_is_told_as_abort",
        End::Fine,
        reset_behind_refused_data,
    ),
    (
        "tcp_an_abort_ends_a_pending_release_and_the_sends_before_it",
        End::Fine,
        abort_after_release,
    ),
    ("tcp_a_release_has_a_time_limit", End::Fine, release_late),
    (
        "tcp_a_handed_back_receive_may_be_cancelled_already",
        End::Fine,
        handed_back_cancelled,
    ),
    (
        "tcp_a_receive_may_be_handed_back_while_the_endpoint_closes",
        End::Fine,
        handed_back_while_closing,
    ),
    (
        "udp_a_receive_may_be_handed_back_while_the_address_closes",
        End::Fine,
        datagram_handed_back_while_closing,
    ),
];

/// A test: each rule of the table in docs/peers.md names scenarios that exist.
pub(crate) fn table(names: Vec<&'static str>) -> Trial {
    const PAGE: &str = include_str!("../../../../docs/peers.md");
    Trial::test(
        "the_table_of_rules_for_transports_names_scenarios",
        move || {
            let (_, section) = PAGE
                .split_once("## The transports under it")
                .ok_or("no such section")?;
            let rows: Vec<&str> = section
                .lines()
                .filter(|line| line.starts_with("| ") && !line.starts_with("| Rule"))
                .collect();
            for row in &rows {
                let tests: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
                if tests.is_empty() {
                    return Err(format!("no test: {row}").into());
                }
                if let Some(unknown) = tests.iter().find(|test| !names.contains(test)) {
                    return Err(
                        format!("docs/peers.md names {unknown}, which is no scenario").into(),
                    );
                }
            }
            if rows.len() < 16 {
                return Err(format!("only {} rules", rows.len()).into());
            }
            Ok(())
        },
    )
}

fn reset_behind_refused_data() {
    code!(code, port, {
        let block = connected(port, REFUSE);
        wait(block + RECEIVED);
        // The peer's answer to this is its end, with the byte unread.
        assert_eq!(transfer(block, 7, pool(1), 1), (0, 1));
        wait(block + DISCONNECTED);
        assert_eq!((get(block + FLAGS), get(block + BYTES)), (2, 0));
        assert_eq!(transfer(block, 7, pool(1), 1).0, status::CONNECTION_INVALID);
        assert_eq!(disconnect(block, 4), status::CONNECTION_INVALID);
        close(block)
    });
    install();
    let port = serve(|mut stream| {
        stream.write_all(b"hello").expect("written");
        stream.peek(&mut [0]).expect("data comes");
        // Closing with unread data makes the host send a reset.
        drop(stream);
    });
    system(code, port);
    nothing_left();
}

pub(crate) fn pause() {
    let pause = seconds(1) / 10;
    nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
}

/// Frees a request that is back, and says its status.
pub(crate) fn status_of(irp: u64) -> i32 {
    let (status, _) = result(irp);
    nt("IoFreeIrp", &[irp]);
    status
}

/// More than the host's sockets hold.
const MUCH: u64 = 32 << 20;

/// A large send and a release behind it, both pending: IRP, MDL and event of the send, IRP and event of the release.
fn send_and_release(block: u64, limit: i64) -> ([u64; 3], [u64; 2]) {
    let (sent, mdl) = data(block, 7, pool(MUCH), MUCH, 0);
    let sent_event = datagrams::apart(sent);
    datagrams::begin(block, sent);
    let time = pool(8);
    put(time, limit.cast_unsigned());
    let release = build(block, get(block + ENDPOINT), 6, &[4, 0, 0, time]);
    let released = datagrams::apart(release);
    datagrams::begin(block, release);
    ([sent, mdl, sent_event], [release, released])
}

fn abort_after_release() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        let ([sent, mdl, sent_event], [release, released]) = send_and_release(block, seconds(60));
        pause();
        assert_eq!(nt("KeReadStateEvent", &[released]), 0);
        // One release is enough.
        assert_eq!(disconnect(block, 4), status::CONNECTION_INVALID);
        assert_eq!(disconnect(block, 2), 0);
        wait(sent_event);
        assert_eq!(status_of(sent), status::CONNECTION_ABORTED);
        nt("IoFreeMdl", &[mdl]);
        wait(released);
        assert_eq!(status_of(release), status::CONNECTION_ABORTED);
        assert_eq!(nt("KeReadStateEvent", &[block + DISCONNECTED]), 0);
        close(block)
    });
    against(code, deaf);
}

fn release_late() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        let ([sent, mdl, sent_event], [release, released]) =
            send_and_release(block, seconds(1) / 4);
        wait(released);
        assert_eq!(status_of(release), status::IO_TIMEOUT);
        wait(sent_event);
        assert_eq!(status_of(sent), status::CONNECTION_ABORTED);
        nt("IoFreeMdl", &[mdl]);
        close(block)
    });
    against(code, deaf);
}

fn handed_back_cancelled() {
    code!(code, port, {
        let block = prepare(port, HAND_BACK);
        let (irp, mdl) = data(block, 8, pool(64), 64, 0);
        let done = datagrams::spare(block, irp);
        nt("IoCancelIrp", &[irp]);
        assert_eq!(connect_to(block, [127, 0, 0, 1]), 0);
        wait(done);
        assert_eq!(status_of(irp), status::CANCELLED);
        nt("IoFreeMdl", &[mdl]);
        // One byte was taken; the others are offered again.
        while get(block + BYTES) < 5 {
            wait(block + RECEIVED);
        }
        close(block)
    });
    install();
    let (sender, receiver) = mpsc::channel::<()>();
    let port = serve(move |mut stream: TcpStream| {
        stream.write_all(b"hello").expect("written");
        let _ended = receiver.recv();
    });
    system(code, port);
    drop(sender);
    nothing_left();
}

/// Closes the files of a client while its handler has not returned yet, as another thread.
extern "win64" fn close_soon(
    block: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    put(block + FLAGS, 1);
    if get(block + ENDPOINT) == 0 {
        datagrams::close_address(block);
    } else {
        close(block);
    }
    nt("KeSetEvent", &[block + DISCONNECTED, 0, 0]);
    0
}

/// Called by a handler: lets the other thread begin to close, and returns when it surely has.
fn let_it_close(block: u64) {
    start(close_soon, block);
    while get(block + FLAGS) == 0 {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(200));
}

fn handed_back_while_closing() {
    extern "win64" fn handler(
        block: u64,
        a: u64,
        b: u64,
        bytes: u64,
        c: u64,
        taken: u64,
        tsdu: u64,
        irp: u64,
    ) -> u64 {
        let_it_close(block);
        on_receive(block, a, b, bytes, c, taken, tsdu, irp)
    }
    code!(code, port, {
        let block = prepare(port, HAND_BACK);
        let address = get(block + ADDRESS);
        let routine = handler as *const () as u64;
        assert_eq!(request(block, address, 0x0b, &[3, routine, block]), 0);
        let (irp, mdl) = data(block, 8, pool(64), 64, 0);
        let done = datagrams::spare(block, irp);
        assert_eq!(connect_to(block, [127, 0, 0, 1]), 0);
        wait(done);
        let (answer, length) = result(irp);
        // What came before the close is the request's; without it, the end is.
        assert!(
            (answer, length) == (0, 4) || answer == status::CONNECTION_ABORTED,
            "{answer:#x}, {length} bytes"
        );
        nt("IoFreeIrp", &[irp]);
        nt("IoFreeMdl", &[mdl]);
        wait(block + DISCONNECTED)
    });
    install();
    let (sender, receiver) = mpsc::channel::<()>();
    let port = serve(move |mut stream: TcpStream| {
        stream.write_all(b"hello").expect("written");
        let _ended = receiver.recv();
        drop(stream.read(&mut [0]));
    });
    system(code, port);
    drop(sender);
    nothing_left();
}

fn datagram_handed_back_while_closing() {
    extern "win64" fn handler(
        block: u64,
        a: u64,
        b: u64,
        c: u64,
        d: u64,
        e: u64,
        f: u64,
        g: u64,
        taken: u64,
        tsdu: u64,
        irp: u64,
    ) -> u64 {
        let_it_close(block);
        datagrams::on_datagram(block, a, b, c, d, e, f, g, taken, tsdu, irp)
    }
    code!(code, port, {
        let block = datagrams::open_and_listen(port, HAND_BACK);
        nt("KeInitializeEvent", &[block + DISCONNECTED, 1, 0]);
        let irp = datagrams::datagram(block, 0x0a, pool(64), 64, [0, 0, 0x20]);
        let done = datagrams::spare(block, irp);
        datagrams::listen(block, handler as datagrams::Event as *const () as u64);
        datagrams::ask(block, b"ping");
        wait(done);
        let (answer, length) = datagrams::take_back(irp);
        assert!(
            (answer, length) == (0, 5) || answer == status::ADDRESS_CLOSED,
            "{answer:#x}, {length} bytes"
        );
        wait(block + DISCONNECTED)
    });
    system(code, super::udp::peer(vec![b"pong!".to_vec()]));
    nothing_left();
}
