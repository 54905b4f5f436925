//! Answers to TDI_QUERY_INFORMATION (spec tdi.md §6, §7).

use std::net::SocketAddr;

use super::{address, memory};
use crate::clock;
use crate::io::complete::complete_with;
use crate::io::status;
use crate::layout::io::Irp;
use crate::mem::peek;

/// TDI_QUERY_PROVIDER_INFO.
pub(crate) const PROVIDER_INFO: u32 = 2;
/// TDI_QUERY_ADDRESS_INFO.
pub(crate) const ADDRESS_INFO: u32 = 3;
/// TDI_QUERY_CONNECTION_INFO.
pub(crate) const CONNECTION_INFO: u32 = 4;
/// TDI_QUERY_DATAGRAM_INFO.
pub(crate) const DATAGRAM_INFO: u32 = 6;
/// TDI_QUERY_MAX_DATAGRAM_INFO.
pub(crate) const MAX_DATAGRAM_INFO: u32 = 9;

/// What differs between the transports in TDI_PROVIDER_INFO.
pub(crate) struct Provider {
    pub(crate) max_send: u32,
    pub(crate) max_datagram: u32,
    pub(crate) service_flags: u32,
    pub(crate) min_lookahead: u32,
    pub(crate) max_lookahead: u32,
}

/// TDI_PROVIDER_INFO.
pub(crate) fn provider(provider: &Provider) -> Vec<u8> {
    let mut info = Vec::with_capacity(0x28);
    let words = [
        0x0200_u32,
        provider.max_send,
        0,
        provider.max_datagram,
        provider.service_flags,
        provider.min_lookahead,
        provider.max_lookahead,
        0,
    ];
    for word in words {
        info.extend(word.to_le_bytes());
    }
    info.extend((clock::system_time() - clock::interrupt_time()).to_le_bytes());
    info
}

/// TDI_ADDRESS_INFO.
pub(crate) fn address(local: &SocketAddr, activity: u32) -> Vec<u8> {
    let mut info = activity.to_le_bytes().to_vec();
    info.extend(address::encode(local));
    info
}

/// Writes as much of an answer as fits: (status, Information).
pub(crate) fn write(irp: Irp, info: &[u8]) -> (i32, usize) {
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
pub(crate) fn answer(irp: Irp, info: &[u8]) -> i32 {
    let (result, length) = write(irp, info);
    complete_with(irp, result, length);
    result
}
