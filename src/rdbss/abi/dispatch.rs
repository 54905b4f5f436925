//! `MINIRDR_DISPATCH`, the table of callbacks.

use core::mem::offset_of;

use wdk_sys::{NTSTATUS, PVOID, UNICODE_STRING};

use super::{
    CreateNetRootContext, Fobx, MrxFcb, NetRoot, RdbssDeviceObject, RxContext, SrvCall,
    SrvCallContext, SrvOpen, VNetRoot,
};

/// The types of the callbacks.
pub(crate) mod callbacks {
    use super::{
        CreateNetRootContext, Fobx, MrxFcb, NTSTATUS, NetRoot, PVOID, RdbssDeviceObject, RxContext,
        SrvCall, SrvCallContext, SrvOpen, UNICODE_STRING, VNetRoot,
    };

    /// `PMRX_CALLDOWN`.
    pub(crate) type CallDown = unsafe extern "C" fn(*mut RxContext) -> NTSTATUS;
    /// `PMRX_CALLDOWN_CTX`.
    pub(crate) type CallDownContext =
        unsafe extern "C" fn(*mut RxContext, *mut RdbssDeviceObject) -> NTSTATUS;
    /// `PMRX_CHKDIR_CALLDOWN`.
    pub(crate) type CheckDirectory =
        unsafe extern "C" fn(*mut RxContext, *mut UNICODE_STRING) -> NTSTATUS;
    /// `PMRX_CHKFCB_CALLDOWN`.
    pub(crate) type CheckFcb = unsafe extern "C" fn(*mut MrxFcb, *mut MrxFcb) -> NTSTATUS;
    /// `PMRX_DEALLOCATE_FOR_FCB`.
    pub(crate) type DeallocateForFcb = unsafe extern "C" fn(*mut MrxFcb) -> NTSTATUS;
    /// `PMRX_DEALLOCATE_FOR_FOBX`.
    pub(crate) type DeallocateForFobx = unsafe extern "C" fn(*mut Fobx) -> NTSTATUS;
    /// `PMRX_IS_LOCK_REALIZABLE`.
    pub(crate) type IsLockRealizable =
        unsafe extern "C" fn(*mut MrxFcb, *mut i64, *mut i64, u32) -> NTSTATUS;
    /// `PMRX_FORCECLOSED_CALLDOWN`.
    pub(crate) type ForceClosed = unsafe extern "C" fn(*mut SrvOpen) -> NTSTATUS;
    /// `PMRX_EXTENDFILE_CALLDOWN`.
    pub(crate) type ExtendFile = unsafe extern "C" fn(*mut RxContext, *mut i64, *mut i64) -> u32;
    /// `PMRX_COMPUTE_NEW_BUFFERING_STATE`.
    pub(crate) type ComputeNewBufferingState =
        unsafe extern "C" fn(*mut SrvOpen, PVOID, *mut u32) -> NTSTATUS;
    /// `PMRX_CHANGE_BUFFERING_STATE_CALLDOWN`.
    pub(crate) type ChangeBufferingState =
        unsafe extern "C" fn(*mut RxContext, *mut SrvOpen, PVOID) -> NTSTATUS;
    /// `PMRX_CREATE_V_NET_ROOT`.
    pub(crate) type CreateVNetRoot = unsafe extern "C" fn(*mut CreateNetRootContext) -> NTSTATUS;
    /// `PMRX_FINALIZE_V_NET_ROOT_CALLDOWN`.
    pub(crate) type FinalizeVNetRoot = unsafe extern "C" fn(*mut VNetRoot, *mut u8) -> NTSTATUS;
    /// `PMRX_FINALIZE_NET_ROOT_CALLDOWN`.
    pub(crate) type FinalizeNetRoot = unsafe extern "C" fn(*mut NetRoot, *mut u8) -> NTSTATUS;
    /// `PMRX_UPDATE_NETROOT_STATE`.
    pub(crate) type UpdateNetRootState = unsafe extern "C" fn(*mut NetRoot) -> NTSTATUS;
    /// `PMRX_EXTRACT_NETROOT_NAME`.
    pub(crate) type ExtractNetRootName = unsafe extern "C" fn(
        *mut UNICODE_STRING,
        *mut SrvCall,
        *mut UNICODE_STRING,
        *mut UNICODE_STRING,
    );
    /// `PMRX_CREATE_SRVCALL`.
    pub(crate) type CreateSrvCall =
        unsafe extern "C" fn(*mut SrvCall, *mut SrvCallContext) -> NTSTATUS;
    /// `PMRX_SRVCALL_WINNER_NOTIFY`.
    pub(crate) type SrvCallWinnerNotify = unsafe extern "C" fn(*mut SrvCall, u8, PVOID) -> NTSTATUS;
    /// `PMRX_FINALIZE_SRVCALL_CALLDOWN`.
    pub(crate) type FinalizeSrvCall = unsafe extern "C" fn(*mut SrvCall, u8) -> NTSTATUS;
    /// `PMRX_PREPARSE_NAME`.
    pub(crate) type PreparseName =
        unsafe extern "C" fn(*mut RxContext, *mut UNICODE_STRING) -> NTSTATUS;
    /// `PMRX_GET_CONNECTION_ID`.
    pub(crate) type GetConnectionId = unsafe extern "C" fn(*mut RxContext, PVOID) -> NTSTATUS;
}

