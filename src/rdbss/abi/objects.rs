//! Servers, net roots, opens: the objects whose life RDBSS manages.

use core::{ffi::c_void, mem::offset_of};

use wdk_sys::{DEVICE_OBJECT, FILE_OBJECT, KEVENT, LIST_ENTRY, NTSTATUS, PVOID, UNICODE_STRING};

use super::{NodeHeader, RxContext};

/// `RDBSS_DEVICE_OBJECT`: only that it begins with a device object is used.
#[repr(C)]
pub(crate) struct RdbssDeviceObject {
    pub(crate) DeviceObject: DEVICE_OBJECT,
}

/// `MRX_FCB`: never looked into.
#[repr(C)]
pub(crate) struct MrxFcb {
    _opaque: [u8; 0],
}

/// `MRX_SRV_CALL`.
#[repr(C)]
pub(crate) struct SrvCall {
    pub(crate) Header: NodeHeader,
    pub(crate) Context: PVOID,
    pub(crate) Context2: PVOID,
    pub(crate) RxDeviceObject: *mut RdbssDeviceObject,
    pub(crate) pSrvCallName: *mut UNICODE_STRING,
    pub(crate) pPrincipalName: *mut UNICODE_STRING,
    pub(crate) pDomainName: *mut UNICODE_STRING,
    pub(crate) Flags: u32,
    pub(crate) MaximumNumberOfCloseDelayedFiles: i32,
    pub(crate) Status: NTSTATUS,
}

const _: () = {
    assert!(size_of::<SrvCall>() == 0x48);
    assert!(offset_of!(SrvCall, Context) == 0x08);
    assert!(offset_of!(SrvCall, RxDeviceObject) == 0x18);
    assert!(offset_of!(SrvCall, pSrvCallName) == 0x20);
    assert!(offset_of!(SrvCall, Flags) == 0x38);
    assert!(offset_of!(SrvCall, Status) == 0x40);
};

/// `MRX_NET_ROOT`.
#[repr(C)]
pub(crate) struct NetRoot {
    pub(crate) Header: NodeHeader,
    pub(crate) pSrvCall: *mut SrvCall,
    pub(crate) Context: PVOID,
    pub(crate) Context2: PVOID,
    pub(crate) Flags: u32,
    pub(crate) NumberOfFcbs: u32,
    pub(crate) NumberOfSrvOpens: u32,
    pub(crate) MRxNetRootState: u8,
    pub(crate) Type: u8,
    pub(crate) PurgeRelationship: u8,
    pub(crate) PurgeSyncLocation: u8,
    pub(crate) DeviceType: u32,
    pub(crate) pNetRootName: *mut UNICODE_STRING,
    pub(crate) InnerNamePrefix: UNICODE_STRING,
    pub(crate) ParameterValidationStamp: u32,
    _disk_or_pipe: [u32; 9],
}

const _: () = {
    assert!(size_of::<NetRoot>() == 0x78);
    assert!(offset_of!(NetRoot, pSrvCall) == 0x08);
    assert!(offset_of!(NetRoot, Context) == 0x10);
    assert!(offset_of!(NetRoot, MRxNetRootState) == 0x2C);
    assert!(offset_of!(NetRoot, Type) == 0x2D);
    assert!(offset_of!(NetRoot, DeviceType) == 0x30);
    assert!(offset_of!(NetRoot, pNetRootName) == 0x38);
    assert!(offset_of!(NetRoot, InnerNamePrefix) == 0x40);
    assert!(offset_of!(NetRoot, ParameterValidationStamp) == 0x50);
    assert!(offset_of!(NetRoot, _disk_or_pipe) == 0x54);
};

/// `MRX_V_NET_ROOT`.
#[repr(C)]
pub(crate) struct VNetRoot {
    pub(crate) Header: NodeHeader,
    pub(crate) pNetRoot: *mut NetRoot,
    pub(crate) Context: PVOID,
    pub(crate) Context2: PVOID,
    pub(crate) Flags: u32,
    pub(crate) NumberOfOpens: u32,
    pub(crate) NumberOfFobxs: u32,
    pub(crate) LogonId: [u32; 2],
    pub(crate) pUserDomainName: *mut UNICODE_STRING,
    pub(crate) pUserName: *mut UNICODE_STRING,
    pub(crate) pPassword: *mut UNICODE_STRING,
    pub(crate) SessionId: u32,
    pub(crate) ConstructionStatus: NTSTATUS,
    pub(crate) IsExplicitConnection: u8,
}

const _: () = {
    assert!(size_of::<VNetRoot>() == 0x60);
    assert!(offset_of!(VNetRoot, pNetRoot) == 0x08);
    assert!(offset_of!(VNetRoot, Context) == 0x10);
    assert!(offset_of!(VNetRoot, LogonId) == 0x2C);
    assert!(offset_of!(VNetRoot, pUserDomainName) == 0x38);
    assert!(offset_of!(VNetRoot, SessionId) == 0x50);
    assert!(offset_of!(VNetRoot, ConstructionStatus) == 0x54);
    assert!(offset_of!(VNetRoot, IsExplicitConnection) == 0x58);
};

