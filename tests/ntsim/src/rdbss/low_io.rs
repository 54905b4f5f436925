//! Requests that the mini-redirector may complete later, with RxLowIoCompletion.

use std::sync::Arc;

use super::calldown::Slot;
use super::context::{self, Request, Stage};
use super::control;
use super::dispatch::{self, Fate};
use super::layout::flag;
use super::rule::{Rule, violation};
use super::{query, transfer};
use crate::dispatcher::Sleep;
use crate::ex::work;
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::io::call::mark_pending;
use crate::io::cancel;
use crate::io::file::Outcome;
use crate::io::status;
use crate::irql::{self, DISPATCH_LEVEL};
use crate::layout::io::{Irp, MJ_FILE_SYSTEM_CONTROL};
use crate::layout::mm::Mdl;
use crate::mem::peek;
use crate::mm::mdl;
use crate::stop::Stop;

/// The routines of this file.
pub(super) const ROUTINES: &[Routine] = &[Routine {
    name: "RxLowIoCompletion",
    args: 1,
    irql: IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5)),
    run: completion,
}];

/// METHOD_NEITHER, the last of the four.
const METHOD_NEITHER: u32 = 3;
/// LOWIO_OP_FSCTL and LOWIO_OP_IOCTL.
const OP_FSCTL: u16 = 6;
const OP_IOCTL: u16 = 7;

/// A caller's buffer, locked and mapped for the time of a request.
pub(super) struct Buffer {
    list: usize,
    /// Its address in system space.
    pub(super) address: usize,
}

impl Buffer {
    /// Locks and maps a buffer.
    pub(super) fn lock(address: usize, bytes: usize) -> Self {
        let list = mdl::allocate(address, u32::try_from(bytes).unwrap_or(u32::MAX), 0);
        // SAFETY: The list was just made and nobody else knows of it.
        let view: &mut Mdl = unsafe { &mut *list };
        mdl::lock(view);
        let mapped = mdl::map(view);
        Self {
            list: list as usize,
            address: mapped,
        }
    }

    /// The MDL.
    pub(super) const fn list(&self) -> usize {
        self.list
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: The request is over, so nobody uses the list any more.
        mdl::unlock(unsafe { &mut *(self.list as *mut Mdl) });
        mdl::free(self.list, 0);
    }
}

/// Fills the context of a control request from its stack location, by transfer method.
pub(super) fn control_parameters(request: &Request) {
    let (stack, irp, context) = (request.stack(), request.irp, request.at);
    let code = stack.parameter::<u32>(16).get();
    let (output_bytes, input_bytes) = (
        stack.parameter::<u32>(0).get(),
        stack.parameter::<u32>(8).get(),
    );
    let system = irp.system_buffer().get();
    let (input, output) = match code & METHOD_NEITHER {
        0 => (system, system),
        METHOD_NEITHER => (stack.parameter::<usize>(24).get(), irp.user_buffer().get()),
        _ => {
            let list = irp.mdl().get();
            let mapped = if list == 0 {
                0
            } else {
                // SAFETY: The I/O manager made the list for this request, and RDBSS has the request.
                let view = unsafe { &mut *(list as *mut Mdl) };
                if view.mapped_system_va == 0 {
                    mdl::map(view)
                } else {
                    view.mapped_system_va
                }
            };
            (system, mapped)
        }
    };
    let is_fsctl = context.major().get() == MJ_FILE_SYSTEM_CONTROL;
    context
        .low_io_operation()
        .set(if is_fsctl { OP_FSCTL } else { OP_IOCTL });
    context
        .low_io_completion()
        .set(gate::thunk("RxLowIoCompletion").unwrap_or(0));
    context.control_code().set(code);
    context.input_length().set(input_bytes);
    context.input().set(input);
    context.output_length().set(output_bytes);
    context.output().set(output);
    context.control_minor().set(stack.minor().get());
    context.information().set(0);
}

