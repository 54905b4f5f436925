//! What happens to addresses by itself: errors, datagrams, and room for sends.

use alloc::{format, sync::Arc};
use core::{ffi::c_void, mem, ptr};

use conform_ioctl::StormCount;
use wdk_sys::{NTSTATUS, PIRP};

use super::{
    calls::dawdle,
    chance::Chance,
    datagrams,
    endpoint::Endpoint,
    events::{accept, handler},
    report::{count, must},
};
use crate::{fixture::PEER, nt::status};

/// Event types (tdi.md §5).
const ERROR: usize = 2;
const RECEIVE_DATAGRAM: usize = 4;
const SEND_POSSIBLE: usize = 6;
/// TDI_RECEIVE_NORMAL.
const NORMAL: u32 = 0x20;

type ErrorHandler = unsafe extern "system" fn(*mut c_void, NTSTATUS) -> NTSTATUS;
type PossibleHandler = unsafe extern "system" fn(*mut c_void, *mut c_void, u32) -> NTSTATUS;
type DatagramHandler = unsafe extern "system" fn(
    *mut c_void,
    i32,
    *mut c_void,
    i32,
    *mut c_void,
    u32,
    u32,
    u32,
    *mut u32,
    *mut c_void,
    *mut PIRP,
) -> NTSTATUS;

/// The address of an endpoint is of no more use.
pub(super) fn error(endpoint: &Endpoint) {
    if let Some(call) = handler(endpoint, ERROR) {
        count(StormCount::AddressErrors);
        // SAFETY: Registered for this event, so of this type.
        let routine = unsafe { mem::transmute::<*mut c_void, ErrorHandler>(call.routine) };
        // SAFETY: Arguments as tdi.md §5 describes them.
        unsafe { routine(call.context, status::LINK_FAILED) };
    }
}

/// The transport has room for sends again: of an endpoint, or of nobody that it could name.
pub(super) fn send_possible(endpoint: &Endpoint, chance: &mut Chance) {
    let Some(call) = handler(endpoint, SEND_POSSIBLE) else {
        return;
    };
    let token = if chance.percent(80) {
        endpoint.token
    } else {
        0
    };
    // SAFETY: Registered for this event, so of this type.
    let routine = unsafe { mem::transmute::<*mut c_void, PossibleHandler>(call.routine) };
    // SAFETY: Arguments as tdi.md §5 describes them.
    let answer = unsafe {
        routine(
            call.context,
            ptr::without_provenance_mut(token),
            chance.below(10_000),
        )
    };
    must(answer == status::SUCCESS, || {
        format!("a send-possible handler answered {answer:#010x}")
    });
}

/// A datagram comes to the address of an endpoint.
pub(super) fn datagram(endpoint: &Arc<Endpoint>, chance: &mut Chance) {
    let Some(call) = handler(endpoint, RECEIVE_DATAGRAM) else {
        return;
    };
    let mut bytes = [datagrams::BYTE; 60];
    let indicated = chance.below(60).saturating_add(1);
    let available = indicated.saturating_add(chance.pick(&[0, 1, 300]));
    let mut source = PEER;
    let mut taken = 0;
    let mut irp: PIRP = ptr::null_mut();
    // SAFETY: Registered for this event, so of this type.
    let routine = unsafe { mem::transmute::<*mut c_void, DatagramHandler>(call.routine) };
    // SAFETY: Arguments as tdi.md §5 describes them; address and data are valid for the call.
    let answer = unsafe {
        routine(
            call.context,
            i32::try_from(source.len()).unwrap_or_default(),
            source.as_mut_ptr().cast(),
            0,
            ptr::null_mut(),
            NORMAL,
            indicated,
            available,
            &raw mut taken,
            bytes.as_mut_ptr().cast(),
            &raw mut irp,
        )
    };
    let more = answer == status::MORE_PROCESSING_REQUIRED;
    let known = more || answer == status::SUCCESS || answer == status::DATA_NOT_ACCEPTED;
    must(known && more != irp.is_null() && taken <= indicated, || {
        format!("a datagram handler answered {answer:#010x}, {taken} of {indicated}, IRP {irp:p}")
    });
    dawdle(chance);
    if !irp.is_null() {
        // SAFETY: Handed back by the handler.
        unsafe { accept(irp) };
    }
}
