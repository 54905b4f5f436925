//! Model checks of ntsim's lock-free parts: every order of their steps, and everything that a load may see of what others
//! stored, as the memory model of Rust has it and not only as x86-64 does it.
//!
//! These are the kernel's own files, compiled over the checker's types ([`sync`]). A cell that is read or written without an
//! order between the accesses fails the model, as does a thread that sleeps for ever.

mod crossings;
#[path = "../../src/short_lock/flag.rs"]
mod flag;
#[path = "../../src/tables/list.rs"]
mod list;
mod lock;
#[path = "../../src/ex/rundown/protocol.rs"]
mod protocol;
mod records;
mod rundown;
#[path = "../../src/thread/frames/slots.rs"]
mod slots;
mod sync;

/// Tries every order in which a thread is interrupted at most so often where it could go on; nothing bounds it if there is
/// no number.
fn explore(interruptions: Option<usize>, scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = interruptions;
    builder.check(scenario);
}

/// How often something was seen, in all orders together: what never comes up is tested by nothing.
struct Seen(core::sync::atomic::AtomicUsize);

impl Seen {
    const fn new() -> Self {
        Self(core::sync::atomic::AtomicUsize::new(0))
    }

    fn count(&self, happened: bool) {
        let order = core::sync::atomic::Ordering::Relaxed;
        self.0.fetch_add(happened.into(), order);
    }

    fn times(&self) -> usize {
        self.0.load(core::sync::atomic::Ordering::Relaxed)
    }
}