/// Hands a request to the mini-redirector, and waits for it where the caller does.
pub(super) fn submit(request: &Arc<Request>, slot: Slot) -> Fate {
    let context = request.at;
    *request.stage.lock() = Stage::Submitted;
    let result = request.redirector.call(slot, &[context.0 as u64]);
    control::check_posting(request, slot, result);
    if result != status::PENDING {
        let stage = std::mem::replace(&mut *request.stage.lock(), Stage::Own);
        if let Stage::Completed(_) = stage {
            violation(
                Rule::CompletedAndReturned,
                peek(request.redirector.dispatch + slot.0),
                format!(
                    "{} returned {} for a request that it had completed with RxLowIoCompletion",
                    slot.1,
                    status::name(result)
                ),
            );
        }
        return Fate::Done(result, context.information().get());
    }
    if context.post_request().get() != 0 {
        *request.stage.lock() = Stage::Own;
        return Fate::Post;
    }
    arm_cancel(request);
    if context.flags().get() & flag::ASYNC_OPERATION == 0 {
        request.completed.wait(Sleep::Wanted);
    }
    let mut stage = request.stage.lock();
    if let Stage::Completed(outcome) = *stage {
        *stage = Stage::Own;
        drop(stage);
        disarm_cancel(request.irp);
        return Fate::Done(outcome.status, outcome.information);
    }
    mark_pending(request.irp);
    *stage = Stage::Pended;
    Fate::Pended
}

/// RxLowIoCompletion(context): the result is in the context.
fn completion(call: &Call) -> u64 {
    let request = context::require(call.addr(0), call.routine());
    let outcome = Outcome {
        status: request.at.status().get(),
        information: request.at.information().get(),
    };
    if outcome.status == status::PENDING {
        violation(
            Rule::Pending,
            request.at.0,
            "RxLowIoCompletion with STATUS_PENDING",
        );
    }
    let pended = {
        let mut stage = request.stage.lock();
        match *stage {
            Stage::Submitted => {
                *stage = Stage::Completed(outcome);
                false
            }
            Stage::Pended => {
                *stage = Stage::Completed(outcome);
                true
            }
            Stage::Own | Stage::Completed(_) => violation(
                Rule::CompletedTwice,
                request.at.0,
                "RxLowIoCompletion of a request that is completed, or that the mini-redirector does not have",
            ),
        }
    };
    if !pended {
        request.completed.set();
    } else if irql::current() >= DISPATCH_LEVEL {
        work::queue_host(move || finish(&request, outcome));
    } else {
        finish(&request, outcome);
    }
    0
}

fn finish(request: &Request, outcome: Outcome) {
    disarm_cancel(request.irp);
    let Outcome {
        status,
        information,
    } = outcome;
    transfer::check_amount(request, status, information);
    let information = if query::is_error(status) {
        0
    } else {
        information
    };
    dispatch::complete(request, status, information);
}

/// From now on a cancelled IRP is told to the mini-redirector.
fn arm_cancel(request: &Request) {
    cancel::set_routine(request.irp, cancel::host_routine(irp_cancelled));
    if request.irp.cancel().get() != 0 && disarm_cancel(request.irp) {
        irp_cancelled(request.irp);
    }
}

/// Whether the routine was still there.
fn disarm_cancel(irp: Irp) -> bool {
    cancel::set_routine(irp, 0) != 0
}

fn irp_cancelled(irp: Irp) {
    if let Some(request) = context::of_irp(irp) {
        cancel(&request);
    }
}

/// Calls the mini-redirector's cancel routine for a request that it has, in a worker.
pub(super) fn cancel(request: &Arc<Request>) {
    let routine = request.at.cancel_routine().get();
    let with_driver = matches!(*request.stage.lock(), Stage::Submitted | Stage::Pended);
    if routine == 0 || !with_driver {
        return;
    }
    let request = Arc::clone(request);
    work::queue_host(move || {
        gate::call_named("MRxCancelRoutine", routine, &[request.at.0 as u64]);
    });
}
