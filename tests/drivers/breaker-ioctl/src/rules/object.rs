//! Handles, objects, devices and work items.

use super::{alone, c4, c9, own, plain, rule};
use crate::{Group, Rule};

const ALWAYS: &str = "automatic checks";
const MISC: &str = "miscellaneous checks";
const SECURITY: &str = "security checks";
const ROUTINES: &str = "ob/routines.rs";
const WORK: &str = "ex/work.rs";
const OWN: &str = "ntsim's own";

pub(super) const GROUP: Group = Group {
    subject: "Objects, handles and work items",
    rules: RULES,
};

// One line per rule.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("handle_closed_twice", "a handle closed that is not open", plain(0x93), MISC, "ob/handle.rs"),
    rule("handle_not_open", "`ObReferenceObjectByHandle` of a handle that is not open", c4(0x3C), ALWAYS, ROUTINES),
    rule("handle_null", "`ObReferenceObjectByHandle` of a NULL handle", c4(0xF5), MISC, ROUTINES),
    rule("handle_of_a_user", "a handle opened without `OBJ_KERNEL_HANDLE` referenced in kernel mode", c4(0xF6), MISC, ROUTINES),
    rule("handle_of_the_kernel", "a kernel handle referenced with `UserMode`", c4(0xF7), MISC, ROUTINES),
    rule("object_dereferenced_too_often", "a dereference of what is no object any more", c4(0x3F), ALWAYS, "ob/mod.rs"),
    rule("object_referenced_too_late", "a reference to what is no object any more", c4(0x3F), ALWAYS, "ob/mod.rs"),
    rule("zw_with_a_user_address", "a Zw routine with an address of user space", c4(0xE3), SECURITY, ROUTINES),
    rule("zw_with_a_malformed_string", "a Zw routine with a malformed `UNICODE_STRING`", c4(0xE4), SECURITY, ROUTINES),
    rule("zw_with_malformed_attributes", "a Zw routine with a malformed `OBJECT_ATTRIBUTES`", c4(0xE4), SECURITY, ROUTINES),
    alone("thread_object_of_something_else", "`PsIsSystemThread` of what is no thread", own(0x1), OWN, "ps.rs"),
    alone("subject_never_captured", "`SeReleaseSubjectContext` of a context that was not captured", own(0x1), OWN, "se.rs"),
    alone("file_object_of_something_else", "`IoGetRelatedDeviceObject` of what is no file object", own(0x1), OWN, "io/device.rs"),
    rule("device_deleted_twice", "a device deleted twice", c9(0x240), "I/O verification", "io/device.rs"),
    rule("work_item_queued_twice", "a work item queued twice", plain(0xE4), MISC, WORK),
    rule("work_item_pageable", "a work item in paged pool", c4(0x131), MISC, WORK),
    rule("io_work_item_queued_twice", "an I/O work item queued twice", plain(0xE4), MISC, WORK),
    rule("io_work_item_freed_queued", "an I/O work item freed while queued", plain(0xE4), MISC, WORK),
    rule("io_work_item_freed_twice", "an I/O work item freed twice", plain(0xE4), MISC, WORK),
    alone("io_work_item_of_nothing", "an I/O work item for what is no device", own(0x1), OWN, WORK),
];
