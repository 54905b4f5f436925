//! The end of a circuit: the disconnect that a client initiates (rxce.md §5.12), and the tear-down (§5.13).

use core::ptr;

use client_nt::{
    pool::NonPaged,
    status::{Result, check},
};
use rxce_client::RXCE_VC;
use wdk_sys::ntddk::IoGetRelatedDeviceObject;

use super::{
    circuit::Circuit,
    life::{Claim, Look},
    record::{Home, Record},
    registry::Ref,
};
use crate::floor::{TAG, request};

/// What a RELEASE is given: eight seconds from now, in units of 100 ns.
static TIMEOUT: i64 = -80_000_000;

fn call(flags: usize) -> (u8, [usize; 4]) {
    let timeout = match flags {
        request::RELEASE => (&raw const TIMEOUT).expose_provenance(),
        _ => 0,
    };
    (request::DISCONNECT, [flags, 0, 0, timeout])
}

/// Begins to disconnect.
///
/// # Errors
///
/// `STATUS_INVALID_PARAMETER` for a circuit that is being torn down; no memory, with nothing changed.
pub(super) fn disconnect(circuit: Ref<Circuit>) -> Result {
    if circuit.hold(|life| life.look())? == Look::Over {
        return Ok(());
    }
    // SAFETY: The reference keeps it: the caller's, later the request's.
    let this = unsafe { circuit.as_non_null().as_ref() };
    let endpoint = this.endpoint()?;
    // SAFETY: The endpoint is open.
    let device = unsafe { IoGetRelatedDeviceObject(endpoint.object()) };
    // SAFETY: An open file keeps its device.
    let stack_size = unsafe { (*device).StackSize };
    let record = match Record::allocate(stack_size, Home::Pool) {
        Ok(record) => record.into_raw(),
        // Another one may have been faster (step 6).
        Err(status) => {
            return match circuit.hold(|life| life.look())? {
                Look::Over => Ok(()),
                Look::Owed => Err(status),
            };
        }
    };
    // SAFETY: New, and given up above.
    unsafe { Record::arm(record, circuit, ptr::null_mut()) };
    // SAFETY: The caller has a part.
    let armed = unsafe { record.as_ref() };
    let decided = this.change(|life| {
        let decided = life.disconnect();
        if let Ok(Some(_)) = decided {
            // SAFETY: Armed above.
            unsafe { life.list(armed) };
        }
        decided
    });
    let Ok(Some(flags)) = decided else {
        // SAFETY: Not listed.
        unsafe { Record::disarm(record) };
        return decided.map(|_| ());
    };
    // SAFETY: Listed above; the time-out is a constant.
    unsafe {
        Record::send(record, (endpoint, device), call(flags), ptr::null_mut());
    }
    // SAFETY: The caller's part.
    unsafe { Record::drop_part(record) };
    Ok(())
}

/// Tears a circuit down, at `PASSIVE_LEVEL`.
///
/// # Errors
///
/// `STATUS_INVALID_PARAMETER` for a circuit that is being built or torn down, with nothing changed; or the status of the
/// disconnect that was sent here, and the circuit is gone.
pub(super) fn tear_down(circuit: Ref<Circuit>) -> Result {
    let result = match circuit.change(|life| life.claim())? {
        Claim::Idle => Ok(()),
        Claim::Busy => {
            circuit.wait_for(|life| life.idle());
            Ok(())
        }
        Claim::Owing => drain(&circuit),
    };
    // SAFETY: Claimed above.
    unsafe { dismantle(circuit) };
    result
}

/// Sends the disconnect that is owed, and waits until nothing is under way (steps 6 and 7, without their time-outs).
fn drain(circuit: &Ref<Circuit>) -> Result {
    let record = circuit.kept_disconnect();
    let endpoint = circuit.endpoint()?;
    // SAFETY: The endpoint is open.
    let device = unsafe { IoGetRelatedDeviceObject(endpoint.object()) };
    // SAFETY: It lives as long as the circuit.
    let kept = unsafe { record.as_ref() };
    // SAFETY: An open file keeps its device.
    let fits = unsafe { (*device).StackSize } <= kept.packet().stack_size();
    let mut sent = false;
    if fits && let Some(reference) = circuit.again() {
        // SAFETY: Idle: there is one tear-down. It is a part of its circuit.
        unsafe { Record::arm(record, reference, ptr::null_mut()) };
        sent = circuit.change(|life| {
            let owed = life.take_owed_disconnect();
            if owed {
                // SAFETY: Armed above.
                unsafe { life.list(kept) };
            }
            owed
        });
        if sent {
            let target = (endpoint, device);
            // SAFETY: Listed above; the time-out is a constant.
            unsafe { Record::send(record, target, call(request::RELEASE), ptr::null_mut()) };
        } else {
            // SAFETY: Not listed.
            unsafe { Record::disarm(record) };
        }
    }
    let peer_was_first = circuit.wait_for(|life| {
        let peer_was_first = life.peer_has_disconnected();
        life.idle().map(|()| peer_was_first)
    });
    if !sent {
        return Ok(());
    }
    // SAFETY: It is over.
    let status = unsafe { kept.status() };
    // SAFETY: The sender's part.
    unsafe { Record::drop_part(record) };
    if peer_was_first {
        Ok(())
    } else {
        check(status)
    }
}

/// Takes a circuit apart (steps 8 to 11).
///
/// # Safety
///
/// The caller has claimed the circuit, or builds it; nothing is under way.
pub(super) unsafe fn dismantle(circuit: Ref<Circuit>) {
    circuit.root().ids.give_back(circuit.id.get());
    // SAFETY: Forwarded.
    let block = unsafe { circuit.run_down() };
    // SAFETY: The caller's alone now.
    let circuit = unsafe { block.as_ref() };
    // SAFETY: As above.
    unsafe { circuit.close() };
    let (root, public) = (circuit.root(), circuit.public());
    // SAFETY: The build has counted it in.
    unsafe { root.unpin(Some(circuit)) };
    // SAFETY: The structure is reserved until the next call.
    unsafe { public.write(RXCE_VC::default()) };
    root.pointers.remove(circuit);
    // SAFETY: The build gave it up, and nobody finds it any more.
    drop(unsafe { NonPaged::from_raw(block, TAG) });
}
