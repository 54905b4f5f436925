//! Structures of the kernel proper: dispatcher objects, DPCs, fast mutexes, rundown references, work items.
//!
//! Sizes and offsets are those of x64, from the public headers (spec tdi.md §1 lists the ones a TDI client depends on).

use crate::mem::layout;

layout! {
    /// DISPATCHER_HEADER: what all waitable objects begin with.
    DispatcherHeader as Header, size 0x18 {
        /// The kind of object.
        0x00 kind: u8,
        /// Flags of the kind.
        0x01 flags: u8,
        /// Size in 4-byte units.
        0x02 size: u8,
        /// Reserved.
        0x03 reserved: u8,
        /// Signalled when greater than zero.
        0x04 signal_state: i32,
        /// The list of waiters: kept empty here, wait queues live in host tables.
        0x08 wait_list: [usize; 2],
    }
}

/// Notification (manual-reset) event.
pub const NOTIFICATION_EVENT: u8 = 0;
/// Synchronisation (auto-reset) event.
pub const SYNCHRONIZATION_EVENT: u8 = 1;
/// Mutant, also called mutex.
pub const MUTANT: u8 = 2;
/// Semaphore.
pub const SEMAPHORE: u8 = 5;
/// Thread.
pub const THREAD: u8 = 6;
/// Notification timer.
pub const NOTIFICATION_TIMER: u8 = 8;
/// Synchronisation timer.
pub const SYNCHRONIZATION_TIMER: u8 = 9;

layout! {
    /// KSEMAPHORE.
    KSemaphore as Semaphore, size 0x20 {
        /// Dispatcher header.
        0x00 header: [u64; 3],
        /// The highest count.
        0x18 limit: i32,
        /// Padding.
        0x1c pad: u32,
    }
}

layout! {
    /// KMUTANT.
    KMutant as Mutant, size 0x38 {
        /// Dispatcher header; the signal state is 1 when free, 1 - n when owned n times.
        0x00 header: [u64; 3],
        /// Entry in the owner's list.
        0x18 list: [usize; 2],
        /// The owning KTHREAD.
        0x28 owner: usize,
        /// The owner ended without releasing.
        0x30 abandoned: u8,
        /// Kernel APCs are disabled while owned.
        0x31 apc_disable: u8,
        /// Padding.
        0x32 pad: [u8; 6],
    }
}

layout! {
    /// KTIMER.
    KTimer as Timer, size 0x40 {
        /// Dispatcher header.
        0x00 header: [u64; 3],
        /// Absolute interrupt time at which it expires.
        0x18 due: u64,
        /// Entry in the timer table.
        0x20 list: [usize; 2],
        /// The KDPC queued on expiry, or 0.
        0x30 dpc: usize,
        /// Processor.
        0x38 processor: u32,
        /// Period in milliseconds, or 0.
        0x3c period: u32,
    }
}

layout! {
    /// KDPC.
    KDpc as Dpc, size 0x40 {
        /// Type, importance, number.
        0x00 kind: u32,
        /// Padding.
        0x04 pad: u32,
        /// List entry.
        0x08 list: usize,
        /// Processor history.
        0x10 history: usize,
        /// The routine: (Dpc, Context, Argument1, Argument2).
        0x18 routine: usize,
        /// Context for the routine.
        0x20 context: usize,
        /// First system argument.
        0x28 argument1: usize,
        /// Second system argument.
        0x30 argument2: usize,
        /// Not null while queued.
        0x38 data: usize,
    }
}

layout! {
    /// FAST_MUTEX, also used as KGUARDED_MUTEX.
    FastMutexLayout as FastMutex, size 0x38 {
        /// 1 when free, 0 or less when owned.
        0x00 count: i32,
        /// Padding.
        0x04 pad: u32,
        /// The owning KTHREAD.
        0x08 owner: usize,
        /// How often an acquirer had to wait.
        0x10 contention: u32,
        /// Padding.
        0x14 pad2: u32,
        /// The event that waiters use.
        0x18 event: [u64; 3],
        /// IRQL before the acquisition.
        0x30 old_irql: u32,
        /// Padding.
        0x34 pad3: u32,
    }
}

layout! {
    /// WORK_QUEUE_ITEM.
    WorkQueueItemLayout as WorkQueueItem, size 0x20 {
        /// List entry; a null Flink means not queued.
        0x00 list: [usize; 2],
        /// The routine: (Parameter).
        0x10 routine: usize,
        /// Its parameter.
        0x18 parameter: usize,
    }
}

layout! {
    /// KLOCK_QUEUE_HANDLE, for in-stack queued spin locks.
    LockQueueHandleLayout as LockQueueHandle, size 0x18 {
        /// Next waiter.
        0x00 next: usize,
        /// The spin lock.
        0x08 lock: usize,
        /// IRQL before the acquisition.
        0x10 old_irql: u8,
        /// Padding.
        0x11 pad: [u8; 7],
    }
}

layout! {
    /// UNICODE_STRING.
    UnicodeStringLayout as UnicodeString, size 0x10 {
        /// Length in bytes.
        0x00 length: u16,
        /// Size of the buffer in bytes.
        0x02 maximum: u16,
        /// Padding.
        0x04 pad: u32,
        /// The UTF-16 text, not necessarily terminated.
        0x08 buffer: usize,
    }
}

impl UnicodeString {
    /// The text.
    pub fn text(self) -> String {
        let units: Vec<u16> = (0..usize::from(self.length().get() / 2))
            .map(|i| crate::mem::peek(self.buffer().get() + 2 * i))
            .collect();
        String::from_utf16_lossy(&units)
    }

    /// Whether the structure keeps the rules of its page: even lengths, `Length <= MaximumLength`, a buffer if there is text.
    pub fn is_well_formed(self) -> bool {
        let (length, maximum) = (self.length().get(), self.maximum().get());
        length % 2 == 0 && length <= maximum && (maximum == 0 || self.buffer().get() != 0)
    }
}

layout! {
    /// OBJECT_ATTRIBUTES.
    ObjectAttributesLayout as ObjectAttributes, size 0x30 {
        /// 0x30.
        0x00 length: u32,
        /// Padding.
        0x04 pad: u32,
        /// Directory or file that the name is relative to.
        0x08 root: usize,
        /// The name.
        0x10 name: usize,
        /// OBJ_ flags.
        0x18 attributes: u32,
        /// Padding.
        0x1c pad2: u32,
        /// Security descriptor.
        0x20 security: usize,
        /// Quality of service.
        0x28 quality: usize,
    }
}

/// OBJ_KERNEL_HANDLE.
pub const OBJ_KERNEL_HANDLE: u32 = 0x200;
