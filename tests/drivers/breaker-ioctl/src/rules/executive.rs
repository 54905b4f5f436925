//! Executive resources, look-aside lists, remove locks.

use super::{c4, plain, rule};
use crate::{Group, Rule};

const ALWAYS: &str = "automatic checks";
const MISCELLANEOUS: &str = "miscellaneous checks";
const IO: &str = "I/O verification";
const RESOURCE: &str = "ex/resource.rs";
const LOOKASIDE: &str = "ex/lookaside.rs";
const REMOVE_LOCK: &str = "io/remove_lock.rs";

pub(super) const GROUP: Group = Group {
    subject: "Resources, look-aside lists, remove locks",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("resource_freed", "a block freed with an initialised resource in it", c4(0x17), MISCELLANEOUS, "executive.rs"),
    rule("resource_acquired_with_apcs", "a resource acquired with normal kernel APCs enabled", c4(0x37), ALWAYS, RESOURCE),
    rule("resource_released_with_apcs", "a resource released with normal kernel APCs enabled", c4(0x38), ALWAYS, RESOURCE),
    rule("resource_misaligned", "memory that cannot be a resource", c4(0x3D), ALWAYS, RESOURCE),
    rule("resource_initialised_twice", "a resource initialised again before its end", c4(0xD0), MISCELLANEOUS, RESOURCE),
    rule("resource_deleted_twice", "a resource deleted that is not initialised", c4(0xD1), MISCELLANEOUS, RESOURCE),
    rule("resource_not_owned", "a resource released by a thread that does not have it", plain(0xE3), "bug check 0xE3", RESOURCE),
    rule("resource_order_inverted", "two resources taken in one order here, in the other there", c4(0x1001), "deadlock detection", "irql/order.rs"),
    rule("resource_in_paged_pool", "a resource in paged pool", c4(0xE1), "force IRQL checking", "irql/order.rs"),
    rule("resource_at_dispatch", "a resource acquired above `APC_LEVEL`", c4(0x2_0007), "DDI compliance", RESOURCE),
    rule("lookaside_initialised_twice", "a look-aside list initialised again before its end", c4(0xCA), MISCELLANEOUS, LOOKASIDE),
    rule("lookaside_deleted_twice", "a look-aside list deleted that is not initialised", c4(0xCB), MISCELLANEOUS, LOOKASIDE),
    rule("lookaside_freed", "a block freed with an initialised look-aside list in it", c4(0xCC), MISCELLANEOUS, "executive.rs"),
    rule("lookaside_of_small_entries", "a look-aside list whose entries cannot hold its link", c4(0xCD), MISCELLANEOUS, LOOKASIDE),
    rule("remove_lock_wrong_tag", "a remove lock released with a tag that does not have it", c4(0xD5), IO, REMOVE_LOCK),
    rule("remove_lock_wrong_tag_at_the_end", "the same at `IoReleaseRemoveLockAndWait`", c4(0xD6), IO, REMOVE_LOCK),
    rule("remove_lock_initialised_twice", "a remove lock initialised again before its end", c4(0xD7), IO, REMOVE_LOCK),
];
