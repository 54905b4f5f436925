//! Requests are sent, and their answers waited for.

use core::ptr::NonNull;

use p9::{NOTAG, Request};
use rxce_engine::{Error, circuit::Waited, send as options};
use wdk_sys::{NTSTATUS, STATUS_IO_TIMEOUT};

use super::{
    Session,
    exchange::{Answer, Exchange},
    table::Table,
};
use crate::{
    connection::send::{self, Delivery},
    nt::{event::Event, irql::Pageable, time},
};

/// The end of an exchange's send: the engine calls it with the exchange as context.
///
/// # Safety
///
/// `exchange` has the send's part.
pub(super) unsafe fn sent(session: &Session, exchange: NonNull<Exchange>, status: NTSTATUS) {
    if !wdk::nt_success(status) {
        session.fail(status);
    }
    // SAFETY: Forwarded.
    unsafe { Exchange::drop_part(exchange) };
}

/// Sends a request and waits for its answer, within the session's limit.
///
/// # Safety
///
/// `destination` is NULL with no room, or resident memory of `room` bytes that nobody else uses during the call.
///
/// # IRQL
///
/// `<= APC_LEVEL`
pub(super) unsafe fn run(
    session: &Session,
    at: &Pageable,
    request: &Request<'_>,
    destination: *mut u8,
    room: usize,
) -> Result<Answer, Error> {
    let deadline = time::now_100ns().saturating_add(session.limit_100ns);
    let place = loop {
        match session.table.with(Table::reserve) {
            Ok(None) => wait(&session.freed, session, at, deadline)?,
            ended => {
                // The event wakes one thread: there may be more for the next one.
                session.freed.set();
                if let Some(place) = ended? {
                    break place;
                }
            }
        }
    };
    // SAFETY: Forwarded.
    let result = unsafe { run_at(session, at, place, request, destination, room, deadline) };
    session.table.with(|table| table.release(place));
    session.freed.set();
    result
}

/// # Safety
///
/// As [`run`]; the place is reserved for the caller, who releases it before the destination is used otherwise.
unsafe fn run_at(
    session: &Session,
    at: &Pageable,
    place: usize,
    request: &Request<'_>,
    destination: *mut u8,
    room: usize,
    deadline: u64,
) -> Result<Answer, Error> {
    let tag = match request {
        Request::Version { .. } => NOTAG,
        _ => u16::try_from(place).map_err(|_| Error::InvalidParameter)?,
    };
    let (exchange, length) = Exchange::new(request, tag, destination, room)?;
    let answer = Answer::of(exchange);
    session
        .table
        .with(|table| table.list(place, answer.exchange()))?;
    send(session, &answer, length)?;
    // SAFETY: The waiter's part keeps the exchange.
    let done = unsafe { answer.exchange().as_ref() }.done();
    wait(done, session, at, deadline)?;
    answer.result()?;
    Ok(answer)
}

/// Sends an exchange's message. The send has a part of the exchange until it is over.
fn send(session: &Session, answer: &Answer, length: u32) -> Result<(), Error> {
    let vc = session.vc()?;
    // SAFETY: The waiter's part keeps the exchange.
    let exchange = unsafe { answer.exchange().as_ref() };
    exchange.add_part();
    let context = answer.exchange().as_ptr().cast();
    // SAFETY: The MDL describes nonpaged memory, which the send's part keeps.
    let sent = unsafe {
        send::send(
            vc,
            options::PARTIAL,
            exchange.mdl().as_ptr(),
            length,
            Delivery::Callback(context),
        )
    };
    sent.map(|_| ()).inspect_err(|_| {
        // SAFETY: A refused send is not called back about: its part is given up here.
        unsafe { Exchange::drop_part(answer.exchange()) };
    })
}

/// Waits until `event` is signalled, at most until the deadline; a session that is late has failed.
fn wait(event: &Event, session: &Session, at: &Pageable, deadline: u64) -> Result<(), Error> {
    let left = deadline.saturating_sub(time::now_100ns());
    match event.wait_at_most(at, left) {
        Waited::Signalled => Ok(()),
        Waited::TimedOut => {
            session.fail(STATUS_IO_TIMEOUT);
            Err(Error::Transport(STATUS_IO_TIMEOUT))
        }
    }
}