use callbacks::{
    CallDown, ChangeBufferingState, CheckDirectory, CheckFcb, ComputeNewBufferingState,
    CreateSrvCall, CreateVNetRoot, DeallocateForFcb, DeallocateForFobx, ExtendFile,
    ExtractNetRootName, FinalizeNetRoot, FinalizeSrvCall, FinalizeVNetRoot, ForceClosed,
    GetConnectionId, IsLockRealizable, PreparseName, SrvCallWinnerNotify, UpdateNetRootState,
};

/// `MINIRDR_DISPATCH`.
#[repr(C)]
pub(crate) struct MinirdrDispatch {
    pub(crate) NodeTypeCode: u16,
    pub(crate) NodeByteSize: i16,
    pub(crate) MRxFlags: u32,
    pub(crate) MRxSrvCallSize: u32,
    pub(crate) MRxNetRootSize: u32,
    pub(crate) MRxVNetRootSize: u32,
    pub(crate) MRxFcbSize: u32,
    pub(crate) MRxSrvOpenSize: u32,
    pub(crate) MRxFobxSize: u32,
    pub(crate) MRxStart: Option<callbacks::CallDownContext>,
    pub(crate) MRxStop: Option<callbacks::CallDownContext>,
    pub(crate) MRxCancel: Option<CallDown>,
    pub(crate) MRxCreate: Option<CallDown>,
    pub(crate) MRxCollapseOpen: Option<CallDown>,
    pub(crate) MRxShouldTryToCollapseThisOpen: Option<CallDown>,
    pub(crate) MRxFlush: Option<CallDown>,
    pub(crate) MRxZeroExtend: Option<CallDown>,
    pub(crate) MRxTruncate: Option<CallDown>,
    pub(crate) MRxCleanupFobx: Option<CallDown>,
    pub(crate) MRxCloseSrvOpen: Option<CallDown>,
    pub(crate) MRxDeallocateForFcb: Option<DeallocateForFcb>,
    pub(crate) MRxDeallocateForFobx: Option<DeallocateForFobx>,
    pub(crate) MRxIsLockRealizable: Option<IsLockRealizable>,
    pub(crate) MRxForceClosed: Option<ForceClosed>,
    pub(crate) MRxAreFilesAliased: Option<CheckFcb>,
    pub(crate) MRxOpenPrintFile: Option<CallDown>,
    pub(crate) MRxClosePrintFile: Option<CallDown>,
    pub(crate) MRxWritePrintFile: Option<CallDown>,
    pub(crate) MRxEnumeratePrintQueue: Option<CallDown>,
    pub(crate) MRxClosedSrvOpenTimeOut: Option<CallDown>,
    pub(crate) MRxClosedFcbTimeOut: Option<CallDown>,
    pub(crate) MRxQueryDirectory: Option<CallDown>,
    pub(crate) MRxQueryFileInfo: Option<CallDown>,
    pub(crate) MRxSetFileInfo: Option<CallDown>,
    pub(crate) MRxSetFileInfoAtCleanup: Option<CallDown>,
    pub(crate) MRxQueryEaInfo: Option<CallDown>,
    pub(crate) MRxSetEaInfo: Option<CallDown>,
    pub(crate) MRxQuerySdInfo: Option<CallDown>,
    pub(crate) MRxSetSdInfo: Option<CallDown>,
    pub(crate) MRxQueryQuotaInfo: Option<CallDown>,
    pub(crate) MRxSetQuotaInfo: Option<CallDown>,
    pub(crate) MRxQueryVolumeInfo: Option<CallDown>,
    pub(crate) MRxSetVolumeInfo: Option<CallDown>,
    pub(crate) MRxIsValidDirectory: Option<CheckDirectory>,
    pub(crate) MRxComputeNewBufferingState: Option<ComputeNewBufferingState>,
    /// By operation: read, write, shared and exclusive lock, unlock, unlock multiple, FSCTL, IOCTL, notify, clear out; the
    /// last slot is not used.
    pub(crate) MRxLowIOSubmit: [Option<CallDown>; 11],
    pub(crate) MRxExtendForCache: Option<ExtendFile>,
    pub(crate) MRxExtendForNonCache: Option<ExtendFile>,
    pub(crate) MRxCompleteBufferingStateChangeRequest: Option<ChangeBufferingState>,
    pub(crate) MRxCreateVNetRoot: Option<CreateVNetRoot>,
    pub(crate) MRxFinalizeVNetRoot: Option<FinalizeVNetRoot>,
    pub(crate) MRxFinalizeNetRoot: Option<FinalizeNetRoot>,
    pub(crate) MRxUpdateNetRootState: Option<UpdateNetRootState>,
    pub(crate) MRxExtractNetRootName: Option<ExtractNetRootName>,
    pub(crate) MRxCreateSrvCall: Option<CreateSrvCall>,
    pub(crate) MRxCancelCreateSrvCall: Option<CreateSrvCall>,
    pub(crate) MRxSrvCallWinnerNotify: Option<SrvCallWinnerNotify>,
    pub(crate) MRxFinalizeSrvCall: Option<FinalizeSrvCall>,
    pub(crate) MRxDevFcbXXXControlFile: Option<CallDown>,
    pub(crate) MRxPreparseName: Option<PreparseName>,
    pub(crate) MRxGetConnectionId: Option<GetConnectionId>,
    pub(crate) ScavengerTimeout: u32,
}

