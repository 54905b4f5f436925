//! `RX_CONTEXT`, the request as RDBSS hands it down.

use core::{ffi::c_void, mem::offset_of};

use wdk_sys::{IO_STACK_LOCATION, IRP, NTSTATUS, PMDL, PVOID};

use super::{Fobx, MrxFcb, NetRoot, RdbssDeviceObject, SrvCall, SrvOpen, VNetRoot};

/// `RX_CONTEXT`, without the debugging build's tracker.
#[repr(C)]
pub(crate) struct RxContext {
    pub(crate) NodeTypeCode: u16,
    pub(crate) NodeByteSize: i16,
    pub(crate) ReferenceCount: u32,
    _list_entry: [usize; 2],
    pub(crate) MajorFunction: u8,
    pub(crate) MinorFunction: u8,
    pub(crate) PendingReturned: u8,
    /// TRUE: RDBSS runs the request again, in a worker.
    pub(crate) PostRequest: u8,
    _real_device: usize,
    pub(crate) CurrentIrp: *mut IRP,
    pub(crate) CurrentIrpSp: *mut IO_STACK_LOCATION,
    pub(crate) pFcb: *mut MrxFcb,
    pub(crate) pFobx: *mut Fobx,
    pub(crate) pRelevantSrvOpen: *mut SrvOpen,
    _nonpaged_fcb: usize,
    pub(crate) RxDeviceObject: *mut RdbssDeviceObject,
    _threads: [usize; 2],
    _lock_manager_context: usize,
    _debug_extension: usize,
    _scavenger_entry: [usize; 4],
    _serial_numbers: [u32; 2],
    pub(crate) Flags: u32,
    _status_alignment: u32,
    /// `IoStatusBlock.Status`.
    pub(crate) StoredStatus: NTSTATUS,
    _status_pointer_high: u32,
    /// `IoStatusBlock.Information`.
    pub(crate) InformationToReturn: usize,
    pub(crate) MRxContext: [PVOID; 4],
    _write_only_open_retry_context: usize,
    pub(crate) MRxCancelRoutine: PVOID,
    _resume_routine: usize,
    _work_queue_item: [usize; 5],
    _overflow_list_entry: [usize; 2],
    _sync_event: [usize; 3],
    _blocked_operations: [usize; 2],
    _blocked_operations_mutex: usize,
    _serialization_links: [usize; 2],
    /// `Info`, of queries of any kind.
    pub(crate) Info: Info,
    /// The union of what belongs to one kind of operation.
    pub(crate) Operation: MajorOperation,
}

const _: () = {
    assert!(size_of::<RxContext>() == 0x278);
    assert!(offset_of!(RxContext, ReferenceCount) == 0x04);
    assert!(offset_of!(RxContext, MajorFunction) == 0x18);
    assert!(offset_of!(RxContext, PostRequest) == 0x1B);
    assert!(offset_of!(RxContext, CurrentIrp) == 0x28);
    assert!(offset_of!(RxContext, CurrentIrpSp) == 0x30);
    assert!(offset_of!(RxContext, pFcb) == 0x38);
    assert!(offset_of!(RxContext, pFobx) == 0x40);
    assert!(offset_of!(RxContext, pRelevantSrvOpen) == 0x48);
    assert!(offset_of!(RxContext, RxDeviceObject) == 0x58);
    assert!(offset_of!(RxContext, _scavenger_entry) == 0x80);
    assert!(offset_of!(RxContext, _serial_numbers) == 0xA0);
    assert!(offset_of!(RxContext, Flags) == 0xA8);
    assert!(offset_of!(RxContext, StoredStatus) == 0xB0);
    assert!(offset_of!(RxContext, InformationToReturn) == 0xB8);
    assert!(offset_of!(RxContext, MRxContext) == 0xC0);
    assert!(offset_of!(RxContext, MRxCancelRoutine) == 0xE8);
    assert!(offset_of!(RxContext, _work_queue_item) == 0xF8);
    assert!(offset_of!(RxContext, _overflow_list_entry) == 0x120);
    assert!(offset_of!(RxContext, _sync_event) == 0x130);
    assert!(offset_of!(RxContext, _blocked_operations) == 0x148);
    assert!(offset_of!(RxContext, Info) == 0x170);
    assert!(offset_of!(RxContext, Operation) == 0x190);
};

