//! Memory routines.

use crate::gate::Call;
use crate::stop::{self, Stop};

pub(super) fn memcpy(call: &Call) -> u64 {
    let (to, from, bytes) = (call.addr(0), call.addr(1), call.addr(2));
    if bytes != 0
        && to < from.saturating_add(bytes)
        && from < to.saturating_add(bytes)
        && to != from
    {
        stop::enforce(
            Stop::verifier(0xF0),
            [to as u64, from as u64, bytes as u64],
            format!("overlapping copy by {}", stop::describe(call.caller())),
        );
    }
    memmove(call)
}

pub(super) fn memmove(call: &Call) -> u64 {
    // SAFETY: The driver vouches for both ranges; a bad one faults, and the report names this routine and its caller.
    unsafe { core::ptr::copy(call.ptr::<u8>(1), call.ptr::<u8>(0), call.addr(2)) };
    call.arg(0)
}

pub(super) fn memset(call: &Call) -> u64 {
    // SAFETY: As in `memmove`.
    unsafe { core::ptr::write_bytes(call.ptr::<u8>(0), call.u8(1), call.addr(2)) };
    call.arg(0)
}

pub(super) fn rtl_zero_memory(call: &Call) -> u64 {
    // SAFETY: As in `memmove`.
    unsafe { core::ptr::write_bytes(call.ptr::<u8>(0), 0, call.addr(1)) };
    0
}

pub(super) fn rtl_fill_memory(call: &Call) -> u64 {
    // SAFETY: As in `memmove`.
    unsafe { core::ptr::write_bytes(call.ptr::<u8>(0), call.u8(2), call.addr(1)) };
    0
}

fn bytes(call: &Call, n: usize, length: usize) -> &'static [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: As in `memmove`.
    unsafe { core::slice::from_raw_parts(call.ptr::<u8>(n), length) }
}

pub(super) fn memcmp(call: &Call) -> u64 {
    let length = call.addr(2);
    let order = bytes(call, 0, length).cmp(bytes(call, 1, length)) as i32;
    u64::from(order.cast_unsigned())
}

/// Number of equal bytes up to the first difference.
pub(super) fn rtl_compare_memory(call: &Call) -> u64 {
    let length = call.addr(2);
    let pairs = bytes(call, 0, length).iter().zip(bytes(call, 1, length));
    pairs.take_while(|(left, right)| left == right).count() as u64
}
