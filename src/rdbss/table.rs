//! The table of callbacks. What RDBSS never calls, and what it may answer itself, is NULL.

use core::cell::UnsafeCell;

use super::{
    abi::MinirdrDispatch, control, directory, open, query, read, refuse, root, server, service,
};

/// The table where RDBSS finds it for as long as the driver is loaded.
pub(super) struct Table(UnsafeCell<MinirdrDispatch>);

// SAFETY: The driver itself does not touch it.
unsafe impl Sync for Table {}

impl Table {
    /// Its address.
    pub(super) const fn as_ptr(&self) -> *mut MinirdrDispatch {
        self.0.get()
    }
}

/// The driver's table.
pub(super) static TABLE: Table = Table(UnsafeCell::new(MinirdrDispatch {
    NodeTypeCode: MinirdrDispatch::NODE_TYPE,
    NodeByteSize: MinirdrDispatch::NODE_SIZE,
    // The driver allocates what it keeps with the objects.
    MRxFlags: 0,
    MRxSrvCallSize: 0,
    MRxNetRootSize: 0,
    MRxVNetRootSize: 0,
    MRxFcbSize: 0,
    MRxSrvOpenSize: 0,
    MRxFobxSize: 0,
    MRxStart: Some(service::start),
    MRxStop: Some(service::stop),
    MRxCancel: None,
    MRxCreate: Some(open::create),
    MRxCollapseOpen: None,
    MRxShouldTryToCollapseThisOpen: Some(open::try_to_collapse),
    MRxFlush: Some(refuse::flush),
    MRxZeroExtend: Some(refuse::write),
    MRxTruncate: Some(refuse::write),
    MRxCleanupFobx: Some(open::cleanup),
    MRxCloseSrvOpen: Some(open::close),
    MRxDeallocateForFcb: Some(open::deallocate_fcb),
    MRxDeallocateForFobx: Some(directory::deallocate_fobx),
    MRxIsLockRealizable: None,
    MRxForceClosed: Some(open::force_closed),
    MRxAreFilesAliased: None,
    MRxOpenPrintFile: None,
    MRxClosePrintFile: None,
    MRxWritePrintFile: None,
    MRxEnumeratePrintQueue: None,
    MRxClosedSrvOpenTimeOut: None,
    MRxClosedFcbTimeOut: None,
    MRxQueryDirectory: Some(directory::query),
    MRxQueryFileInfo: Some(query::file),
    MRxSetFileInfo: Some(refuse::write),
    MRxSetFileInfoAtCleanup: Some(refuse::write),
    MRxQueryEaInfo: Some(refuse::unsupported),
    MRxSetEaInfo: Some(refuse::write),
    MRxQuerySdInfo: Some(refuse::unsupported),
    MRxSetSdInfo: Some(refuse::write),
    MRxQueryQuotaInfo: Some(refuse::unsupported),
    MRxSetQuotaInfo: Some(refuse::write),
    MRxQueryVolumeInfo: Some(query::volume),
    MRxSetVolumeInfo: Some(refuse::write),
    MRxIsValidDirectory: None,
    MRxComputeNewBufferingState: None,
    MRxLowIOSubmit: [
        Some(read::submit),
        Some(refuse::write),
        Some(refuse::unsupported),
        Some(refuse::unsupported),
        Some(refuse::unsupported),
        Some(refuse::unsupported),
        Some(control::control),
        Some(control::control),
        Some(refuse::unsupported),
        None,
        None,
    ],
    MRxExtendForCache: Some(refuse::extend),
    MRxExtendForNonCache: Some(refuse::extend),
    MRxCompleteBufferingStateChangeRequest: None,
    MRxCreateVNetRoot: Some(root::create),
    MRxFinalizeVNetRoot: Some(root::finalize_view),
    MRxFinalizeNetRoot: Some(root::finalize),
    MRxUpdateNetRootState: None,
    MRxExtractNetRootName: Some(root::extract_name),
    MRxCreateSrvCall: Some(server::create),
    MRxCancelCreateSrvCall: None,
    MRxSrvCallWinnerNotify: Some(server::winner),
    MRxFinalizeSrvCall: Some(server::finalize),
    MRxDevFcbXXXControlFile: Some(control::control),
    MRxPreparseName: None,
    MRxGetConnectionId: None,
    ScavengerTimeout: 0,
}));
