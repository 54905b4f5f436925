//! Ctrl-C and SIGTERM: the machine ends, and the outer process cleans up as ever.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static MACHINE: OnceLock<Pid> = OnceLock::new();

/// From now on signals are noted, and end the machine if there is one.
pub(crate) fn handle() -> Result<()> {
    ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        end_machine();
    })
    .context("cannot handle signals")
}

/// Names the machine's process.
pub(crate) fn machine(id: u32) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = MACHINE.set(pid);
    }
    // The signal may have come in between.
    if INTERRUPTED.load(Ordering::SeqCst) {
        end_machine();
    }
}

/// Fails after a signal.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        bail!("interrupted");
    }
    Ok(())
}

fn end_machine() {
    if let Some(pid) = MACHINE.get() {
        // It may have ended by itself already.
        let _ = kill_process(*pid, Signal::KILL);
    }
}
