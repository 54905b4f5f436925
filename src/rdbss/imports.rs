//! The routines of RDBSS that the driver calls: imported from `rdbss.sys`, or linked from the WDK's `rdbsslib.lib`.

use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PEPROCESS, PVOID, UNICODE_STRING, WORK_QUEUE_TYPE};

use super::abi::{Fobx, MinirdrDispatch, MrxFcb, RdbssDeviceObject, RxContext, SrvOpen};

/// `PRX_WORKERTHREAD_ROUTINE`.
pub(crate) type WorkerRoutine = unsafe extern "C" fn(PVOID);

/// `FCB_INIT_PACKET`: pointers, of which NULL means "leave it".
#[repr(C)]
#[expect(non_snake_case, reason = "documented DDI names")]
pub(crate) struct FcbInitPacket {
    pub(crate) pAttributes: *mut u32,
    pub(crate) pNumLinks: *mut u32,
    pub(crate) pCreationTime: *mut i64,
    pub(crate) pLastAccessTime: *mut i64,
    pub(crate) pLastWriteTime: *mut i64,
    pub(crate) pLastChangeTime: *mut i64,
    pub(crate) pAllocationSize: *mut i64,
    pub(crate) pFileSize: *mut i64,
    pub(crate) pValidDataLength: *mut i64,
}

const _: () = assert!(size_of::<FcbInitPacket>() == 0x48);

#[cfg_attr(
    not(feature = "rdbss-static"),
    link(name = "rdbss.sys", kind = "raw-dylib", modifiers = "+verbatim")
)]
#[cfg_attr(feature = "rdbss-static", link(name = "rdbsslib"))]
unsafe extern "C" {
    /// "RxRegisterMinirdr function (mrx.h)".
    pub(crate) fn RxRegisterMinirdr(
        device: *mut *mut RdbssDeviceObject,
        driver: *mut DRIVER_OBJECT,
        dispatch: *mut MinirdrDispatch,
        controls: u32,
        name: *mut UNICODE_STRING,
        extension_size: u32,
        device_type: u32,
        characteristics: u32,
    ) -> NTSTATUS;

    /// What "RxUnregisterMinirdr function (rxstruc.h)", an inline routine, calls.
    pub(crate) fn RxpUnregisterMinirdr(device: *mut RdbssDeviceObject);

    /// "RxStartMinirdr function (mrx.h)".
    pub(crate) fn RxStartMinirdr(context: *mut RxContext, post_to_fsp: *mut u8) -> NTSTATUS;

    /// "RxStopMinirdr function (mrx.h)".
    pub(crate) fn RxStopMinirdr(context: *mut RxContext, post_to_fsp: *mut u8) -> NTSTATUS;

    /// "RxGetRDBSSProcess function (rxprocs.h)".
    pub(crate) fn RxGetRDBSSProcess() -> PEPROCESS;

    /// "RxDispatchToWorkerThread function (rxworkq.h)".
    pub(crate) fn RxDispatchToWorkerThread(
        device: *mut RdbssDeviceObject,
        queue: WORK_QUEUE_TYPE,
        routine: Option<WorkerRoutine>,
        context: PVOID,
    ) -> NTSTATUS;

    /// "RxLowIoCompletion function (lowio.h)".
    pub(crate) fn RxLowIoCompletion(context: *mut RxContext) -> NTSTATUS;

    /// "RxFinishFcbInitialization function (mrxfcb.h)".
    pub(crate) fn RxFinishFcbInitialization(
        fcb: *mut MrxFcb,
        node_type: u32,
        packet: *mut FcbInitPacket,
    );

    /// "RxCreateNetFobx function (mrxfcb.h)".
    pub(crate) fn RxCreateNetFobx(context: *mut RxContext, open: *mut SrvOpen) -> *mut Fobx;
}

#[cfg(feature = "rdbss-static")]
unsafe extern "C" {
    /// "RxDriverEntry function (rxprocs.h)". Anything but zero is a failure: its error code is a positive number.
    pub(crate) fn RxDriverEntry(
        driver: *mut DRIVER_OBJECT,
        registry_path: *mut UNICODE_STRING,
    ) -> NTSTATUS;

    /// The counterpart that `rxprocs.h` declares.
    pub(crate) fn RxUnload(driver: *mut DRIVER_OBJECT);
}
