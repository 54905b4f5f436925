//! Pool.

use super::{alone, c4, c4_with, on, own, plain, rule, stop};
use crate::{Group, Machine, Rule, Stop};

const ALWAYS: &str = "automatic checks";
const SPECIAL: &str = "special pool";
const MISC: &str = "miscellaneous checks";
const OWN: &str = "ntsim's own";

pub(super) const GROUP: Group = Group {
    subject: "Pool",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("pool_zero_bytes", "an allocation of 0 bytes", c4_with(0x00, [Some(0), Some(0), Some(0)]), ALWAYS, "pool/mod.rs"),
    rule("pool_paged_at_dispatch", "paged pool allocated above `APC_LEVEL`", c4_with(0x01, [Some(2), Some(1), Some(8)]), ALWAYS, "pool/mod.rs"),
    rule("pool_nonpaged_above_dispatch", "nonpaged pool allocated above `DISPATCH_LEVEL`", c4_with(0x02, [Some(3), Some(0), Some(8)]), ALWAYS, "pool/mod.rs"),
    rule("pool_foreign_free", "a free of what was never allocated", c4(0x10), ALWAYS, "pool/special.rs"),
    rule("pool_free_paged_at_dispatch", "paged pool freed above `APC_LEVEL`", c4_with(0x11, [Some(2), Some(1), None]), ALWAYS, "pool/special.rs"),
    rule("pool_free_nonpaged_above_dispatch", "nonpaged pool freed above `DISPATCH_LEVEL`", c4_with(0x12, [Some(3), Some(0), None]), ALWAYS, "pool/special.rs"),
    rule("pool_double_free", "a block freed twice", c4(0x13), ALWAYS, "pool/special.rs"),
    rule("pool_free_in_the_middle", "a free of an address in the middle of a block", c4(0x16), ALWAYS, "pool/special.rs"),
    rule("pool_free_of_an_irp", "an IRP freed as pool", c4(0x105), "I/O verification", "pool/special.rs"),
    rule("pool_wrong_tag", "a free with another tag", stop(0xC2, 0x0A), "bug check 0xC2", "pool/special.rs"),
    rule("pool_free_of_null", "a free of NULL", stop(0xC2, 0x46), "bug check 0xC2", "pool/routines.rs"),
    rule("pool_unknown_type", "an unknown pool type", own(0x9), OWN, "pool/routines.rs"),
    rule("pool_executable", "executable pool", c4(0x2000), "code integrity", "pool/routines.rs"),
    rule("pool_raise_on_failure", "an allocation with `POOL_FLAG_RAISE_ON_FAILURE` that fails, in a driver without a handler", stop(0x1E, 0xC000_009A), "ExAllocatePool2", "pool/routines.rs"),
    rule("pool_running_timer", "a block freed while a timer in it runs", c4(0x15), MISC, "executive.rs"),
    rule("pool_waited_event", "a block freed while a thread waits for an event in it", own(0x7), OWN, "executive.rs"),
    rule("pool_queued_work_item", "a block freed while a work item in it is queued", plain(0xE4), MISC, "executive.rs"),
    rule("pool_held_lock", "a block freed while a spin lock in it is held", c4(0x100B), "deadlock detection", "executive.rs"),
    rule("pool_overrun", "a touch beyond the end of a block, which lies before an inaccessible page", plain(0xD6), SPECIAL, "signal/fault.rs"),
    rule("pool_overrun_of_slack", "a byte after the end of a block overwritten before the page ends, found at the free", Stop::BugCheck(0xC1, [None, None, Some(20), Some(0x24)]), SPECIAL, "pool/special.rs"),
    rule("pool_underrun", "a byte in front of a block overwritten, found at the free", Stop::BugCheck(0xC1, [None, None, Some(20), Some(0x23)]), SPECIAL, "pool/special.rs"),
    on(Machine::GuardInFront, rule("pool_underrun_at_once", "a touch in front of a block, where special pool guards the start (\"verify start\")", plain(0xD6), SPECIAL, "signal/fault.rs")),
    rule("pool_use_after_free", "a touch of freed memory", plain(0xD5), SPECIAL, "signal/fault.rs"),
    rule("pool_use_after_free_by_the_kernel", "freed memory given to a kernel routine", plain(0xD5), SPECIAL, "signal/fault.rs"),
    alone("rundown_free_of_another", "`ExFreeCacheAwareRundownProtection` of something else", own(0x1), OWN, "ex/rundown/cache_aware.rs"),
];
