//! The report of a hang: everybody waits and nothing can come.

use std::fmt::Write as _;

use super::{Sleep, State};
use crate::layout::ke::{self, Header};

/// The exit code of a process whose simulated machine hangs.
pub const EXIT_HANG: i32 = 98;

fn kind_name(kind: u8) -> &'static str {
    match kind & 0x7f {
        ke::NOTIFICATION_EVENT => "notification event",
        ke::SYNCHRONIZATION_EVENT => "synchronisation event",
        ke::MUTANT => "mutex",
        ke::SEMAPHORE => "semaphore",
        ke::THREAD => "thread",
        ke::NOTIFICATION_TIMER | ke::SYNCHRONIZATION_TIMER => "timer",
        _ => "object",
    }
}

/// Describes each wait that someone needs to end.
pub(crate) fn describe(state: &State) -> String {
    let mut text = String::new();
    for wait in state.waits.values() {
        let idle = if wait.sleep == Sleep::Idle {
            " (idle server)"
        } else {
            ""
        };
        let since = crate::clock::seconds(wait.since);
        let _ = writeln!(
            text,
            "  thread {} \"{}\"{idle}, waiting since {since:.6} s",
            wait.thread.id, wait.thread.name
        );
        for object in &wait.objects {
            let header = Header(*object);
            let (kind, signal) = (kind_name(header.kind().get()), header.signal_state().get());
            let _ = writeln!(text, "    for {kind} {object:#x} (SignalState {signal})");
        }
        if wait.caller != 0 {
            let _ = writeln!(
                text,
                "    called from {}",
                crate::stop::describe(wait.caller)
            );
        }
        for line in crate::stop::stack_of(wait.thread) {
            let _ = writeln!(text, "    {line}");
        }
    }
    for (thread, lock) in crate::explore::blocked_on_locks() {
        let owner = crate::irql::owner_of(lock);
        let _ = writeln!(
            text,
            "  thread {} \"{}\", spinning\n    for spin lock {lock:#x}, {owner}",
            thread.id, thread.name
        );
        for line in crate::stop::stack_of(thread) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}
