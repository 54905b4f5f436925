//! RxCeBuildConnectionOverMultipleTransports: while the losers are being closed (rxce.md §5.8, vector M3, and T8).

use core::{
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use rxce_client::{RXCE_CONNECTION_COMPLETION_CONTEXT, RXCE_CONNECTION_SIGNATURE};

use super::{ABORT, Shared, Vector, documented, multiple, own};
use crate::{
    client::Call,
    engine,
    fixture::{self, called, calls, endpoint_closed},
    nt::{event::Event, pool::Block, status, thread::Thread, time, time::SECOND},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    race::{self, BEST, COMPLETION, FIRST, PROVIDERS, Race},
    transport::{self, Kind, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "M3",
        "the completion routine tears the winner down while losers are closing",
        torn_down_inside,
    ),
    own(
        "M11",
        "pCleanUpEvent is signalled when the losers are gone, and tear-down waits for it",
        clean_up_event,
    ),
    documented(
        "M12",
        "the redirector's AsynchronousRequestsPending counts until the last is gone",
        pending_requests,
    ),
    own(
        "M13",
        "structures and addresses of a race are nobody else's meanwhile",
        reserved,
    ),
];

/// What the tear-downs in the completion routine answered.
static INSIDE: [AtomicI32; 2] = [const { AtomicI32::new(status::PENDING) }; 2];

fn tear_down_inside(context: *mut RXCE_CONNECTION_COMPLETION_CONTEXT) {
    // SAFETY: The race's context and structures outlive the completion routine.
    let told = unsafe { &*context };
    let (connection, vc) = (told.pConnection, told.pVc);
    let [first, second] = &INSIDE;
    first.store(engine::tear_down_vc(vc), Ordering::SeqCst);
    second.store(engine::tear_down_connection(connection), Ordering::SeqCst);
}

fn torn_down_inside(run: &Run) -> Outcome {
    for owed in [false, true] {
        let (entered, go_on) = (Event::new(), Event::new());
        let race = Race::among(2)?;
        race.then(tear_down_inside);
        race.connects(Script::UNTIL_CLOSE);
        let before = run.balance();
        outcome::status("the routine", race.build(BEST), status::PENDING)?;
        if owed {
            // The winner has its connect and its peer's disconnect, and waits for the better one.
            race.end(1, status::SUCCESS)?;
            transport::disconnect(race.endpoint(1), ABORT);
            let [first, ..] = PROVIDERS;
            TRANSPORT.update(|state| state.stop_clean_up(first, &entered, &go_on));
            race.end(0, status::CONNECTION_REFUSED)?;
        } else {
            let [_, second, _] = PROVIDERS;
            TRANSPORT.update(|state| state.stop_clean_up(second, &entered, &go_on));
            race.end(0, status::SUCCESS)?;
        }
        let closing = entered.wait(time::PATIENCE);
        let called_back = COMPLETION.wait_until(time::PATIENCE, |seen| seen.calls == 1);
        let early = COMPLETION.wait_until(SECOND, |seen| seen.returns > 0);
        go_on.set();
        let (code, index) = race.completed()?;
        holds("a loser is being closed", closing)?;
        holds(
            "the completion routine does not wait for losers",
            called_back,
        )?;
        holds("the tear-down in it does", !early)?;
        outcome::status("the status in the context", code, status::SUCCESS)?;
        same("AddressIndex", index, u32::from(owed))?;
        let answers = INSIDE
            .each_ref()
            .map(|answer| answer.load(Ordering::SeqCst));
        fixture::ok("RxCeTearDownVC in the completion routine", answers[0])?;
        fixture::ok("RxCeTearDownConnection in it", answers[1])?;
        race.nothing_built()?;
        endpoint_closed(2)?;
        multiple::settled(run, &before)?;
        // A disconnect that was owed is owed to nobody now.
        same("callbacks", calls(), 0)?;
        race.close()?;
        same("callbacks at the end", calls(), 0)?;
        multiple::next_round()?;
    }
    Ok(())
}

fn clean_up_event(_run: &Run) -> Outcome {
    for inline in [true, false] {
        let (entered, go_on) = (Event::new(), Event::new());
        let race = Race::among(2)?;
        race.connects(Script::UNTIL_CLOSE);
        if inline {
            race.script(0, Kind::Connect, Script::Inline(status::SUCCESS));
        }
        let [_, second, _] = PROVIDERS;
        TRANSPORT.update(|state| state.stop_clean_up(second, &entered, &go_on));
        let answer = race.build(FIRST);
        if inline {
            fixture::ok("the routine", answer)?;
        } else {
            outcome::status("the routine", answer, status::PENDING)?;
            race.end(0, status::SUCCESS)?;
            race.completed()?;
        }
        let closing = entered.wait(time::PATIENCE);
        let event = race.vc.read().pCleanUpEvent;
        // SAFETY: The event lives in the engine's block of the circuit, which is built.
        let signalled =
            !event.is_null() && unsafe { crate::nt::event::wait_for(event.cast(), SECOND) };
        // A loser's parents are in use until it is gone.
        let counts = race.counts(1);
        let vc = Shared(race.vc.ptr());
        // The winner works meanwhile.
        let data = fixture::buffer(b"meanwhile")?;
        let sent = fixture::send_and_wait(vc.0, &data);
        let tearing = Thread::start(move || vc.tear_down())?;
        let early = tearing.ends_within(SECOND);
        go_on.set();
        fixture::ok("RxCeTearDownVC", tearing.join("RxCeTearDownVC")?)?;
        holds("a loser is being closed", closing)?;
        holds("pCleanUpEvent is there", !event.is_null())?;
        holds("it is not signalled while a loser closes", !signalled)?;
        same("counts of the loser's parents", counts, [1; 4])?;
        fixture::ok("a send meanwhile", sent)?;
        holds("tear-down waits for the losers", !early)?;
        same(
            "counts of the loser's parents at the end",
            race.counts(1),
            [0; 4],
        )?;
        race.close()?;
        multiple::next_round()?;
    }
    // Nobody to clean up: no event.
    let race = Race::among(1)?;
    fixture::ok("the routine", race.build(FIRST))?;
    holds(
        "pCleanUpEvent is NULL without losers",
        race.vc.read().pCleanUpEvent.is_null(),
    )?;
    race.close()
}

/// As much of RDBSS_DEVICE_OBJECT as counts (rdbss.md §6).
const DEVICE: usize = 0x300;
const PENDING_COUNT: usize = 0x270;
const PENDING_EVENT: usize = 0x278;

/// A device object of a redirector, by hand.
struct Device<'a> {
    block: Block<[u8; DEVICE]>,
    /// Signalled when nothing pends any more.
    finished: Option<&'a Event>,
}

