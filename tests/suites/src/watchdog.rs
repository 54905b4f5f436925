//! A request that takes too much real time ends the process: waits are virtual in the machine, so it hangs.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// Real time that one request gets. They take milliseconds.
const LIMIT: Duration = Duration::from_secs(180);
/// What the process returns then.
pub const EXIT_HANGS: i32 = 97;

/// When the request that is under way began.
static BEGAN: Mutex<Option<Instant>> = Mutex::new(None);

/// Starts to look.
pub fn start() {
    start_with(LIMIT);
}

/// Starts to look, with another limit.
pub fn start_with(limit: Duration) {
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(1));
            let began = BEGAN.lock().ok().and_then(|began| *began);
            if began.is_some_and(|began| began.elapsed() > limit) {
                eprintln!(
                    "the machine hangs: a request has not ended in {} s of real time",
                    limit.as_secs()
                );
                std::process::exit(EXIT_HANGS);
            }
        }
    });
}

/// Has a request looked after.
pub fn watch<R>(request: impl FnOnce() -> R) -> R {
    note(Some(Instant::now()));
    let result = request();
    note(None);
    result
}

fn note(began: Option<Instant>) {
    if let Ok(mut slot) = BEGAN.lock() {
        *slot = began;
    }
}
