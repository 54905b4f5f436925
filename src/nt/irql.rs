//! The interrupt request level, and the proof that it is low enough to wait.

use core::marker::PhantomData;

use wdk_sys::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL, ntddk};

/// Proof that this thread runs at `IRQL <= APC_LEVEL` and holds no spin lock: it may wait.
pub(crate) struct Pageable {
    /// Whether it runs at `PASSIVE_LEVEL`, where somebody has looked: whoever changes the level later changes it back.
    passive: Option<bool>,
    _of_this_thread: PhantomData<*mut ()>,
}

impl Pageable {
    /// The proof, if the level is low enough.
    pub(crate) fn at_entry() -> Option<Self> {
        let level = u32::from(current());
        (level <= APC_LEVEL).then_some(Self {
            passive: Some(level == PASSIVE_LEVEL),
            _of_this_thread: PhantomData,
        })
    }

    /// The proof for a thread or callback that the system starts at such a level.
    ///
    /// # Safety
    ///
    /// The caller runs at `IRQL <= APC_LEVEL` without a spin lock.
    pub(crate) const unsafe fn assume() -> Self {
        Self {
            passive: None,
            _of_this_thread: PhantomData,
        }
    }
}

/// The present level.
///
/// # IRQL
///
/// any
pub(crate) fn current() -> u8 {
    // SAFETY: KeGetCurrentIrql only reads the processor's state.
    unsafe { ntddk::KeGetCurrentIrql() }
}

/// Whether routines that take no locks of the caller's may work here (`IRQL <= DISPATCH_LEVEL`).
pub(crate) fn at_most_dispatch() -> bool {
    u32::from(current()) <= DISPATCH_LEVEL
}

/// Whether handles may be opened and closed here: `PASSIVE_LEVEL` with special kernel APCs enabled.
///
/// # IRQL
///
/// `<= APC_LEVEL`
pub(crate) fn allows_handles(at: &Pageable) -> bool {
    let passive = at
        .passive
        .unwrap_or_else(|| u32::from(current()) == PASSIVE_LEVEL);
    // SAFETY: KeAreAllApcsDisabled only reads the state of this thread.
    passive && unsafe { ntddk::KeAreAllApcsDisabled() } == 0
}
