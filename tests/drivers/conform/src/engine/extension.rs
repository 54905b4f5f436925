//! The routines of the header's section "Extensions", as a client calls them.

use core::{ffi::c_void, ptr};

use conform_ioctl::Routine;
use rxce_client::{
    self as client, PRXCEX_IND_CHAINED_RECEIVE, RXCE_ADDRESS, RXCE_CONNECTION,
    RXCE_CONNECTION_INFORMATION, RXCE_VC, RXCEX_COUNTERS, RXCEX_ROUTINES, small_table,
};
use wdk_sys::NTSTATUS;

use super::{Multiple, noted};

/// The table as a header with RXCEX_SMALL_EVENT_TABLE declares it.
pub(crate) type SmallTable = small_table::RXCE_CONNECTION_EVENT_HANDLER;

/// RxCeBuildConnection of a client with the small table.
pub(crate) fn build_connection_small(
    address: *mut RXCE_ADDRESS,
    information: *mut RXCE_CONNECTION_INFORMATION,
    handler: *mut SmallTable,
    context: *mut c_void,
    connection: *mut RXCE_CONNECTION,
    vc: *mut RXCE_VC,
) -> NTSTATUS {
    // SAFETY: As for `build_transport`.
    let answer = unsafe {
        small_table::RxCexBuildConnectionSmallTable(
            address,
            information,
            handler,
            context,
            connection,
            vc,
        )
    };
    noted(Routine::ExBuildConnectionSmallTable, answer)
}

/// RxCeBuildConnectionOverMultipleTransports of a client with the small table, which takes the place of `with.handler`.
pub(crate) fn build_over_multiple_small(with: &Multiple, handler: *mut SmallTable) -> NTSTATUS {
    let option = client::enumeration(with.option);
    // SAFETY: As for `build_transport`; what must outlive the race is kept by the fixture.
    let answer = unsafe {
        small_table::RxCexBuildConnectionOverMultipleTransportsSmallTable(
            with.device.cast(),
            option,
            with.count,
            with.addresses,
            ptr::null_mut(),
            with.information,
            handler,
            with.event_context,
            with.routine,
            with.context,
        )
    };
    noted(
        Routine::ExBuildConnectionOverMultipleTransportsSmallTable,
        answer,
    )
}

/// RxCexCancelConnect.
pub(crate) fn cancel_connect(vc: *mut RXCE_VC) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    let answer = unsafe { client::RxCexCancelConnect(vc) };
    noted(Routine::ExCancelConnect, answer)
}

/// RxCexCancelConnect where several answers are right and chance decides: none is noted.
pub(crate) fn cancel_connect_by_chance(vc: *mut RXCE_VC) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`.
    unsafe { client::RxCexCancelConnect(vc) }
}

/// RxCexQueryCounters.
pub(crate) fn query_counters(structure: *mut c_void, counters: *mut RXCEX_COUNTERS) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`; the counters are NULL, or as long as their Size says.
    let answer = unsafe { client::RxCexQueryCounters(structure, counters) };
    noted(Routine::ExQueryCounters, answer)
}

/// RxCexGetRoutines.
pub(crate) fn get_routines(table: *mut RXCEX_ROUTINES) -> NTSTATUS {
    // SAFETY: Null, or as long as its Size says.
    let answer = unsafe { client::RxCexGetRoutines(table) };
    noted(Routine::ExGetRoutines, answer)
}

/// RxCexAcceptChainedReceives.
pub(crate) fn accept_chained_receives(
    address: *mut RXCE_ADDRESS,
    callback: PRXCEX_IND_CHAINED_RECEIVE,
) -> NTSTATUS {
    // SAFETY: As for `tear_down_transport`; the callback is NULL or of its type.
    let answer = unsafe { client::RxCexAcceptChainedReceives(address, callback) };
    noted(Routine::ExAcceptChainedReceives, answer)
}
