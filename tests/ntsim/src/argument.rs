//! Arguments that no kernel routine can work with.
//!
//! A bad address faults, and [`crate::signal`] reports it. A debug build of Rust code looks at some pointers before it
//! uses them, and at sums before it believes them, and panics: then this reports the same stop.

use crate::gate;
use crate::stop;
use crate::thread::{self, Frame};
use std::panic;

/// How the panics begin that a NULL pointer or a misaligned one leads to.
const OF_A_POINTER: [&str; 3] = [
    "null pointer dereference",
    "misaligned pointer dereference",
    "unsafe precondition(s) violated",
];

/// How the panic begins that a number leads to which leaves the range of addresses.
const OF_A_NUMBER: [&str; 3] = ["attempt to ", "range ", "capacity overflow"];

/// Reports such a panic inside a kernel routine as the stop that it is on a real machine. Any other one there is an error of
/// ntsim's own, and says so.
pub(crate) fn install() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |information| {
        let text = information.payload_as_str().unwrap_or_default();
        if OF_A_POINTER.iter().any(|start| text.starts_with(start)) {
            blame("a bad pointer", text);
        } else if OF_A_NUMBER.iter().any(|start| text.starts_with(start)) {
            blame("a number that leads nowhere", text);
        }
        before(information);
        if let Some((routine, caller)) = routine() {
            stop::host_failure(&format!(
                "ntsim's own error in {routine}, called by {}",
                stop::describe(caller)
            ));
        }
    }));
}

/// The kernel routine that the current thread runs for a driver, and the driver's call.
fn routine() -> Option<(&'static str, usize)> {
    let frames = thread::try_current().and_then(thread::Thread::try_frames)?;
    match frames.last()? {
        Frame::Call { entry, caller, .. } => Some((gate::entry(*entry).name(), *caller)),
        _ => None,
    }
}

/// Stops, if the current thread runs a kernel routine for a driver.
fn blame(what: &str, why: &str) {
    if let Some((routine, caller)) = routine() {
        stop::bug_check(
            0x1E,
            [0xC000_0005, caller as u64, 0, 0],
            format!(
                "{} called {routine} with {what}: {why}",
                stop::describe(caller)
            ),
        );
    }
}
