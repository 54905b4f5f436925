//! Opens of files.

use core::ptr;

use wdk_sys::{
    NTSTATUS, STATUS_FILE_IS_A_DIRECTORY, STATUS_INSUFFICIENT_RESOURCES, STATUS_NOT_A_DIRECTORY,
    STATUS_NOT_IMPLEMENTED, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_PENDING, STATUS_SUCCESS,
};

use crate::{
    control::collapses,
    rdbss::{
        OBJECT_CONTEXT, OPEN_NAME, RxCreateNetFobx, RxFinishFcbInitialization, breaks, context,
        count, peek, poke, rx, text,
    },
    tree::Node,
};

/// FILE_DIRECTORY_FILE and FILE_NON_DIRECTORY_FILE.
const DIRECTORY_FILE: u32 = 0x1;
const NON_DIRECTORY_FILE: u32 = 0x40;
/// RDBSS_NTC_STORAGE_TYPE_DIRECTORY and _FILE.
const STORAGE_DIRECTORY: u32 = 0xEC02;
const STORAGE_FILE: u32 = 0xEC03;
/// FILE_OPENED.
const OPENED: u32 = 1;

/// What is open in a request.
pub(crate) fn node_of(at: usize) -> Option<Node> {
    let open: usize = peek(at.wrapping_add(context::SRV_OPEN));
    Node::of_id(peek(open.wrapping_add(OBJECT_CONTEXT)))
}

/// MRxCreate.
pub(crate) unsafe extern "C" fn create(at: usize) -> NTSTATUS {
    count(5);
    if breaks("create_pending") {
        return STATUS_PENDING;
    }
    let open: usize = peek(at.wrapping_add(context::SRV_OPEN));
    let Some(node) = Node::find(text(peek(open.wrapping_add(OPEN_NAME)))) else {
        return STATUS_OBJECT_NAME_NOT_FOUND;
    };
    let options: u32 = peek(at.wrapping_add(context::CREATE_OPTIONS));
    if node.is_directory() && options & NON_DIRECTORY_FILE != 0 {
        return STATUS_FILE_IS_A_DIRECTORY;
    }
    if !node.is_directory() && options & DIRECTORY_FILE != 0 {
        return STATUS_NOT_A_DIRECTORY;
    }
    poke(open.wrapping_add(OBJECT_CONTEXT), node.id());
    let fcb: usize = peek(at.wrapping_add(context::FCB));
    let kind = if node.is_directory() {
        STORAGE_DIRECTORY
    } else {
        STORAGE_FILE
    };
    if breaks("fcb_of_no_file") {
        rx!(RxFinishFcbInitialization, fcb + 8, kind, ptr::null_mut());
    }
    if !breaks("create_without_fcb") {
        rx!(RxFinishFcbInitialization, fcb, kind, ptr::null_mut());
    }
    add_fobx(at, open)
}

fn add_fobx(at: usize, open: usize) -> NTSTATUS {
    if breaks("create_without_fobx") {
        return STATUS_SUCCESS;
    }
    let open = if breaks("fobx_of_no_open") {
        open + 8
    } else {
        open
    };
    if breaks("query_at_dispatch") {
        rx!(wdk_sys::ntddk::KfRaiseIrql, 2);
    }
    let fobx = rx!(RxCreateNetFobx, at, open);
    if fobx == 0 {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    poke(at.wrapping_add(context::FOBX), fobx);
    poke(at.wrapping_add(context::CREATE_INFORMATION), OPENED);
    STATUS_SUCCESS
}

/// MRxShouldTryToCollapseThisOpen.
pub(crate) unsafe extern "C" fn should_collapse(_at: usize) -> NTSTATUS {
    if collapses() {
        STATUS_SUCCESS
    } else {
        STATUS_NOT_IMPLEMENTED
    }
}

/// MRxCollapseOpen.
pub(crate) unsafe extern "C" fn collapse(at: usize) -> NTSTATUS {
    count(6);
    add_fobx(at, peek(at.wrapping_add(context::SRV_OPEN)))
}

/// MRxCleanupFobx.
pub(crate) unsafe extern "C" fn cleanup(_at: usize) -> NTSTATUS {
    STATUS_SUCCESS
}

/// MRxCloseSrvOpen.
pub(crate) unsafe extern "C" fn close(_at: usize) -> NTSTATUS {
    count(7);
    STATUS_SUCCESS
}

/// MRxForceClosed.
pub(crate) unsafe extern "C" fn force_closed(_open: usize) -> NTSTATUS {
    STATUS_NOT_IMPLEMENTED
}

/// MRxDeallocateForFobx.
pub(crate) unsafe extern "C" fn deallocate_fobx(_fobx: usize) -> NTSTATUS {
    count(8);
    STATUS_SUCCESS
}

/// MRxDeallocateForFcb.
pub(crate) unsafe extern "C" fn deallocate_fcb(_fcb: usize) -> NTSTATUS {
    count(9);
    STATUS_SUCCESS
}
