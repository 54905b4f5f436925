//! Which comes first on one endpoint: indications, receive requests, and what is kept back (spec tdi.md §5.1, §12).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ntsim::io::status;
use ntsim::layout::io::Irp;
use ntsim::tcp::order::Order;

use super::nt::{at, get, get8, nt, pool, put, seconds, system, wait};
use super::tcp::{code, install, nothing_left, serve};
use super::tdi::*;
use super::{End, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "tcp_a_receive_sent_by_a_completion_routine_comes_before_the_handler",
        End::Fine,
        continued,
    ),
    (
        "tcp_a_refusal_answered_by_a_receive_inside_the_handler_gets_the_data",
        End::Fine,
        posted_by_the_handler,
    ),
    (
        "tcp_refused_data_waits_and_what_a_receive_leaves_is_indicated",
        End::Fine,
        refused_twice,
    ),
    (
        "tcp_a_handler_that_takes_byte_by_byte_is_asked_until_it_has_all",
        End::Fine,
        byte_by_byte,
    ),
    (
        "tcp_a_receive_is_filled_and_does_not_wait_for_more",
        End::Fine,
        filled,
    ),
    ("tcp_a_peek_leaves_the_data_there", End::Fine, peeked),
    (
        "tcp_without_push_a_receive_waits_until_it_is_full_or_the_peer_closes",
        End::Fine,
        not_pushed,
    ),
    (
        "tcp_close_completes_receives_sent_by_completion_routines",
        End::Fine,
        closed_while_continued,
    ),
    (
        "an_indication_while_a_receive_is_outstanding_stops",
        End::Stop("while 1 receive request is outstanding"),
        || {
            let order = Order::default();
            order.post(Irp(0x1000));
            order.take();
            order.begin_indication();
        },
    ),
    (
        "an_indication_after_a_refusal_stops",
        End::Stop("after the client refused data"),
        || {
            let order = Order::default();
            order.begin_indication();
            order.end_indication(true);
            order.begin_indication();
        },
    ),
    (
        "a_receive_completed_inside_an_indication_stops",
        End::Stop("inside an indication"),
        || {
            let order = Order::default();
            order.begin_indication();
            order.post(Irp(0x1000));
            order.take();
            order.begin_completion();
        },
    ),
];

/// How many bytes the server sends.
const SIZE: u64 = 1000;
/// The length of each receive.
const PART: u64 = 60;

// Words of a block of their own: what the completion routine `again` works on.
const CLIENT: u64 = 24;
const BUFFER: u64 = 32;
const GOT: u64 = 40;
const WANTED: u64 = 48;
const IRQL: u64 = 56;
const COUNT: u64 = 64;
const LAST: u64 = 72;
/// How many times `again` has sent the next one.
const AGAIN: u64 = 80;
/// How often the handler of a scenario was called.
const CALLS: u64 = 96;

/// Sends a receive of the next part, which `again` completes.
fn receive_part(work: u64) {
    let block = get(work + CLIENT);
    let (irp, _) = data(block, 8, get(work + BUFFER) + get(work + GOT), PART, 0);
    let stack = get(irp + 0xb8) - 0x48;
    put(stack + 0x38, again as *const () as u64);
    put(stack + 0x40, work);
    nt("IofCallDriver", &[get(block + DEVICE), irp]);
}

extern "win64" fn again(
    _: u64,
    irp: u64,
    work: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    let (answer, length) = result(irp);
    nt("IoFreeMdl", &[get(irp + 8)]);
    nt("IoFreeIrp", &[irp]);
    put(work + IRQL, nt("KeGetCurrentIrql", &[]));
    put(work + GOT, get(work + GOT) + length);
    put(work + COUNT, get(work + COUNT) + 1);
    put(work + LAST, u64::from(answer.cast_unsigned()));
    if answer == 0 && get(work + GOT) < get(work + WANTED) {
        receive_part(work);
        put(work + AGAIN, get(work + AGAIN) + 1);
    } else {
        nt("KeSetEvent", &[work, 0, 0]);
    }
    0xc000_0016
}

/// Begins a chain of receives, each sent by the completion routine of the one before.
fn chain(block: u64, wanted: u64) -> u64 {
    let work = pool(128);
    nt("KeInitializeEvent", &[work, 1, 0]);
    put(work + CLIENT, block);
    put(work + BUFFER, pool(wanted + PART));
    put(work + WANTED, wanted);
    receive_part(work);
    work
}

