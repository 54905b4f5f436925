//! The numbers of rules that are ntsim's own: Driver Verifier has no such rule, or its number for it is known to nobody here.

use crate::stop::{self, Stop};

/// The bug check of these rules: 0xC4 with the bit that status codes reserve for customers, which no bug check of Windows has.
pub const CODE: u32 = 0x2000_00C4;

/// A rule; its number is the first parameter of the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Own {
    /// An argument is not what the routine is for, or not any more.
    Object = 0x1,
    /// A rundown reference is released too often, or initialised again before it is run down.
    Rundown = 0x2,
    /// A spin lock is held where a thread leaves `DISPATCH_LEVEL`, calls a driver below or completes a request.
    LockHeld = 0x3,
    /// A handle, a reference on an object or a device is left at unload.
    Left = 0x4,
    /// A callback that is no completion routine returned at another IRQL.
    CallbackIrql = 0x5,
    /// A callback that is no completion routine returned with other APC counts or locks.
    CallbackContext = 0x6,
    /// An object for which threads wait is freed or initialised again.
    Waited = 0x7,
    /// An MDL is built of what it cannot describe.
    Mdl = 0x8,
    /// A pool type that there is not.
    PoolType = 0x9,
    /// A request with a number of stack locations that it cannot have.
    StackLocations = 0xA,
    /// A request is made anew while a driver below has it.
    RequestInUse = 0xB,
    /// Nobody kept a request of `IoAllocateIrp`, which was completed to its end.
    NotKept = 0xC,
    /// `DriverEntry` or `DriverUnload` returned at another IRQL.
    Entry = 0xD,
    /// Something that is legal, and not simulated.
    NotSimulated = 0xE,
    /// A request for one of ntsim's transports is longer than its MDL chain (spec tdi.md §12).
    ChainTooShort = 0x10,
    /// A request for one of them has an MDL that is neither locked nor for nonpaged pool (spec tdi.md §12).
    ChainNotLocked = 0x11,
    /// An event handler took more than was indicated (spec tdi.md §5).
    TookTooMuch = 0x12,
    /// An event handler handed back what is not a receive request of its file object (spec tdi.md §5.1).
    HandedBack = 0x13,
    /// One of ntsim's transports breaks the order of receives and indications (spec tdi.md §5.1).
    Order = 0x14,
    /// A request is completed while `IoCancelIrp` has its cancel routine and is about to call it.
    CancelTaken = 0x15,
}

impl Own {
    /// The stop.
    #[must_use]
    pub const fn stop(self) -> Stop {
        Stop {
            code: CODE,
            sub: self as u64,
        }
    }
}

/// Stops the machine for a broken rule.
pub(crate) fn violation(rule: Own, rest: [u64; 3], text: impl Into<String>) -> ! {
    stop::violation(rule.stop(), rest, text)
}
