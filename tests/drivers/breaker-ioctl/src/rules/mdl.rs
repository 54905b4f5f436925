//! Memory descriptor lists.

use super::{c4, own, rule, stop};
use crate::{Group, Rule};

const ALWAYS: &str = "automatic checks";
const CHECK: &str = "mm/mdl.rs";
const OWN: &str = "ntsim's own";

pub(super) const GROUP: Group = Group {
    subject: "Memory descriptor lists",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("mdl_freed_twice", "an MDL freed that is not alive", own(0x1), OWN, CHECK),
    rule("mdl_freed_locked", "an MDL freed while its pages are locked", c4(0xB8), ALWAYS, CHECK),
    rule("mdl_of_paged_pool", "`MmBuildMdlForNonPagedPool` of paged pool", c4(0x7F), ALWAYS, CHECK),
    rule("mdl_built_twice", "`MmBuildMdlForNonPagedPool` of an MDL that describes memory already", own(0x8), OWN, CHECK),
    rule("mdl_past_the_block", "an MDL that reaches out of its block", own(0x8), OWN, CHECK),
    rule("mdl_partial_outside", "`IoBuildPartialMdl` outside its source", own(0x8), OWN, CHECK),
    rule("mdl_partial_without_room", "`IoBuildPartialMdl` into a target without room", own(0x8), OWN, CHECK),
    rule("mdl_locked_twice", "`MmProbeAndLockPages` of an MDL whose pages are locked", c4(0xB0), ALWAYS, CHECK),
    rule("mdl_lock_of_nothing", "`MmProbeAndLockPages` of memory that is not there, in a driver without a handler", stop(0x1E, 0xC000_0005), "MmProbeAndLockPages", CHECK),
    rule("mdl_unlock_of_nonpaged", "`MmUnlockPages` of an MDL for nonpaged pool", c4(0x7E), ALWAYS, CHECK),
    rule("mdl_unlock_of_partial", "`MmUnlockPages` of a partial MDL", c4(0xB5), ALWAYS, CHECK),
    rule("mdl_unlock_of_unlocked", "`MmUnlockPages` of an MDL that is not locked", c4(0x7D), ALWAYS, CHECK),
    rule("mdl_mapped_twice", "an MDL mapped twice", c4(0xB2), ALWAYS, CHECK),
    rule("mdl_mapped_unlocked", "an MDL mapped whose pages are not locked", c4(0xB2), ALWAYS, CHECK),
    rule("mdl_unmap_of_unmapped", "`MmUnmapLockedPages` of an MDL that is not mapped", c4(0xB4), ALWAYS, CHECK),
    rule("mdl_unmap_of_nonpaged", "`MmUnmapLockedPages` of an MDL for nonpaged pool", c4(0xB4), ALWAYS, CHECK),
];