/// The server's bytes: no two neighbours are the same.
fn bytes() -> Vec<u8> {
    (0..SIZE)
        .map(|index| u8::try_from(index % 251).unwrap_or(0))
        .collect()
}

fn is_in_order(buffer: u64, from: u64, length: u64) -> bool {
    (0..length).all(|index| u64::from(get8(buffer + index)) == (from + index) % 251)
}

/// Whether the server has sent everything: it is in the client's socket then.
static SENT: AtomicBool = AtomicBool::new(false);

/// Waits, in real time, until the server has sent everything.
fn until_sent() {
    while !SENT.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Serves the bytes in pieces, after the client has said something if it is asked first; then waits for its end.
fn serve_bytes(pieces: &'static [usize], ask_first: bool) -> u64 {
    serve(move |mut stream: TcpStream| {
        if ask_first {
            stream.read_exact(&mut [0]).expect("asked");
        }
        let bytes = bytes();
        let mut rest = bytes.as_slice();
        for piece in pieces {
            let (now, later) = rest.split_at(*piece);
            stream.write_all(now).expect("written");
            rest = later;
            std::thread::sleep(Duration::from_millis(100));
        }
        SENT.store(true, Ordering::SeqCst);
        drop(stream.read(&mut [0]));
    })
}

fn pause(seconds_divided: i64) {
    let pause = seconds(1) / seconds_divided;
    nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
}

fn continued() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        // 16 full parts and a last one, all there in one piece.
        let work = chain(block, SIZE);
        assert_eq!(transfer(block, 7, pool(1), 1), (0, 1));
        wait(work);
        assert_eq!((get(work + GOT), get(work + LAST)), (SIZE, 0));
        assert_eq!(get(work + COUNT), SIZE.div_ceil(PART));
        assert_eq!(get(work + IRQL), 2);
        assert!(is_in_order(get(work + BUFFER), 0, SIZE));
        assert_eq!(get(block + BYTES), 0, "the handler was called");
        assert_eq!(nt("KeReadStateEvent", &[block + RECEIVED]), 0);
        assert_eq!(disconnect(block, 2), 0);
        close(block)
    });
    install();
    system(code, serve_bytes(&[1000], true));
    nothing_left();
}

/// The handler sends a receive request itself and refuses the data.
fn posted_by_the_handler() {
    extern "win64" fn handler(
        work: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        taken: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        put(work + CALLS, get(work + CALLS) + 1);
        // SAFETY: The out parameter of the event.
        unsafe { (taken as *mut u32).write(0) };
        receive_part(work);
        0xc000_021b
    }
    code!(code, port, {
        let block = prepare(port, TAKE_ALL);
        let work = pool(128);
        nt("KeInitializeEvent", &[work, 1, 0]);
        put(work + CLIENT, block);
        put(work + BUFFER, pool(SIZE + PART));
        put(work + WANTED, SIZE);
        let address = get(block + ADDRESS);
        let handler = handler as *const () as u64;
        assert_eq!(request(block, address, 0x0b, &[3, handler, work]), 0);
        assert_eq!(connect_to(block, [127, 0, 0, 1]), 0);
        wait(work);
        assert!(is_in_order(get(work + BUFFER), 0, SIZE));
        assert_eq!((get(work + GOT), get(work + CALLS)), (SIZE, 1));
        assert_eq!(disconnect(block, 2), 0);
        close(block)
    });
    install();
    system(code, serve_bytes(&[1000], false));
    nothing_left();
}

fn refused_twice() {
    code!(code, port, {
        let block = connected(port, REFUSE);
        wait(block + RECEIVED);
        // More arrives meanwhile, and nothing is told.
        until_sent();
        pause(2);
        assert_eq!(nt("KeReadStateEvent", &[block + RECEIVED]), 0);
        let buffer = pool(SIZE);
        assert_eq!(transfer(block, 8, buffer, 10), (0, 10));
        // What the receive left is offered again, once.
        wait(block + RECEIVED);
        pause(4);
        assert_eq!(nt("KeReadStateEvent", &[block + RECEIVED]), 0);
        // From the buffer first, then from the socket.
        put(block + MODE, TAKE_ALL);
        assert_eq!(transfer(block, 8, buffer + 10, SIZE - 10), (0, SIZE - 10));
        assert!(is_in_order(buffer, 0, SIZE));
        assert_eq!(get(block + BYTES), 0);
        assert_eq!(disconnect(block, 2), 0);
        close(block)
    });
    install();
    system(code, serve_bytes(&[400, 600], false));
    nothing_left();
}

