//! The send (rxce.md §5.11), with fourteen calls of the kernel where a request lies on the shelf and is over when `IofCallDriver` returns,
//! and sixteen where it is not.

use client_nt::status::Result;
use wdk_sys::{PMDL, PVOID, STATUS_CONNECTION_DISCONNECTED, ntddk::IoGetRelatedDeviceObject};

use super::{circuit::Circuit, record::Record, registry::Ref};
use crate::floor::request;

/// Sends, with the reference that the caller has.
///
/// # Errors
///
/// Not connected, or no memory.
///
/// # Safety
///
/// As [`crate::client::Client::send`].
pub(super) unsafe fn send(circuit: Ref<Circuit>, mdl: PMDL, length: u32, context: PVOID) -> Result {
    // SAFETY: The reference keeps it: the caller's, later the request's.
    let this = unsafe { circuit.as_non_null().as_ref() };
    let endpoint = this.endpoint()?;
    // SAFETY: The endpoint is open.
    let device = unsafe { IoGetRelatedDeviceObject(endpoint.object()) };
    // SAFETY: An open file keeps its device.
    let stack_size = unsafe { (*device).StackSize };
    let record = this.shelf().take(stack_size)?.into_raw();
    // SAFETY: Idle, and given up above.
    unsafe { Record::arm(record, circuit, context) };
    // SAFETY: The caller has a part.
    let armed = unsafe { record.as_ref() };
    let listed = this.hold(|life| {
        let active = life.is_active();
        if active {
            // SAFETY: Armed above.
            unsafe { life.list(armed) };
        }
        active
    });
    if !listed {
        // SAFETY: Not listed.
        unsafe { Record::disarm(record) };
        return Err(STATUS_CONNECTION_DISCONNECTED);
    }
    let call = (request::SEND, [length as usize, 0, 0, 0]);
    // SAFETY: Listed above; forwarded.
    unsafe { Record::send(record, (endpoint, device), call, mdl) };
    // SAFETY: The caller's part.
    unsafe { Record::drop_part(record) };
    Ok(())
}
