//! What `tdikrnl.h` and `tdi.h` declare, by bindgen, with the sizes that the wire format demands.
#![expect(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::allow_attributes,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    clippy::allow_attributes_without_reason,
    reason = "generated from the TDI headers"
)]

use core::mem::offset_of;

include!(concat!(env!("OUT_DIR"), "/tdi.rs"));

const _: () = {
    assert!(size_of::<TDI_PROVIDER_INFO>() == 0x28);
    assert!(offset_of!(TDI_PROVIDER_INFO, ServiceFlags) == 0x10);
    assert!(size_of::<TDI_CONNECTION_INFORMATION>() == 0x30);
    assert!(offset_of!(TDI_CONNECTION_INFORMATION, RemoteAddress) == 0x28);
    assert!(TDI_ASSOCIATE_ADDRESS == 1 && TDI_CONNECT == 3 && TDI_DISCONNECT == 6 && TDI_SEND == 7);
    assert!(TDI_RECEIVE == 8 && TDI_SET_EVENT_HANDLER == 0xB && TDI_QUERY_INFORMATION == 0xC);
    assert!(TDI_EVENT_DISCONNECT == 1 && TDI_EVENT_ERROR == 2 && TDI_EVENT_RECEIVE == 3);
    assert!(TDI_EVENT_RECEIVE_EXPEDITED == 5 && TDI_EVENT_SEND_POSSIBLE == 6);
    assert!(TDI_SERVICE_CONNECTION_MODE == 1 && TDI_SERVICE_ORDERLY_RELEASE == 2);
    assert!(TDI_SERVICE_EXPEDITED_DATA == 0x100 && TDI_SERVICE_INTERNAL_BUFFERING == 0x200);
    assert!(TDI_SERVICE_NO_ZERO_LENGTH == 0x800);
    assert!(TDI_RECEIVE_NORMAL == 0x20 && TDI_RECEIVE_EXPEDITED == 0x40);
    assert!(TDI_QUERY_PROVIDER_INFO == 2);
};