/// More indications than one turn has, in a turn that a request began and not the socket.
fn byte_by_byte() {
    code!(code, port, {
        let block = connected(port, REFUSE);
        wait(block + RECEIVED);
        put(block + MODE, TAKE_ONE);
        assert_eq!(transfer(block, 8, pool(10), 10), (0, 10));
        while get(block + BYTES) < SIZE - 10 {
            wait(block + RECEIVED);
        }
        assert_eq!(disconnect(block, 2), 0);
        close(block)
    });
    install();
    system(code, serve_bytes(&[1000], false));
    nothing_left();
}

fn filled() {
    code!(code, port, {
        let block = connected(port, REFUSE);
        // All three pieces are there: one completion, although each came by itself.
        until_sent();
        let buffer = pool(2 * SIZE);
        assert_eq!(transfer(block, 8, buffer, 700), (0, 700));
        // More room than data: it does not wait.
        assert_eq!(transfer(block, 8, buffer + 700, 2 * SIZE - 700), (0, 300));
        assert!(is_in_order(buffer, 0, SIZE));
        assert_eq!(disconnect(block, 2), 0);
        close(block)
    });
    install();
    system(code, serve_bytes(&[100, 200, 700], false));
    nothing_left();
}

fn peeked() {
    code!(code, port, {
        let block = connected(port, REFUSE);
        wait(block + RECEIVED);
        let buffer = pool(SIZE);
        let (irp, mdl) = data(block, 8, buffer, 20, 0x80);
        assert_eq!(send(block, irp), (0, 20));
        nt("IoFreeMdl", &[mdl]);
        assert!(is_in_order(buffer, 0, 20));
        wait(block + RECEIVED);
        assert_eq!(transfer(block, 8, buffer, SIZE), (0, SIZE));
        assert!(is_in_order(buffer, 0, SIZE));
        assert_eq!(disconnect(block, 2), 0);
        close(block)
    });
    install();
    system(code, serve_bytes(&[1000], false));
    nothing_left();
}

fn not_pushed() {
    code!(code, port, {
        let block = connected(port, REFUSE);
        let buffer = pool(2 * SIZE);
        let (irp, mdl) = data(block, 8, buffer, 700, 0x4000);
        assert_eq!(send(block, irp), (0, 700));
        nt("IoFreeMdl", &[mdl]);
        let (irp, mdl) = data(block, 8, buffer + 700, SIZE, 0x4000);
        nt("IofCallDriver", &[get(block + DEVICE), irp]);
        pause(2);
        assert_eq!(nt("KeReadStateEvent", &[block + DONE]), 0);
        let byte = pool(1);
        let (ask, ask_mdl) = data(block, 7, byte, 1, 0);
        let asked = pool(24);
        nt("KeInitializeEvent", &[asked, 1, 0]);
        put(get(ask + 0xb8) - 0x48 + 0x40, asked);
        nt("IofCallDriver", &[get(block + DEVICE), ask]);
        // The server closes: what has come is a success, and the end is told after it.
        wait(block + DONE);
        assert_eq!(result(irp), (0, 300));
        assert!(is_in_order(buffer, 0, SIZE));
        wait(block + DISCONNECTED);
        assert_eq!(
            transfer(block, 8, buffer, 16),
            (status::GRACEFUL_DISCONNECT, 0)
        );
        wait(asked);
        for irp in [irp, ask] {
            nt("IoFreeIrp", &[irp]);
        }
        for mdl in [mdl, ask_mdl] {
            nt("IoFreeMdl", &[mdl]);
        }
        assert_eq!(disconnect(block, 4), 0);
        close(block)
    });
    install();
    system(code, serve_bytes(&[100, 200, 700], false));
    nothing_left();
}

fn closed_while_continued() {
    code!(code, port, {
        let block = connected(port, TAKE_ALL);
        let work = chain(block, 2 * SIZE);
        assert_eq!(transfer(block, 7, pool(1), 1), (0, 1));
        while get(work + GOT) < SIZE || get(work + AGAIN) < get(work + COUNT) {
            pause(100);
        }
        close(block);
        wait(work);
        let last = u32::try_from(get(work + LAST)).unwrap_or(0).cast_signed();
        assert_eq!(last, status::CONNECTION_ABORTED);
        assert_eq!(get(block + BYTES), 0);
        0
    });
    install();
    system(code, serve_bytes(&[1000], true));
    nothing_left();
}
