//! Event Tracing for Windows. Wine's kernel has none: no provider can be registered, and drivers go without.

use wdk_sys::{
    LPCGUID, NTSTATUS, PCEVENT_DESCRIPTOR, PETWENABLECALLBACK, PEVENT_DATA_DESCRIPTOR, PREGHANDLE,
    PVOID, REGHANDLE, STATUS_INVALID_HANDLE, STATUS_NOT_SUPPORTED, ULONG,
};

#[unsafe(no_mangle)]
extern "C" fn shim_EtwRegister(
    _: LPCGUID,
    _: PETWENABLECALLBACK,
    _: PVOID,
    _: PREGHANDLE,
) -> NTSTATUS {
    STATUS_NOT_SUPPORTED
}

#[unsafe(no_mangle)]
extern "C" fn shim_EtwUnregister(_: REGHANDLE) -> NTSTATUS {
    STATUS_INVALID_HANDLE
}

#[unsafe(no_mangle)]
extern "C" fn shim_EtwWriteTransfer(
    _: REGHANDLE,
    _: PCEVENT_DESCRIPTOR,
    _: LPCGUID,
    _: LPCGUID,
    _: ULONG,
    _: PEVENT_DATA_DESCRIPTOR,
) -> NTSTATUS {
    STATUS_INVALID_HANDLE
}
