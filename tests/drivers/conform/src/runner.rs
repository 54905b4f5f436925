//! Runs one vector in a system thread (or anything else), and checks afterwards that nothing of it is left.

use alloc::{format, string::String};

use conform_ioctl::{RunResult, Text, Verdict};

use crate::{
    client::{CLIENT, Client},
    engine,
    fixture::{self, Fixture, buffer, send_and_wait},
    nt::{sim, thread::Thread, time::SECOND, watch::Watch},
    outcome::{Outcome, Run, Trouble, holds, same},
    transport::{self, TRANSPORT},
    vectors::Vector,
};

/// Longest that a vector may take before it counts as hung.
const LIMIT: i64 = 900 * SECOND;

/// Set for ever once a vector hung: its thread still uses the transport.
static WEDGED: Watch<bool> = Watch::new(false);

/// What a joiner gave up on, in case the vector never comes back to tell.
static GAVE_UP: Watch<Option<String>> = Watch::new(None);

/// Notes what a vector waited for in vain.
pub(crate) fn gave_up(what: String) {
    GAVE_UP.update(|note| *note = Some(what));
}

/// A vector that failed has left a thread behind: what the transport holds of it ends, so that the thread does.
pub(crate) fn let_go() {
    fixture::restore_transport();
}

/// Runs `vector`.
pub(crate) fn run(vector: &'static Vector) -> RunResult {
    match guarded(move || Ok(in_thread(vector))) {
        Ok(result) => result,
        Err(Trouble::Failed(text)) => result(Verdict::Failed, 0, &text),
        Err(Trouble::NotPossible(text)) => result(Verdict::NotPossible, 0, &text),
    }
}

/// Runs `body` in a system thread, and gives up on it after a while.
pub(crate) fn guarded<R: Send + 'static>(
    body: impl FnOnce() -> Outcome<R> + Send + 'static,
) -> Outcome<R> {
    if WEDGED.read(|wedged| *wedged) {
        let text = "an earlier vector hangs still; restart the machine";
        return Err(Trouble::NotPossible(text.into()));
    }
    let thread = Thread::start(body)?;
    if !thread.ends_within(LIMIT) {
        WEDGED.update(|wedged| *wedged = true);
        // It cannot be ended, and what it uses must stay.
        core::mem::forget(thread);
        let what = GAVE_UP.read(|note| note.clone()).unwrap_or_default();
        return Err(Trouble::Failed(format!("the vector hangs. {what}")));
    }
    thread.join("the vector")?
}

fn result(verdict: Verdict, parts_missing: usize, text: &str) -> RunResult {
    let parts_missing = u32::try_from(parts_missing).unwrap_or(u32::MAX);
    RunResult {
        verdict,
        parts_missing,
        answers: engine::answers(),
        seen: CLIENT.read(Client::seen),
        text: Text::new(text),
    }
}

fn in_thread(vector: &Vector) -> RunResult {
    let run = Run::new();
    let outcome = prepare().and_then(|()| {
        let before = run.balance();
        engine::forget_answers();
        CLIENT.update(Client::begin);
        let outcome = (vector.run)(&run);
        // A vector that failed left in the middle: what it leaves says nothing.
        outcome.and_then(|()| {
            nothing_left()?;
            before.unchanged(&run, "after the vector")
        })
    });
    let missing = run.missing();
    match outcome {
        Ok(()) if missing.is_empty() => result(Verdict::Passed, 0, ""),
        Ok(()) => result(
            Verdict::Passed,
            missing.len(),
            &format!("not possible here: {}", missing.join("; ")),
        ),
        Err(trouble) => match with_violation(trouble) {
            Trouble::Failed(text) => result(Verdict::Failed, missing.len(), &text),
            Trouble::NotPossible(text) => result(Verdict::NotPossible, missing.len(), &text),
        },
    }
}

/// A clean transport and recorder, and an engine that has grown what it keeps (tables, caches): one life of a few
/// circuits does that, so that a vector's balance shows only what the vector costs.
pub(crate) fn prepare() -> Outcome {
    clean()?;
    let mut warm = Fixture::orderly()?;
    let data = buffer(b"warm")?;
    for _ in 0..3 {
        let vc = warm.add_vc()?;
        fixture::ok("a send", send_and_wait(vc, &data))?;
    }
    fixture::ok("a send", send_and_wait(warm.vc.ptr(), &data))?;
    let address = warm.address_file();
    let handler = TRANSPORT.read(|state| state.any_handler(address));
    engine::set_address(handler.ok_or_else(|| Trouble::Failed("no handler is registered".into()))?);
    // An account that shows nothing of four circuits would make every balance check hold.
    let counted =
        sim::engine_account().is_none_or(|account| account.pool_blocks > 4 && account.handles > 4);
    warm.close()?;
    holds("the account counts what the engine has", counted)?;
    clean()
}

/// A clean transport and recorder.
pub(crate) fn clean() -> Outcome {
    fixture::restore_transport();
    CLIENT.update(Client::reset);
    holds(
        "an earlier vector left the transport clean",
        TRANSPORT.update(transport::state::State::reset),
    )
}

/// Adds to a failure which rule a request broke, if one did.
pub(crate) fn with_violation(trouble: Trouble) -> Trouble {
    match (trouble, violation()) {
        (Trouble::Failed(text), Some(rule)) => Trouble::Failed(format!("{text}. {rule}")),
        (trouble, _) => trouble,
    }
}

fn violation() -> Option<String> {
    let (rule, value) = TRANSPORT.read(transport::state::State::violation)?;
    Some(format!(
        "A request broke a rule of the transport: {rule} ({value:#x})"
    ))
}

/// The transport and the recorder have nothing to complain of, and hold nothing.
pub(crate) fn nothing_left() -> Outcome {
    if let Some(rule) = violation() {
        return Err(Trouble::Failed(rule));
    }
    same(
        "files left open",
        TRANSPORT.read(transport::state::State::open_files),
        0,
    )?;
    same(
        "requests left at the transport",
        TRANSPORT.read(transport::state::State::held),
        0,
    )?;
    let unanswered = TRANSPORT.read(|state| {
        state
            .records()
            .filter(|record| record.kind.is_request() && record.completed.is_none())
            .count()
    });
    same("requests never completed", unanswered, 0)?;
    holds(
        "callbacks came with the contexts given at build",
        !CLIENT.read(Client::context_was_wrong),
    )
}
