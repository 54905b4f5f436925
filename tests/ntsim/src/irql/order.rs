//! Deadlock detection: the order in which threads take locks.
//!
//! Whoever takes lock B while holding A adds the edge A → B; a circle of edges is a deadlock that only waits for its
//! moment, and stops at once ("Deadlock Detection": no two threads need to meet). Locks are known by their addresses, and
//! forgotten when they are initialised again or their memory goes.

use crate::gate::Call;
use crate::image;
use crate::stop::{self, Stop};
use crate::thread::{self, Frame};
use parking_lot::RwLock;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Where a lock was taken with another one held: addresses in drivers, innermost first.
type Place = Vec<usize>;

static GRAPH: RwLock<Graph> = RwLock::new(Graph {
    after: BTreeMap::new(),
    before: BTreeMap::new(),
});

/// The edges, in both directions.
struct Graph {
    /// Locks by address: those that were taken while it was held, and where first.
    after: BTreeMap<usize, HashMap<usize, Place>>,
    /// Locks by address: those that were held when it was taken.
    before: BTreeMap<usize, HashSet<usize>>,
}

thread_local! {
    /// What the current thread holds, in the order of acquisition.
    static HELD: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

fn is_on() -> bool {
    crate::Rules::DEADLOCK.is_on()
}

/// The current thread is about to take a lock, and would wait for it.
pub(crate) fn acquiring(lock: usize) {
    if is_on() {
        HELD.with_borrow(|held| {
            for &first in held.iter().filter(|&&first| first != lock) {
                add(first, lock);
            }
        });
    }
}

/// The current thread has got a lock.
pub(crate) fn acquired(lock: usize) {
    if is_on() {
        HELD.with_borrow_mut(|held| held.push(lock));
    }
}

/// Whether the current thread has it.
pub(crate) fn holds(lock: usize) -> bool {
    HELD.with_borrow(|held| held.contains(&lock))
}

/// The current thread gives a lock back: the last one that it took comes first (sub-code 1003).
pub(crate) fn released(lock: usize) {
    if !is_on() {
        return;
    }
    let last = HELD.with_borrow_mut(|held| {
        let last = held.last().copied();
        if let Some(position) = held.iter().rposition(|&other| other == lock) {
            held.remove(position);
            return last;
        }
        None
    });
    if let Some(last) = last.filter(|&last| last != lock) {
        stop::violation(
            Stop::verifier(0x1003),
            [lock as u64, last as u64, 0],
            format!("lock {lock:#x} is released before {last:#x}, which was taken after it"),
        );
    }
}

/// The current thread gives back a lock of a kind that may be given back in any order.
pub(crate) fn released_in_any_order(lock: usize) {
    HELD.with_borrow_mut(|held| {
        if let Some(position) = held.iter().rposition(|&other| other == lock) {
            held.remove(position);
        }
    });
}

/// Forgets the locks in a range of memory.
pub(crate) fn forget(start: usize, bytes: usize) {
    if !is_on() {
        return;
    }
    let range = start..start.saturating_add(bytes);
    let locks: Vec<usize> = {
        let graph = GRAPH.read();
        let after = graph.after.range(range.clone()).map(|(lock, _)| *lock);
        after
            .chain(graph.before.range(range).map(|(lock, _)| *lock))
            .collect()
    };
    if locks.is_empty() {
        return;
    }
    let mut graph = GRAPH.write();
    for lock in locks {
        for next in graph.after.remove(&lock).unwrap_or_default().keys() {
            if let Some(before) = graph.before.get_mut(next) {
                before.remove(&lock);
            }
        }
        for previous in graph.before.remove(&lock).unwrap_or_default() {
            if let Some(after) = graph.after.get_mut(&previous) {
                after.remove(&lock);
            }
        }
    }
}

fn add(first: usize, second: usize) {
    let known = |graph: &Graph| {
        let after = graph.after.get(&first);
        after.is_some_and(|after| after.contains_key(&second))
    };
    if known(&GRAPH.read()) {
        return;
    }
    let place = place();
    let mut graph = GRAPH.write();
    if let Some(way) = way(&graph.after, second, first) {
        let text = describe(&graph.after, first, second, &way);
        drop(graph);
        stop::violation(Stop::verifier(0x1001), [second as u64, 0, 0], text);
    }
    graph.after.entry(first).or_default().insert(second, place);
    graph.before.entry(second).or_default().insert(first);
}

/// Where the current thread is in its drivers.
fn place() -> Place {
    let frames = thread::current().frames();
    frames
        .iter()
        .rev()
        .find_map(|frame| match frame {
            Frame::Call { registers, .. } => Some(image::unwind::walk_from_call(registers)),
            Frame::Callback { .. } | Frame::Forwarded | Frame::Preempted(_) => None,
        })
        .unwrap_or_default()
}

/// The locks on a way of edges from one to another, both included.
fn way(
    locks: &BTreeMap<usize, HashMap<usize, Place>>,
    from: usize,
    to: usize,
) -> Option<Vec<usize>> {
    let mut seen = HashSet::from([from]);
    let mut ways = vec![vec![from]];
    while let Some(way) = ways.pop() {
        let Some(&last) = way.last() else { continue };
        if last == to {
            return Some(way);
        }
        for &next in locks.get(&last).into_iter().flat_map(HashMap::keys) {
            if seen.insert(next) {
                ways.push(way.iter().copied().chain([next]).collect());
            }
        }
    }
    None
}

fn describe(
    locks: &BTreeMap<usize, HashMap<usize, Place>>,
    first: usize,
    second: usize,
    way: &[usize],
) -> String {
    let mut text =
        format!("lock {second:#x} is taken with {first:#x} held, but elsewhere it comes first:");
    for (one, other) in way.iter().zip(way.iter().skip(1)) {
        text.push_str(&format!("\n      {other:#x} taken with {one:#x} held, at"));
        for &at in locks
            .get(one)
            .and_then(|after| after.get(other))
            .into_iter()
            .flatten()
        {
            text.push_str(&format!("\n        {}", stop::describe(at)));
        }
    }
    text
}

/// A lock or a dispatcher object must not be in pageable memory (sub-code E1).
pub(crate) fn require_resident(call: &Call, object: usize) {
    if let Some(what) = crate::pageable::describe(object) {
        stop::enforce(
            Stop::verifier(0xE1),
            [object as u64, 0, 0],
            format!(
                "{} of {object:#x}, which is pageable: {what}",
                call.routine()
            ),
        );
    }
}