impl RxContext {
    /// The request that a callback was given.
    ///
    /// # Safety
    ///
    /// RDBSS's request, which nobody else uses until the callback has returned, or has completed it.
    pub(crate) const unsafe fn of<'a>(context: *mut Self) -> &'a mut Self {
        // SAFETY: Forwarded.
        unsafe { &mut *context }
    }

    /// The parameters of a create.
    ///
    /// # Safety
    ///
    /// The request is one.
    pub(crate) unsafe fn create(&mut self) -> &mut Create {
        // SAFETY: Forwarded.
        unsafe { &mut self.Operation.Create }
    }

    /// The parameters of a directory query.
    ///
    /// # Safety
    ///
    /// The request is one.
    pub(crate) const unsafe fn query_directory(&self) -> QueryDirectory {
        // SAFETY: Forwarded; any bytes are such parameters.
        unsafe { self.Operation.QueryDirectory }
    }

    /// The parameters of a read.
    ///
    /// # Safety
    ///
    /// The request is one.
    pub(crate) unsafe fn read_write(&self) -> ReadWrite {
        // SAFETY: Forwarded.
        let low_io = unsafe { &self.Operation.LowIo };
        // SAFETY: Forwarded.
        unsafe { low_io.LowIoContext.ParamsFor.ReadWrite }
    }

    /// The parameters of a control request.
    ///
    /// # Safety
    ///
    /// The request is one.
    pub(crate) unsafe fn control(&self) -> XxControl {
        // SAFETY: Forwarded.
        let low_io = unsafe { &self.Operation.LowIo };
        // SAFETY: Forwarded.
        unsafe { low_io.LowIoContext.ParamsFor.XxControl }
    }
}

/// `RX_CONTEXT.Info`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Info {
    /// `FileInformationClass` or `FsInformationClass`.
    pub(crate) InformationClass: u32,
    pub(crate) Buffer: PVOID,
    /// On entry the length of the buffer; what is left of it on return.
    pub(crate) LengthRemaining: i32,
    pub(crate) ReplaceIfExists: u8,
    pub(crate) AdvanceOnly: u8,
    _prefix_claim: usize,
}

const _: () = {
    assert!(size_of::<Info>() == 0x20);
    assert!(offset_of!(Info, Buffer) == 0x08);
    assert!(offset_of!(Info, LengthRemaining) == 0x10);
};

/// The last union of `RX_CONTEXT`.
#[repr(C)]
pub(crate) union MajorOperation {
    pub(crate) Create: core::mem::ManuallyDrop<Create>,
    pub(crate) QueryDirectory: QueryDirectory,
    pub(crate) LowIo: core::mem::ManuallyDrop<LowIo>,
    _size: [u64; 29],
}

/// `RX_CONTEXT.Create`, from `NT_CREATE_PARAMETERS` on.
#[repr(C)]
pub(crate) struct Create {
    pub(crate) DesiredAccess: u32,
    pub(crate) AllocationSize: i64,
    pub(crate) FileAttributes: u32,
    pub(crate) ShareAccess: u32,
    pub(crate) Disposition: u32,
    pub(crate) CreateOptions: u32,
    pub(crate) SecurityContext: PVOID,
    _dfs: [usize; 3],
    /// `FILE_OPENED` and its like.
    pub(crate) ReturnedCreateInformation: u32,
    _canonical_name_buffer: usize,
    _net_name_prefix_entry: usize,
    pub(crate) pSrvCall: *mut SrvCall,
    pub(crate) pNetRoot: *mut NetRoot,
    pub(crate) pVNetRoot: *mut VNetRoot,
    pub(crate) EaBuffer: PVOID,
    pub(crate) EaLength: u32,
    _pipe_and_flags: [u8; 0x17],
    pub(crate) ThisIsATreeConnectOpen: u8,
}

