//! The dispatch routines of a transport: they check little, and queue for its thread.

use std::sync::Arc;

use super::engine::{self, Endpoint, Op, Queue};
use super::handlers::Handlers;
use super::memory;
use super::{ADDRESS_FILE, CONNECTION_FILE, CONTROL_CHANNEL_FILE, DEVICE_NETWORK, now};
use crate::io::call::mark_pending;
use crate::io::{HostDriver, cancel, create, device, status};
use crate::layout::io::{
    Device, FileObject, Irp, MJ_CLEANUP, MJ_CLOSE, MJ_CREATE, MJ_INTERNAL_DEVICE_CONTROL,
};

/// What a transport does itself.
pub(crate) trait Transport: Send + Sync + 'static {
    /// What stands behind its file objects.
    type Endpoint: Endpoint;

    /// The way to its thread.
    fn queue(&self) -> &Queue<Self::Endpoint>;

    /// The handlers of an address that is open.
    fn handlers(&self, file: FileObject) -> Option<Arc<Handlers>>;

    /// Opens an address object from the value of the EA "TransportAddress".
    fn open_address(&self, file: FileObject, value: &[u8], share: u16) -> Result<(), i32>;

    /// Opens an endpoint with this context, if it has such things.
    fn open_endpoint(&self, _file: FileObject, _context: u64) -> Result<(), i32> {
        Err(status::INVALID_EA_NAME)
    }

    /// The last handle of an address is closed.
    fn address_closed(&self, irp: Irp, file: FileObject) -> i32;

    /// The last handle of an endpoint is closed.
    fn endpoint_closed(&self, irp: Irp) -> i32 {
        now(irp, status::SUCCESS)
    }

    /// An address or endpoint goes.
    fn forget(&self, file: FileObject);

    /// Handlers of an address were changed.
    fn handlers_changed(&self, file: FileObject);

    /// A request, but for TDI_SET_EVENT_HANDLER on an address.
    fn request(&self, irp: Irp, file: FileObject) -> i32;

    /// Pends a request for the thread.
    fn pend(&self, irp: Irp, op: Op<Self::Endpoint>) -> i32 {
        mark_pending(irp);
        self.queue().push(op);
        status::PENDING
    }

    /// Pends a request which an endpoint carries out.
    fn pend_for(&self, irp: Irp, run: fn(&mut Self::Endpoint, Irp)) -> i32 {
        self.pend(irp, Op::Request { irp, run })
    }

    /// The same for a request that may be cancelled. The thread completes it in either case, so a cancel only queues a
    /// word.
    fn pend_cancelable(&self, irp: Irp, run: fn(&mut Self::Endpoint, Irp)) -> i32 {
        cancel::set_routine(irp, engine::cancel_routine());
        self.pend_for(irp, run)
    }
}

/// Makes the device of a transport.
pub(crate) fn install<T: Transport>(name: &str, transport: T) {
    device::create_host(name, DEVICE_NETWORK, 1, Arc::new(Front(transport)));
}

struct Front<T>(T);

impl<T: Transport> HostDriver for Front<T> {
    fn dispatch(&self, _device: Device, irp: Irp) -> i32 {
        let stack = irp.current();
        let file = FileObject(stack.file().get());
        let kind = file.context2().get();
        match stack.major().get() {
            MJ_CREATE => match self.create(irp, file) {
                Ok(kind) => {
                    file.context2().set(kind);
                    now(irp, status::SUCCESS)
                }
                Err(result) => now(irp, result),
            },
            MJ_CLEANUP => match kind {
                CONNECTION_FILE => self.0.endpoint_closed(irp),
                ADDRESS_FILE => {
                    if let Some(handlers) = self.0.handlers(file) {
                        handlers.close();
                    }
                    self.0.address_closed(irp, file)
                }
                _ => now(irp, status::SUCCESS),
            },
            MJ_CLOSE => {
                if kind != CONTROL_CHANNEL_FILE {
                    self.0.forget(file);
                }
                now(irp, status::SUCCESS)
            }
            MJ_INTERNAL_DEVICE_CONTROL => match (stack.minor().get(), kind) {
                (0x0b, ADDRESS_FILE) => self.set_event_handler(irp, file),
                (0x0b, _) => now(irp, status::INVALID_ADDRESS_COMPONENT),
                _ => {
                    memory::check(irp);
                    self.0.request(irp, file)
                }
            },
            _ => now(irp, status::INVALID_DEVICE_REQUEST),
        }
    }
}

impl<T: Transport> Front<T> {
    /// Opens what the EA says; the kind of the file object.
    fn create(&self, irp: Irp, file: FileObject) -> Result<usize, i32> {
        let stack = irp.current();
        let (list, length) = (
            irp.system_buffer().get(),
            stack.parameter::<u32>(0x18).get() as usize,
        );
        if list == 0 || length == 0 {
            return Ok(CONTROL_CHANNEL_FILE);
        }
        if let Some(value) = create::ea_value(list, length, b"TransportAddress") {
            let share = stack.parameter::<u16>(0x12).get();
            self.0.open_address(file, &value, share)?;
            return Ok(ADDRESS_FILE);
        }
        let value =
            create::ea_value(list, length, b"ConnectionContext").ok_or(status::INVALID_EA_NAME)?;
        let context: [u8; 8] = value
            .as_slice()
            .try_into()
            .map_err(|_| status::INVALID_PARAMETER)?;
        self.0.open_endpoint(file, u64::from_le_bytes(context))?;
        Ok(CONNECTION_FILE)
    }

    fn set_event_handler(&self, irp: Irp, file: FileObject) -> i32 {
        let stack = irp.current();
        let (event, routine, context) = (
            stack.parameter::<i32>(0).get(),
            stack.parameter::<usize>(8).get(),
            stack.parameter::<usize>(16).get(),
        );
        let Some(handlers) = self.0.handlers(file) else {
            return now(irp, status::INVALID_ADDRESS_COMPONENT);
        };
        if !handlers.set(event, routine, context) {
            return now(irp, status::INVALID_PARAMETER);
        }
        self.0.handlers_changed(file);
        now(irp, status::SUCCESS)
    }
}
