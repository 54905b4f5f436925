//! The routines that rxce.sys has beyond the documented ones, for a build with an engine that lacks them.
//!
//! Whoever calls one is told that it is not implemented. The arguments are not looked at: on x64 and ARM64 the caller takes
//! them off the stack, so that one shape will do for all.

use wdk_sys::{NTSTATUS, STATUS_NOT_IMPLEMENTED};

/// `RxCexAcceptChainedReceives`.
#[unsafe(no_mangle)]
extern "C" fn RxCexAcceptChainedReceives() -> NTSTATUS {
    STATUS_NOT_IMPLEMENTED
}

/// `RxCexBuildConnectionOverMultipleTransportsSmallTable`.
#[unsafe(no_mangle)]
extern "C" fn RxCexBuildConnectionOverMultipleTransportsSmallTable() -> NTSTATUS {
    STATUS_NOT_IMPLEMENTED
}

/// `RxCexBuildConnectionSmallTable`.
#[unsafe(no_mangle)]
extern "C" fn RxCexBuildConnectionSmallTable() -> NTSTATUS {
    STATUS_NOT_IMPLEMENTED
}

/// `RxCexCancelConnect`.
#[unsafe(no_mangle)]
extern "C" fn RxCexCancelConnect() -> NTSTATUS {
    STATUS_NOT_IMPLEMENTED
}

/// `RxCexGetRoutines`.
#[unsafe(no_mangle)]
extern "C" fn RxCexGetRoutines() -> NTSTATUS {
    STATUS_NOT_IMPLEMENTED
}

/// `RxCexQueryCounters`.
#[unsafe(no_mangle)]
extern "C" fn RxCexQueryCounters() -> NTSTATUS {
    STATUS_NOT_IMPLEMENTED
}
