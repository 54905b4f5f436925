//! Refused bytes that are fetched again and again.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::{Vector, own};
use crate::{
    client::CLIENT,
    fixture::{Fixture, script_hook, seen},
    nt::{event::Event, status, thread::Thread, time},
    outcome::{Outcome, Run, holds, same},
    transport::{self, Kind, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[own(
    "E12",
    "a hundred fetches in a row that the transport ends at once",
    in_a_row,
)];

/// Nested one in another, so many would not fit on a kernel stack.
const FETCHES: usize = 120;

/// How many fetches are still to find data behind them.
static LEFT: AtomicUsize = AtomicUsize::new(0);

/// Ends the fetch in the dispatch routine, and indicates what comes next: that is refused, and fetched.
fn end_and_indicate(endpoint: usize) {
    let given = transport::complete_with_data(&[2; 40]);
    let more = LEFT.load(Ordering::Relaxed);
    if more > 0 {
        LEFT.store(more.saturating_sub(1), Ordering::Relaxed);
        let answer = transport::receive(endpoint, &mut [2; 4], 40);
        let refused = answer.is_some_and(|answer| answer.status == status::DATA_NOT_ACCEPTED);
        if given != Some(40) || !refused {
            TRANSPORT.update(|state| state.violated("a fetch went otherwise than expected", 0));
        }
    }
}

fn in_a_row(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let endpoint = f.endpoint();
    let (entered, go_on) = (Event::new(), Event::new());
    CLIENT.update(|client| client.gate(&entered, &go_on));
    LEFT.store(FETCHES - 1, Ordering::Relaxed);
    script_hook(Kind::Receive, end_and_indicate);
    let first = Thread::start(|| transport::receive(endpoint, &mut [1; 4], 4))?;
    let came = entered.wait(time::PATIENCE);
    let stray = transport::receive(endpoint, &mut [2; 4], 40);
    go_on.set();
    let taken = first.join("the first indication")?.map(|seen| seen.taken);
    holds("the client is asked", came)?;
    same("bytes taken of the first indication", taken, Some(4))?;
    same(
        "the stray one",
        stray.map(|seen| seen.status),
        Some(status::DATA_NOT_ACCEPTED),
    )?;
    same("fetches", seen(Kind::Receive), FETCHES)?;
    f.close()
}