const _: () = {
    assert!(offset_of!(Create, AllocationSize) == 0x08);
    assert!(offset_of!(Create, ShareAccess) == 0x14);
    assert!(offset_of!(Create, Disposition) == 0x18);
    assert!(offset_of!(Create, CreateOptions) == 0x1C);
    assert!(offset_of!(Create, SecurityContext) == 0x20);
    // 0x1D0: the last word before the two pointers in front of `pSrvCall`.
    assert!(offset_of!(Create, ReturnedCreateInformation) == 0x40);
    assert!(offset_of!(Create, pSrvCall) == 0x1E8 - 0x190);
    assert!(offset_of!(Create, pVNetRoot) == 0x1F8 - 0x190);
    assert!(offset_of!(Create, EaBuffer) == 0x200 - 0x190);
    assert!(offset_of!(Create, EaLength) == 0x208 - 0x190);
    assert!(offset_of!(Create, ThisIsATreeConnectOpen) == 0x223 - 0x190);
};

/// `RX_CONTEXT.QueryDirectory`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct QueryDirectory {
    pub(crate) FileIndex: u32,
    pub(crate) RestartScan: u8,
    pub(crate) ReturnSingleEntry: u8,
    pub(crate) IndexSpecified: u8,
    pub(crate) InitialQuery: u8,
}

const _: () = {
    assert!(size_of::<QueryDirectory>() == 8);
    assert!(offset_of!(QueryDirectory, RestartScan) == 4);
    assert!(offset_of!(QueryDirectory, InitialQuery) == 7);
};

/// What of `RX_CONTEXT` belongs to reads, locks and control requests.
#[repr(C)]
pub(crate) struct LowIo {
    pub(crate) FlagsForLowIo: u32,
    pub(crate) LowIoContext: LowIoContext,
}

/// `LOWIO_CONTEXT`.
#[repr(C)]
pub(crate) struct LowIoContext {
    pub(crate) Operation: u16,
    pub(crate) Flags: u16,
    pub(crate) CompletionRoutine: PVOID,
    pub(crate) Resource: PVOID,
    pub(crate) ResourceThreadId: usize,
    pub(crate) ParamsFor: ParamsFor,
}

/// The union of `LOWIO_CONTEXT`.
#[repr(C)]
pub(crate) union ParamsFor {
    pub(crate) ReadWrite: ReadWrite,
    pub(crate) XxControl: XxControl,
}

/// `ParamsFor.ReadWrite`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ReadWrite {
    pub(crate) Flags: u32,
    pub(crate) Buffer: PMDL,
    pub(crate) ByteOffset: i64,
    pub(crate) ByteCount: u32,
    pub(crate) Key: u32,
    _nonpaged_fcb: *mut c_void,
}

/// `ParamsFor.FsCtl` and `ParamsFor.IoCtl`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct XxControl {
    pub(crate) Flags: u32,
    pub(crate) Code: u32,
    pub(crate) InputBufferLength: u32,
    pub(crate) pInputBuffer: PVOID,
    pub(crate) OutputBufferLength: u32,
    pub(crate) pOutputBuffer: PVOID,
    pub(crate) MinorFunction: u8,
}

const _: () = {
    assert!(offset_of!(LowIo, LowIoContext) == 0x198 - 0x190);
    assert!(size_of::<LowIoContext>() == 0x50);
    assert!(offset_of!(LowIoContext, CompletionRoutine) == 0x08);
    assert!(offset_of!(LowIoContext, Resource) == 0x10);
    assert!(offset_of!(LowIoContext, ResourceThreadId) == 0x18);
    assert!(offset_of!(LowIoContext, ParamsFor) == 0x20);
    assert!(offset_of!(ReadWrite, Buffer) == 0x08);
    assert!(offset_of!(ReadWrite, ByteOffset) == 0x10);
    assert!(offset_of!(ReadWrite, ByteCount) == 0x18);
    assert!(size_of::<ReadWrite>() == 0x28);
    assert!(offset_of!(XxControl, Code) == 0x04);
    assert!(offset_of!(XxControl, InputBufferLength) == 0x08);
    assert!(offset_of!(XxControl, pInputBuffer) == 0x10);
    assert!(offset_of!(XxControl, OutputBufferLength) == 0x18);
    assert!(offset_of!(XxControl, pOutputBuffer) == 0x20);
    assert!(offset_of!(XxControl, MinorFunction) == 0x28);
    assert!(size_of::<XxControl>() == 0x30);
};
