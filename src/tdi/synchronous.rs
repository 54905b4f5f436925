//! Requests whose end the caller waits for.

use core::cell::UnsafeCell;

use rxce_engine::Error;
use wdk_sys::{NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL, PVOID, STATUS_MORE_PROCESSING_REQUIRED};

use super::IN_FLIGHT;
use crate::nt::{
    event::Event,
    handle_thread::HANDLE_THREAD,
    irp::{self, Call, Irp},
    irql::Pageable,
    target::Target,
};

/// At which level a request may be handed to the transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Submit {
    /// At the caller's.
    Anywhere,
    /// At `PASSIVE_LEVEL`: the transport touches handles.
    AtPassive,
}

/// What the completion routine leaves on the waiter's stack.
struct Outcome {
    done: Event,
    result: UnsafeCell<(NTSTATUS, usize)>,
}

// SAFETY: The routine writes before it signals, the waiter reads after.
unsafe impl Sync for Outcome {}

/// Sends one request and waits for its end: status and information.
///
/// # Errors
///
/// [`Error::InsufficientResources`] if there is no packet for it; then nothing was sent.
///
/// # Safety
///
/// The target is open for the whole call, and what the parameters and the MDL point to stays valid.
///
/// # IRQL
///
/// `<= APC_LEVEL`
pub(crate) unsafe fn perform(
    at: &Pageable,
    target: &Target,
    call: &Call,
    mdl: PMDL,
    submit: Submit,
) -> Result<(NTSTATUS, usize), Error> {
    let irp = Irp::new(target.device.stack_size())?;
    // SAFETY: Forwarded; the packet fits the target.
    unsafe { perform_with(at, irp, target, call, mdl, submit) }
}

/// Sends one request in a packet that was allocated before, and waits for its end: status and information.
///
/// # Errors
///
/// [`Error::InsufficientResources`] once the driver is being unloaded; nothing was sent then.
///
/// # Safety
///
/// As [`perform`]; the packet has as many locations as the target's stack needs.
///
/// # IRQL
///
/// `<= APC_LEVEL`
pub(crate) unsafe fn perform_with(
    at: &Pageable,
    irp: Irp,
    target: &Target,
    call: &Call,
    mdl: PMDL,
    submit: Submit,
) -> Result<(NTSTATUS, usize), Error> {
    let outcome = Outcome {
        done: Event::uninit(),
        result: UnsafeCell::new((0, 0)),
    };
    // SAFETY: The outcome stays where it is until the wait below is over.
    unsafe { outcome.done.init_manual_reset() };
    let context: PVOID = (&raw const outcome).cast_mut().cast();
    // SAFETY: The packet is new and has the device's stack size; the context outlives the request.
    unsafe { irp.prepare(target, call, mdl, completed, context) };
    if !IN_FLIGHT.acquire() {
        return Err(Error::InsufficientResources);
    }
    let (packet, device) = (SendPointer(irp.as_ptr()), target.device);
    // SAFETY: The packet was prepared for this device; `irp` lives until the wait is over.
    let send = move || unsafe { Irp::call(packet.get(), device) };
    match submit {
        Submit::Anywhere => send(),
        Submit::AtPassive => HANDLE_THREAD.at_passive(at, send),
    }
    outcome.done.wait(at);
    // SAFETY: The completion routine wrote it before it signalled, and is done with it.
    Ok(unsafe { *outcome.result.get() })
}

/// A packet on its way to the handle thread.
struct SendPointer(PIRP);

// SAFETY: The packet is handed over, not shared.
unsafe impl Send for SendPointer {}

impl SendPointer {
    const fn get(&self) -> PIRP {
        self.0
    }
}

unsafe extern "C" fn completed(_device: PDEVICE_OBJECT, irp: PIRP, context: PVOID) -> NTSTATUS {
    // SAFETY: The context is the outcome on the waiter's stack, which waits.
    let outcome = unsafe { &*context.cast::<Outcome>() };
    // SAFETY: This is the packet's completion routine.
    let result = unsafe { irp::take_result(irp) };
    // SAFETY: The waiter reads only after the signal.
    unsafe { *outcome.result.get() = result };
    outcome.done.set();
    // SAFETY: The reference was taken when the packet was sent.
    unsafe { IN_FLIGHT.release() };
    STATUS_MORE_PROCESSING_REQUIRED
}