/// `MRX_SRV_OPEN`.
#[repr(C)]
pub(crate) struct SrvOpen {
    pub(crate) Header: NodeHeader,
    pub(crate) pFcb: *mut MrxFcb,
    pub(crate) pVNetRoot: *mut VNetRoot,
    pub(crate) Context: PVOID,
    pub(crate) Context2: PVOID,
    pub(crate) Flags: u32,
    /// The name inside the net root.
    pub(crate) pAlreadyPrefixedName: *mut UNICODE_STRING,
    pub(crate) UncleanFobxCount: i32,
    pub(crate) OpenCount: i32,
    pub(crate) Key: PVOID,
    pub(crate) DesiredAccess: u32,
    pub(crate) ShareAccess: u32,
    pub(crate) CreateOptions: u32,
    pub(crate) BufferingFlags: u32,
    pub(crate) ulFileSizeVersion: u32,
    pub(crate) SrvOpenQLinks: LIST_ENTRY,
}

const _: () = {
    assert!(size_of::<SrvOpen>() == 0x70);
    assert!(offset_of!(SrvOpen, pFcb) == 0x08);
    assert!(offset_of!(SrvOpen, pVNetRoot) == 0x10);
    assert!(offset_of!(SrvOpen, Context) == 0x18);
    assert!(offset_of!(SrvOpen, pAlreadyPrefixedName) == 0x30);
    assert!(offset_of!(SrvOpen, Key) == 0x40);
    assert!(offset_of!(SrvOpen, DesiredAccess) == 0x48);
    assert!(offset_of!(SrvOpen, BufferingFlags) == 0x54);
    assert!(offset_of!(SrvOpen, SrvOpenQLinks) == 0x60);
};

/// `MRX_FOBX`.
#[repr(C)]
pub(crate) struct Fobx {
    pub(crate) Header: NodeHeader,
    pub(crate) pSrvOpen: *mut SrvOpen,
    pub(crate) AssociatedFileObject: *mut FILE_OBJECT,
    pub(crate) Context: PVOID,
    pub(crate) Context2: PVOID,
    pub(crate) Flags: u32,
    /// The pattern of a directory's enumeration.
    pub(crate) UnicodeQueryTemplate: UNICODE_STRING,
    pub(crate) OffsetOfNextEaToReturn: u32,
}

const _: () = {
    assert!(size_of::<Fobx>() == 0x48);
    assert!(offset_of!(Fobx, pSrvOpen) == 0x08);
    assert!(offset_of!(Fobx, AssociatedFileObject) == 0x10);
    assert!(offset_of!(Fobx, Context) == 0x18);
    assert!(offset_of!(Fobx, Flags) == 0x28);
    assert!(offset_of!(Fobx, UnicodeQueryTemplate) == 0x30);
    assert!(offset_of!(Fobx, OffsetOfNextEaToReturn) == 0x40);
};

/// `MRX_SRVCALL_CALLBACK_CONTEXT`.
#[repr(C)]
pub(crate) struct SrvCallContext {
    pub(crate) SrvCalldownStructure: *mut SrvCalldown,
    pub(crate) CallbackContextOrdinal: u32,
    pub(crate) RxDeviceObject: *mut RdbssDeviceObject,
    pub(crate) Status: NTSTATUS,
    pub(crate) RecommunicateContext: PVOID,
}

/// `MRX_SRVCALLDOWN_STRUCTURE`, up to its contexts.
#[repr(C)]
pub(crate) struct SrvCalldown {
    pub(crate) FinishEvent: KEVENT,
    pub(crate) SrvCalldownList: LIST_ENTRY,
    pub(crate) RxContext: *mut RxContext,
    pub(crate) SrvCall: *mut SrvCall,
    pub(crate) CallBack: Option<unsafe extern "C" fn(*mut SrvCallContext)>,
}

const _: () = {
    assert!(size_of::<SrvCallContext>() == 0x28);
    assert!(offset_of!(SrvCallContext, RxDeviceObject) == 0x10);
    assert!(offset_of!(SrvCallContext, Status) == 0x18);
    assert!(offset_of!(SrvCallContext, RecommunicateContext) == 0x20);
    assert!(offset_of!(SrvCalldown, SrvCalldownList) == 0x18);
    assert!(offset_of!(SrvCalldown, RxContext) == 0x28);
    assert!(offset_of!(SrvCalldown, SrvCall) == 0x30);
    assert!(offset_of!(SrvCalldown, CallBack) == 0x38);
};

/// `MRX_CREATENETROOT_CONTEXT`.
#[repr(C)]
pub(crate) struct CreateNetRootContext {
    pub(crate) RxContext: *mut RxContext,
    pub(crate) pVNetRoot: *mut VNetRoot,
    pub(crate) FinishEvent: KEVENT,
    pub(crate) VirtualNetRootStatus: NTSTATUS,
    pub(crate) NetRootStatus: NTSTATUS,
    _work_queue_item: [*mut c_void; 5],
    pub(crate) Callback: Option<unsafe extern "C" fn(*mut Self)>,
}

const _: () = {
    assert!(size_of::<CreateNetRootContext>() == 0x60);
    assert!(offset_of!(CreateNetRootContext, pVNetRoot) == 0x08);
    assert!(offset_of!(CreateNetRootContext, VirtualNetRootStatus) == 0x28);
    assert!(offset_of!(CreateNetRootContext, NetRootStatus) == 0x2C);
    assert!(offset_of!(CreateNetRootContext, _work_queue_item) == 0x30);
    assert!(offset_of!(CreateNetRootContext, Callback) == 0x58);
};