impl<'a> Device<'a> {
    fn new(kind: u16, size: u16, finished: Option<&'a Event>) -> Outcome<Self> {
        let event = finished.map_or(ptr::null_mut(), Event::as_ptr);
        let block = Block::zeroed().ok_or_else(Trouble::no_memory)?;
        block.change(|bytes: &mut [u8; DEVICE]| {
            put(bytes, 0, &kind.to_le_bytes());
            put(bytes, 2, &size.to_le_bytes());
            put(bytes, PENDING_EVENT, &event.addr().to_le_bytes());
        });
        Ok(Self { block, finished })
    }

    fn pending(&self) -> i32 {
        let bytes = self.block.bytes();
        let count = bytes
            .get(PENDING_COUNT..)
            .and_then(|rest| rest.first_chunk());
        count.copied().map_or(-1, i32::from_le_bytes)
    }
}

impl Drop for Device<'_> {
    /// A vector that ends early leaves while a request pends, which keeps the device.
    fn drop(&mut self) {
        if let Some(finished) = self.finished {
            finished.wait(SECOND);
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(value) {
        *to = *from;
    }
}

fn pending_requests(_run: &Run) -> Outcome {
    let finished = Event::new();
    let device = Device::new(3, 0x280, Some(&finished))?;
    let (entered, go_on) = (Event::new(), Event::new());
    let race = Race::among(2)?;
    race.connects(Script::UNTIL_CLOSE);
    let [_, second, _] = PROVIDERS;
    TRANSPORT.update(|state| state.stop_clean_up(second, &entered, &go_on));
    let pointer = device.block.ptr().cast();
    let answer = race.build_over(FIRST, &mut race.addresses(), pointer);
    outcome::status("the routine", answer, status::PENDING)?;
    same("AsynchronousRequestsPending", device.pending(), 1)?;
    race.end(0, status::SUCCESS)?;
    race.completed()?;
    let closing = entered.wait(time::PATIENCE);
    let (while_closing, early) = (device.pending(), finished.wait(SECOND));
    go_on.set();
    race.losers_gone()?;
    let ended = finished.wait(time::PATIENCE);
    holds("a loser is being closed", closing)?;
    same(
        "AsynchronousRequestsPending while a loser closes",
        while_closing,
        1,
    )?;
    holds("the event is not signalled before", !early)?;
    holds("the event is signalled when the last is gone", ended)?;
    same(
        "AsynchronousRequestsPending at the end",
        device.pending(),
        0,
    )?;
    race.close()?;
    multiple::next_round()?;

    // No event; failures; a device that is too short or no device: nothing of it is touched.
    for (kind, size, counts) in [
        (3, 0x280, true),
        (3, 0x300, true),
        (3, 0x27F, false),
        (3, 0x150, false),
        (4, 0x280, false),
        (0, 0, false),
    ] {
        let device = Device::new(kind, size, None)?;
        let bytes = device.block.bytes();
        let race = Race::among(1)?;
        race.connects(Script::PEND);
        let pointer = device.block.ptr().cast();
        let answer = race.build_over(FIRST, &mut race.addresses(), pointer);
        outcome::status("the routine", answer, status::PENDING)?;
        let pending = device.pending();
        race.end(0, status::CONNECTION_REFUSED)?;
        race.completed()?;
        same("AsynchronousRequestsPending", pending, i32::from(counts))?;
        // The count goes with the race.
        race::settled(|| same("the device's bytes", device.block.bytes(), bytes.clone()))?;
        race.close()?;
        multiple::next_round()?;
    }
    Ok(())
}

fn reserved(_run: &Run) -> Outcome {
    let race = Race::among(2)?;
    race.connects(Script::PEND);
    outcome::status("the routine", race.build(FIRST), status::PENDING)?;
    let bad = status::INVALID_PARAMETER;
    let vc = race.vc.ptr();
    // Nothing is there yet for anyone but the race.
    outcome::status("initiate", engine::initiate(vc), bad)?;
    outcome::status("RxCeTearDownVC", engine::tear_down_vc(vc), bad)?;
    let connection = race.connection.ptr();
    outcome::status(
        "RxCeTearDownConnection",
        engine::tear_down_connection(connection),
        bad,
    )?;
    outcome::status("RxCeBuildVC", engine::build_vc(vc, connection), bad)?;
    let data = fixture::buffer(b"too early")?;
    let sent = fixture::send(vc, &data, 1);
    outcome::status("a send", sent, status::CONNECTION_DISCONNECTED)?;
    for stack in &race.stacks {
        let answer = engine::tear_down_address(stack.address.ptr());
        outcome::status("RxCeTearDownAddress of an address in a race", answer, bad)?;
        let answer = engine::tear_down_transport(stack.transport.ptr());
        outcome::status("RxCeTearDownTransport of its transport", answer, bad)?;
    }
    let second = Block::filled(0xCC).ok_or_else(Trouble::no_memory)?;
    second.write(race.context.read());
    let answer = race.build_changed(FIRST, &mut race.addresses(), |with| {
        with.context = second.ptr();
    });
    outcome::status("a second race for the same structures", answer, bad)?;
    race.end(1, status::SUCCESS)?;
    race.completed()?;
    race.losers_gone()?;
    same(
        "the connection",
        signature(&race.connection.bytes()),
        RXCE_CONNECTION_SIGNATURE,
    )?;
    same("callbacks", calls(), 0)?;
    fixture::ok("initiate", engine::initiate(vc))?;
    same("Disconnect callbacks", called(Call::Disconnect), 0)?;
    // Further circuits go to the winner's connection as to any.
    let more = Block::filled(0xCC).ok_or_else(Trouble::no_memory)?;
    race.connects(Script::Inline(status::SUCCESS));
    fixture::ok("RxCeBuildVC", engine::build_vc(more.ptr(), connection))?;
    fixture::ok("RxCeTearDownVC", engine::tear_down_vc(more.ptr()))?;
    race.close()
}

fn signature(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map_or(0, u32::from_le_bytes)
}
