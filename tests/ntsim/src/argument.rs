//! Arguments that no kernel routine can work with.
//!
//! A bad address faults, and [`crate::signal`] reports it. A debug build of Rust code looks at some pointers before it
//! uses them, and panics: then this reports the same stop.

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

/// Reports such a panic inside a kernel routine as the stop that it is on a real machine; others go on.
pub(crate) fn install() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |information| {
        let text = information.payload_as_str().unwrap_or_default();
        if OF_A_POINTER.iter().any(|start| text.starts_with(start)) {
            blame(text);
        }
        before(information);
    }));
}

/// Stops, if the current thread runs a kernel routine for a driver.
fn blame(why: &str) {
    let frames = thread::try_current().and_then(thread::Thread::try_frames);
    if let Some(Frame::Call { entry, caller, .. }) = frames.unwrap_or_default().last() {
        stop::bug_check(
            0x1E,
            [0xC000_0005, *caller as u64, 0, 0],
            format!(
                "{} called {} with a bad pointer: {why}",
                stop::describe(*caller),
                gate::entry(*entry).name()
            ),
        );
    }
}
