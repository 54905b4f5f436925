//! IRP_MJ_READ, IRP_MJ_WRITE, and control requests for files.

use std::sync::Arc;

use super::calldown::Slot;
use super::context::Request;
use super::dispatch::Fate;
use super::layout::flag;
use super::low_io::{self, Buffer};
use super::query;
use super::rule::{Rule, violation};
use crate::gate;
use crate::io::status;
use crate::layout::io::FO_SYNCHRONOUS_IO;
use crate::mem::peek;

/// LOWIO_OP_READ and LOWIO_OP_WRITE.
const OP_READ: u16 = 0;
const OP_WRITE: u16 = 1;

pub(super) fn read(request: &Arc<Request>) -> Fate {
    transfer(request, OP_READ, Slot::READ)
}

pub(super) fn write(request: &Arc<Request>) -> Fate {
    transfer(request, OP_WRITE, Slot::WRITE)
}

fn transfer(request: &Arc<Request>, operation: u16, slot: Slot) -> Fate {
    let (stack, context) = (request.stack(), request.at);
    let Some(fobx) = request.fobx() else {
        return Fate::status(status::INVALID_DEVICE_REQUEST);
    };
    if fobx.open.fcb.is_directory() {
        return Fate::status(status::INVALID_DEVICE_REQUEST);
    }
    let count = request.length();
    let offset = stack.parameter::<i64>(0x10).get();
    if offset < 0 {
        return Fate::status(status::INVALID_PARAMETER);
    }
    if count == 0 {
        return Fate::status(status::SUCCESS);
    }
    if request.irp.mdl().get() == 0 {
        let buffer = Buffer::lock(request.irp.user_buffer().get(), count as usize);
        context.io_mdl().set(buffer.list());
        *request.buffer.lock() = Some(buffer);
    } else {
        context.io_mdl().set(request.irp.mdl().get());
    }
    context.low_io_operation().set(operation);
    context
        .low_io_completion()
        .set(gate::thunk("RxLowIoCompletion").unwrap_or(0));
    context.io_flags().set(0);
    context.io_offset().set(offset);
    context.io_count().set(count);
    context.io_key().set(stack.parameter(8).get());
    submit(request, slot)
}

/// IRP_MJ_FILE_SYSTEM_CONTROL and IRP_MJ_DEVICE_CONTROL for a file.
pub(super) fn control(request: &Arc<Request>, slot: Slot) -> Fate {
    if request.fobx().is_none() {
        return Fate::status(status::INVALID_DEVICE_REQUEST);
    }
    low_io::control_parameters(request);
    submit(request, slot)
}

/// A request of a file that was not opened for synchronous I/O may be pending.
fn submit(request: &Arc<Request>, slot: Slot) -> Fate {
    if request.file().flags().get() & FO_SYNCHRONOUS_IO == 0 {
        request.at.flags().set(flag::ASYNC_OPERATION);
    }
    request.at.information().set(0);
    request.at.post_request().set(0);
    let fate = low_io::submit(request, slot);
    if let Fate::Done(status, information) = fate {
        check_amount(request, status, information);
        let file = request.file();
        if !query::is_error(status) && slot.0 == Slot::READ.0 {
            let end = request.at.io_offset().get().cast_unsigned() + information as u64;
            file.offset().set(end);
        }
        let information = if query::is_error(status) {
            0
        } else {
            information
        };
        return Fate::Done(status, information);
    }
    fate
}

/// No more can have been transferred than there was room for.
pub(super) fn check_amount(request: &Request, status: i32, information: usize) {
    let context = request.at;
    let operation = context.low_io_operation().get();
    let room = if operation <= OP_WRITE {
        context.io_count().get()
    } else {
        context.output_length().get()
    };
    if !query::is_error(status) && information > room as usize {
        violation(
            Rule::TooMuch,
            peek(request.redirector.dispatch + Slot::READ.0 + 8 * usize::from(operation)),
            format!("{information} bytes were transferred; there is room for {room}"),
        );
    }
}
