//! What the transport does after a while, or when a request comes: steps that wait for their moment, and the thread that
//! carries the former out with a routine that it is given.

use alloc::vec::Vec;

use conform_ioctl::Step;

use crate::{
    nt::{
        time::{self, SECOND},
        watch::Watch,
    },
    transport::Kind,
};

/// Ends everything that the transport holds: a step that only the program's own clock takes.
pub(super) const END_ALL: Step = Step {
    operation: 0xFF,
    on: 0xFF,
    with: 0xFF,
    also: 0,
    a: 0,
    b: 0,
    c: 0,
};

/// Delays that a step can ask for, in 100 ns units: around the engine's own limits of 8, 10 and 30 s.
const DELAYS: [i64; 7] = [
    10_000,
    SECOND,
    5 * SECOND,
    9 * SECOND,
    15 * SECOND,
    35 * SECOND,
    45 * SECOND,
];

/// Requests that a step can wait for.
const KINDS: [Kind; 8] = [
    Kind::Connect,
    Kind::Release,
    Kind::Abort,
    Kind::Send,
    Kind::Receive,
    Kind::ReceiveDatagram,
    Kind::SendDatagram,
    Kind::Query,
];

/// When a step is due.
pub(super) enum When {
    /// At once.
    Now,
    /// After so long.
    After(i64),
    /// When the next request of this kind has come.
    With(Kind),
}

/// Decodes a moment.
pub(super) fn when(value: u8) -> When {
    let delay = usize::from(value & 7)
        .checked_sub(1)
        .and_then(|index| DELAYS.get(index));
    let kind = KINDS.get(usize::from(value & 7));
    match (value & 0x18, delay, kind) {
        (0x18, _, Some(&kind)) => When::With(kind),
        (0x08 | 0x10, Some(&delay), _) => When::After(delay),
        _ => When::Now,
    }
}

struct Queue {
    tasks: Vec<(i64, Step)>,
    with: Vec<(Kind, Step)>,
    version: u32,
    running: u32,
    /// How long a routine that is on is kept waiting.
    patience: Option<i64>,
    hurry: bool,
    stop: bool,
}

static QUEUE: Watch<Queue> = Watch::new(Queue {
    tasks: Vec::new(),
    with: Vec::new(),
    version: 0,
    running: 0,
    patience: None,
    hurry: false,
    stop: false,
});

/// The clock, in 100 ns units.
fn now() -> i64 {
    time::now().unwrap_or_default()
}

/// Has a step carried out after `delay`.
pub(super) fn after(delay: i64, step: Step) {
    let due = now().saturating_add(delay);
    QUEUE.update(|queue| {
        queue.tasks.push((due, step));
        queue.version = queue.version.wrapping_add(1);
    });
}

/// A routine that may wait for the transport begins: the transport keeps nothing longer than `patience` until it returns.
pub(super) fn begin_call(patience: i64) {
    QUEUE.update(|queue| queue.patience = Some(patience));
    after(patience, END_ALL);
}

/// It has returned.
pub(super) fn end_call() {
    QUEUE.update(|queue| {
        queue.patience = None;
        queue.tasks.retain(|(_, step)| *step != END_ALL);
    });
}

/// Has a step carried out with the next request of a kind.
pub(super) fn with(kind: Kind, step: Step) {
    QUEUE.update(|queue| queue.with.push((kind, step)));
}

/// The step that waits for a request of this kind.
pub(super) fn due_with(kind: Kind) -> Option<Step> {
    QUEUE.update(|queue| {
        let place = queue.with.iter().position(|(of, _)| *of == kind)?;
        Some(queue.with.remove(place).1)
    })
}

/// Starts afresh.
pub(super) fn open() {
    QUEUE.update(|queue| {
        queue.stop = false;
        queue.hurry = false;
    });
}

/// Does everything now, and waits until it is done; whether that came about.
pub(super) fn drain() -> bool {
    drop(QUEUE.update(|queue| core::mem::take(&mut queue.with)));
    QUEUE.update(|queue| queue.hurry = true);
    QUEUE.wait_until(600 * SECOND, |queue| {
        queue.tasks.is_empty() && queue.running == 0
    })
}

/// Ends the thread.
pub(super) fn close() {
    let tasks = QUEUE.update(|queue| {
        queue.stop = true;
        core::mem::take(&mut queue.tasks)
    });
    drop(tasks);
}

/// The thread.
pub(super) fn work(perform: fn(&Step)) {
    loop {
        let now = now();
        let mut wait = None;
        let task = QUEUE.update(|queue| {
            let first = (0..queue.tasks.len())
                .min_by_key(|&place| queue.tasks.get(place).map_or(i64::MAX, |(due, _)| *due));
            let due = first
                .and_then(|place| queue.tasks.get(place))
                .map(|(due, _)| *due);
            match (first, due) {
                (Some(place), Some(due)) if due <= now || queue.hurry => {
                    queue.running = 1;
                    // In order: two steps of one moment keep theirs.
                    Some(queue.tasks.remove(place).1)
                }
                (_, due) => {
                    let limit = due.map_or(100_000 * SECOND, |due| due.saturating_sub(now));
                    wait = (!queue.stop).then_some((limit, queue.version));
                    None
                }
            }
        });
        if let Some(step) = task {
            perform(&step);
            let patience = QUEUE.read(|queue| queue.patience);
            if let (true, Some(patience)) = (step == END_ALL, patience) {
                // The routine may have sent something else that the transport keeps.
                after(patience, END_ALL);
            }
            QUEUE.update(|queue| queue.running = 0);
            continue;
        }
        let Some((limit, version)) = wait else {
            return;
        };
        QUEUE.wait_until(limit, |queue| {
            queue.stop || queue.version != version || (queue.hurry && !queue.tasks.is_empty())
        });
    }
}
