//! Requests whose end the caller waits for.

use core::cell::UnsafeCell;

use rxce_engine::Error;
use wdk_sys::{NTSTATUS, PDEVICE_OBJECT, PIRP, PMDL, PVOID, STATUS_MORE_PROCESSING_REQUIRED};

use super::IN_FLIGHT;
use crate::nt::{
    event::Event,
    irp::{self, Call, Irp},
    irql::Pageable,
    target::Target,
};

/// Sends one request and waits for its end: status and information.
///
/// # Errors
///
/// [`Error::InsufficientResources`] if there is no packet for it, or once the driver is being unloaded; nothing was sent then.
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
) -> Result<(NTSTATUS, usize), Error> {
    let irp = Irp::new(target.device.stack_size())?;
    let outcome = Outcome::uninit();
    // SAFETY: Forwarded; the packet fits the target, and it and the outcome stay until the wait is over.
    unsafe { outcome.send(&irp, target, call, mdl) }?;
    // SAFETY: The request was sent.
    Ok(unsafe { outcome.wait(at) })
}

/// What the completion routine leaves on the waiter's stack.
pub(crate) struct Outcome {
    done: Event,
    result: UnsafeCell<(NTSTATUS, usize)>,
}

// SAFETY: The routine writes before it signals, the waiter reads after.
unsafe impl Sync for Outcome {}

impl Outcome {
    /// Of a request that was not sent yet.
    pub(crate) const fn uninit() -> Self {
        Self {
            done: Event::uninit(),
            result: UnsafeCell::new((0, 0)),
        }
    }

    /// Sends one request in a packet that is not in use.
    ///
    /// # Errors
    ///
    /// [`Error::InsufficientResources`] once the driver is being unloaded; nothing was sent then.
    ///
    /// # Safety
    ///
    /// The outcome is used for one request. After a success it and the packet stay where they are until [`Self::wait`] has
    /// returned, the target stays open, and what the parameters and the MDL point to stays valid. The packet has as many
    /// locations as the target's stack needs.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`, unless the transport wants it lower for this request
    pub(crate) unsafe fn send(
        &self,
        irp: &Irp,
        target: &Target,
        call: &Call,
        mdl: PMDL,
    ) -> Result<(), Error> {
        // SAFETY: Forwarded: the outcome stays where it is, and nobody uses it yet.
        unsafe { self.done.init_manual_reset() };
        let context: PVOID = (&raw const *self).cast_mut().cast();
        // SAFETY: Forwarded.
        unsafe { irp.prepare(target, call, mdl, completed, context) };
        if !IN_FLIGHT.acquire() {
            return Err(Error::InsufficientResources);
        }
        // SAFETY: The packet was prepared for this device, and stays.
        unsafe { Irp::call(irp.as_ptr(), target.device) };
        Ok(())
    }

    /// Waits for the end of the request: status and information.
    ///
    /// # Safety
    ///
    /// [`Self::send`] has succeeded.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) unsafe fn wait(&self, at: &Pageable) -> (NTSTATUS, usize) {
        self.done.wait(at);
        // SAFETY: The completion routine wrote it before it signalled, and is done with it.
        unsafe { *self.result.get() }
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
