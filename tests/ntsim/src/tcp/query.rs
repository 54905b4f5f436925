//! What TDI_QUERY_INFORMATION tells about TCP.

use crate::tdi::query::{self, Provider};

/// CONNECTION_MODE, ORDERLY_RELEASE, ERROR_FREE_DELIVERY, NO_PUSH: what TCP promises.
const SERVICE_FLAGS: u32 = 0x1 | 0x2 | 0x8 | 0x40_0000;

/// TDI_PROVIDER_INFO.
pub(super) fn provider() -> Vec<u8> {
    query::provider(&Provider {
        max_send: u32::MAX,
        max_datagram: 0,
        service_flags: SERVICE_FLAGS,
        min_lookahead: 1,
        max_lookahead: 0x1_0000,
    })
}

/// TDI_CONNECTION_INFO.
pub(super) fn connection(sent: u32, received: u32) -> Vec<u8> {
    let mut info = Vec::with_capacity(0x38);
    // State 0, Event 0, TransmittedTsdus, ReceivedTsdus, TransmissionErrors 0, ReceiveErrors 0
    for value in [0, 0, sent, received, 0, 0] {
        info.extend(value.to_le_bytes());
    }
    // Throughput and Delay: unknown is all ones and zero; buffers of 64 KiB; not unreliable.
    info.extend((-1_i64).to_le_bytes());
    info.extend(0_i64.to_le_bytes());
    for value in [0x1_0000_u32, 0x1_0000, 0, 0] {
        info.extend(value.to_le_bytes());
    }
    info
}
