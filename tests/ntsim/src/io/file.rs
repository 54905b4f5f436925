//! File objects: cleanup with the last handle, close with the last reference.

use std::sync::Arc;

use parking_lot::Mutex;

use super::irp::{self, Origin};
use super::{call, device};
use crate::dispatcher::Sleep;
use crate::dispatcher::host::HostEvent;
use crate::layout::io::{
    Device, FO_CLEANUP_COMPLETE, FileObject, Irp, MJ_CLEANUP, MJ_CLOSE, Stack,
};
use crate::ob;
use crate::thread;

/// Status and Information of a finished request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// IoStatus.Status.
    pub status: i32,
    /// IoStatus.Information.
    pub information: usize,
}

/// Sends a request of the I/O manager itself to a device and waits for it. `prepare` fills the IRP and the stack location.
pub fn request(target: Device, requestor_mode: u8, prepare: impl FnOnce(Irp, Stack)) -> Outcome {
    send(target, requestor_mode, prepare).wait()
}

/// A request of the I/O manager that was sent.
pub(super) struct Sent {
    irp: Irp,
    done: Arc<HostEvent>,
    result: Arc<Mutex<Option<Outcome>>>,
}

impl Sent {
    /// The request, which stays until it was waited for.
    pub(super) const fn irp(&self) -> Irp {
        self.irp
    }

    /// Waits until it is completed.
    pub(super) fn wait(self) -> Outcome {
        self.done.wait(Sleep::Wanted);
        irp::release(self.irp);
        let outcome = self.result.lock().take();
        outcome.unwrap_or(Outcome {
            status: super::status::INVALID_DEVICE_REQUEST,
            information: 0,
        })
    }
}

/// As [`request`], without the wait.
pub(super) fn send(target: Device, requestor_mode: u8, prepare: impl FnOnce(Irp, Stack)) -> Sent {
    let done = Arc::new(HostEvent::manual());
    let result = Arc::new(Mutex::new(None));
    let (signal, slot) = (Arc::clone(&done), Arc::clone(&result));
    let finish = move |irp: Irp| {
        let outcome = Outcome {
            status: irp.status().get(),
            information: irp.information().get(),
        };
        *slot.lock() = Some(outcome);
        signal.set();
    };
    let stacks = target.stack_size().get();
    let irp = irp::make(
        stacks,
        Origin::Host(Some(Box::new(finish))),
        0,
        "request of the I/O manager",
    );
    irp.requestor_mode().set(requestor_mode);
    irp.thread().set(thread::current().object);
    prepare(irp, irp.location(stacks));
    call::call_driver(target, irp, 0);
    Sent { irp, done, result }
}

fn target(file: FileObject) -> Device {
    device::top(Device(file.device().get()))
}

/// The last handle is closed.
pub(crate) fn cleanup(file: usize) {
    let file = FileObject(file);
    request(target(file), 0, |_, stack| {
        stack.major().set(MJ_CLEANUP);
        stack.file().set(file.0);
    });
    file.flags().set(file.flags().get() | FO_CLEANUP_COMPLETE);
}

/// The last reference is gone: IRP_MJ_CLOSE, then the file object's reference on its device.
pub(crate) fn close(file: usize) {
    let file = FileObject(file);
    let device = Device(file.device().get());
    request(target(file), 0, |_, stack| {
        stack.major().set(MJ_CLOSE);
        stack.file().set(file.0);
    });
    super::create::free_name(file);
    count(device, -1);
    ob::dereference(device.0, 0);
}

/// Changes how many file objects a device has; threads open and close at the same time.
pub(super) fn count(device: Device, change: i32) {
    let at = device.reference_count().address();
    // SAFETY: The device object lives while a file object of it does, and the member is aligned.
    let count = unsafe { core::sync::atomic::AtomicI32::from_ptr(at as *mut i32) };
    count.fetch_add(change, core::sync::atomic::Ordering::SeqCst);
}