impl MinirdrDispatch {
    /// `RDBSS_NTC_MINIRDR_DISPATCH`.
    pub(crate) const NODE_TYPE: u16 = 0xEBFF;
    /// The size of the header generation used here.
    pub(crate) const NODE_SIZE: i16 = 0x218;
}

const _: () = {
    assert!(size_of::<MinirdrDispatch>() == 0x218);
    assert!(offset_of!(MinirdrDispatch, MRxFlags) == 0x004);
    assert!(offset_of!(MinirdrDispatch, MRxSrvCallSize) == 0x008);
    assert!(offset_of!(MinirdrDispatch, MRxNetRootSize) == 0x00C);
    assert!(offset_of!(MinirdrDispatch, MRxVNetRootSize) == 0x010);
    assert!(offset_of!(MinirdrDispatch, MRxFcbSize) == 0x014);
    assert!(offset_of!(MinirdrDispatch, MRxSrvOpenSize) == 0x018);
    assert!(offset_of!(MinirdrDispatch, MRxFobxSize) == 0x01C);
    assert!(offset_of!(MinirdrDispatch, MRxStart) == 0x020);
    assert!(offset_of!(MinirdrDispatch, MRxStop) == 0x028);
    assert!(offset_of!(MinirdrDispatch, MRxCancel) == 0x030);
    assert!(offset_of!(MinirdrDispatch, MRxCreate) == 0x038);
    assert!(offset_of!(MinirdrDispatch, MRxCollapseOpen) == 0x040);
    assert!(offset_of!(MinirdrDispatch, MRxShouldTryToCollapseThisOpen) == 0x048);
    assert!(offset_of!(MinirdrDispatch, MRxFlush) == 0x050);
    assert!(offset_of!(MinirdrDispatch, MRxZeroExtend) == 0x058);
    assert!(offset_of!(MinirdrDispatch, MRxTruncate) == 0x060);
    assert!(offset_of!(MinirdrDispatch, MRxCleanupFobx) == 0x068);
    assert!(offset_of!(MinirdrDispatch, MRxCloseSrvOpen) == 0x070);
    assert!(offset_of!(MinirdrDispatch, MRxDeallocateForFcb) == 0x078);
    assert!(offset_of!(MinirdrDispatch, MRxDeallocateForFobx) == 0x080);
    assert!(offset_of!(MinirdrDispatch, MRxIsLockRealizable) == 0x088);
    assert!(offset_of!(MinirdrDispatch, MRxForceClosed) == 0x090);
    assert!(offset_of!(MinirdrDispatch, MRxAreFilesAliased) == 0x098);
    assert!(offset_of!(MinirdrDispatch, MRxOpenPrintFile) == 0x0A0);
    assert!(offset_of!(MinirdrDispatch, MRxClosePrintFile) == 0x0A8);
    assert!(offset_of!(MinirdrDispatch, MRxWritePrintFile) == 0x0B0);
    assert!(offset_of!(MinirdrDispatch, MRxEnumeratePrintQueue) == 0x0B8);
    assert!(offset_of!(MinirdrDispatch, MRxClosedSrvOpenTimeOut) == 0x0C0);
    assert!(offset_of!(MinirdrDispatch, MRxClosedFcbTimeOut) == 0x0C8);
    assert!(offset_of!(MinirdrDispatch, MRxQueryDirectory) == 0x0D0);
    assert!(offset_of!(MinirdrDispatch, MRxQueryFileInfo) == 0x0D8);
    assert!(offset_of!(MinirdrDispatch, MRxSetFileInfo) == 0x0E0);
    assert!(offset_of!(MinirdrDispatch, MRxSetFileInfoAtCleanup) == 0x0E8);
    assert!(offset_of!(MinirdrDispatch, MRxQueryEaInfo) == 0x0F0);
    assert!(offset_of!(MinirdrDispatch, MRxSetEaInfo) == 0x0F8);
    assert!(offset_of!(MinirdrDispatch, MRxQuerySdInfo) == 0x100);
    assert!(offset_of!(MinirdrDispatch, MRxSetSdInfo) == 0x108);
    assert!(offset_of!(MinirdrDispatch, MRxQueryQuotaInfo) == 0x110);
    assert!(offset_of!(MinirdrDispatch, MRxSetQuotaInfo) == 0x118);
    assert!(offset_of!(MinirdrDispatch, MRxQueryVolumeInfo) == 0x120);
    assert!(offset_of!(MinirdrDispatch, MRxSetVolumeInfo) == 0x128);
    assert!(offset_of!(MinirdrDispatch, MRxIsValidDirectory) == 0x130);
    assert!(offset_of!(MinirdrDispatch, MRxComputeNewBufferingState) == 0x138);
    assert!(offset_of!(MinirdrDispatch, MRxLowIOSubmit) == 0x140);
    assert!(offset_of!(MinirdrDispatch, MRxExtendForCache) == 0x198);
    assert!(offset_of!(MinirdrDispatch, MRxExtendForNonCache) == 0x1A0);
    assert!(offset_of!(MinirdrDispatch, MRxCompleteBufferingStateChangeRequest) == 0x1A8);
    assert!(offset_of!(MinirdrDispatch, MRxCreateVNetRoot) == 0x1B0);
    assert!(offset_of!(MinirdrDispatch, MRxFinalizeVNetRoot) == 0x1B8);
    assert!(offset_of!(MinirdrDispatch, MRxFinalizeNetRoot) == 0x1C0);
    assert!(offset_of!(MinirdrDispatch, MRxUpdateNetRootState) == 0x1C8);
    assert!(offset_of!(MinirdrDispatch, MRxExtractNetRootName) == 0x1D0);
    assert!(offset_of!(MinirdrDispatch, MRxCreateSrvCall) == 0x1D8);
    assert!(offset_of!(MinirdrDispatch, MRxCancelCreateSrvCall) == 0x1E0);
    assert!(offset_of!(MinirdrDispatch, MRxSrvCallWinnerNotify) == 0x1E8);
    assert!(offset_of!(MinirdrDispatch, MRxFinalizeSrvCall) == 0x1F0);
    assert!(offset_of!(MinirdrDispatch, MRxDevFcbXXXControlFile) == 0x1F8);
    assert!(offset_of!(MinirdrDispatch, MRxPreparseName) == 0x200);
    assert!(offset_of!(MinirdrDispatch, MRxGetConnectionId) == 0x208);
    assert!(offset_of!(MinirdrDispatch, ScavengerTimeout) == 0x210);
};
