//! TDI_QUERY_INFORMATION (spec tdi.md §6, §7).

use std::net::SocketAddr;

use super::address;
use super::memory;
use crate::clock;
use crate::io::complete::complete_with;
use crate::io::status;
use crate::layout::io::Irp;
use crate::mem::peek;

/// CONNECTION_MODE, ORDERLY_RELEASE, ERROR_FREE_DELIVERY, NO_ZERO_LENGTH not set, INTERNAL_BUFFERING, DELAYED_ACCEPTANCE not
/// set, NO_PUSH: what TCP promises.
const SERVICE_FLAGS: u32 = 0x1 | 0x2 | 0x8 | 0x40_0000;

/// TDI_PROVIDER_INFO.
pub(super) fn provider() -> Vec<u8> {
    let mut info = Vec::with_capacity(0x28);
    for value in [0x0200_u32, u32::MAX, 0, 0, SERVICE_FLAGS, 1, 0x10000, 0] {
        info.extend(value.to_le_bytes());
    }
    info.extend((clock::system_time() - clock::interrupt_time()).to_le_bytes());
    info
}

/// TDI_ADDRESS_INFO.
pub(super) fn address(local: &SocketAddr, activity: u32) -> Vec<u8> {
    let mut info = activity.to_le_bytes().to_vec();
    info.extend(address::encode(local));
    info
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

/// Writes as much of an answer as fits: (status, Information).
pub(super) fn write(irp: Irp, info: &[u8]) -> (i32, usize) {
    let mut room = 0;
    let mut mdl = irp.mdl().get();
    while mdl != 0 {
        room += peek::<u32>(mdl + 0x28) as usize;
        mdl = peek(mdl);
    }
    let length = room.min(info.len());
    memory::fill(
        &memory::pieces(irp, length),
        info.get(..length).unwrap_or_default(),
    );
    (
        if length < info.len() {
            status::BUFFER_OVERFLOW
        } else {
            status::SUCCESS
        },
        length,
    )
}

/// Answers a query in its dispatch routine.
pub(super) fn answer(irp: Irp, info: &[u8]) -> i32 {
    let (result, length) = write(irp, info);
    complete_with(irp, result, length);
    result
}
