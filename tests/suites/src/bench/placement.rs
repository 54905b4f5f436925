//! On which processors of the host the threads of this program run.
//!
//! In a stream three threads take part: the client's, the transport's and a server's. Left to itself the host puts a server now
//! beside the transport and now beside nobody, and leaves it there: a circuit was twice as fast as another, for as long as it
//! lived. So the machine has one processor, and the servers another.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// The machine's threads are on one processor, until this is dropped.
pub(super) struct Apart(CpuSet);

/// The first or the last processor that this thread may run on.
fn one_of(allowed: &CpuSet, last: bool) -> CpuSet {
    let mut numbers = (0..CpuSet::MAX_CPU).filter(|&number| allowed.is_set(number));
    let number = if last {
        numbers.next_back()
    } else {
        numbers.next()
    };
    let mut one = CpuSet::new();
    one.set(number.unwrap_or_default());
    one
}

/// Moves every thread of this program.
fn move_all(to: &CpuSet) -> Result<()> {
    for task in fs::read_dir("/proc/self/task").context("/proc/self/task")? {
        let name = task?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        // One that has ended meanwhile is no concern.
        let _ = sched_setaffinity(number.and_then(Pid::from_raw), to);
    }
    Ok(())
}

impl Apart {
    /// Moves all threads that there are to one processor.
    ///
    /// # Errors
    ///
    /// The host's.
    pub(super) fn begin() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        move_all(&one_of(&allowed, false))?;
        Ok(Self(allowed))
    }

    /// The processor for the servers: another one, where there is one.
    pub(super) fn servers(&self) -> CpuSet {
        one_of(&self.0, true)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // The host has let them run there before.
        let _ = move_all(&self.0);
    }
}
