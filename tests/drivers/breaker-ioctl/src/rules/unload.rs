//! What a driver may not leave behind.

use super::{c4, own, plain, rule};
use crate::{Group, Rule, Stop};

const TRACK: &str = "pool tracking";
const LEAKS: &str = "driver/leaks.rs";
const OWN: &str = "ntsim's own";

pub(super) const GROUP: Group = Group {
    subject: "Unload",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("unload_with_pool", "pool left at unload", c4(0x62), TRACK, LEAKS),
    rule("unload_with_an_irp", "an IRP left at unload", c4(0x62), "I/O verification", LEAKS),
    rule("unload_with_an_mdl", "an MDL left at unload", c4(0x62), TRACK, LEAKS),
    rule("unload_with_a_handle", "a handle left at unload", own(0x4), OWN, LEAKS),
    rule("unload_with_a_reference", "a reference on an object left at unload", own(0x4), OWN, LEAKS),
    rule("unload_with_a_device", "a device left at unload", own(0x4), OWN, LEAKS),
    rule("unload_with_a_timer", "a timer that still runs at unload", plain(0xCE), "bug check 0xCE", LEAKS),
    rule("unload_with_a_thread", "a system thread that still runs at unload", plain(0xCE), "bug check 0xCE", LEAKS),
    rule("unload_with_an_etw_provider", "a provider of ETW registered at unload", c4(0xDD), "miscellaneous checks", LEAKS),
    rule("etw_provider_unregistered_twice", "`EtwUnregister` of what is not registered", c4(0xDC), "miscellaneous checks", "etw/routines.rs"),
    rule("unload_with_a_work_item", "an I/O work item not freed at unload", plain(0xCE), "bug check 0xCE", LEAKS),
    rule("unload_in_a_completion_routine", "a thread that is in code of the driver, or returns to it, at unload", Stop::BugCheck(0xCE, [None, Some(8), None, None]), "bug check 0xCE", LEAKS),
];
