//! The dispatch routine of every mini-redirector's device.

use std::sync::Arc;

use super::context::{self, Request};
use super::layout::flag;
use super::registration::{self, Redirector};
use super::rule::{Rule, violation};
use super::{calldown::Slot, close, control, create, query, start_stop, transfer};
use crate::ex::work;
use crate::gate::{Call, IrqlRule, Routine};
use crate::io::call::mark_pending;
use crate::io::complete::complete_with;
use crate::io::status;
use crate::irql::APC_LEVEL;
use crate::layout::io::{
    Device, FileObject, Irp, MJ_CLEANUP, MJ_CLOSE, MJ_CREATE, MJ_DEVICE_CONTROL,
    MJ_DIRECTORY_CONTROL, MJ_FILE_SYSTEM_CONTROL, MJ_FLUSH, MJ_QUERY_EA, MJ_QUERY_INFORMATION,
    MJ_QUERY_SECURITY, MJ_QUERY_VOLUME, MJ_READ, MJ_SET_EA, MJ_SET_INFORMATION, MJ_SET_SECURITY,
    MJ_SET_VOLUME, MJ_WRITE,
};
use crate::stop::Stop;
use crate::thread;

/// The routines of this file.
pub(super) const ROUTINES: &[Routine] = &[Routine {
    name: "RxFsdDispatch",
    args: 2,
    irql: IrqlRule::Max(APC_LEVEL, Stop::verifier(0xe5)),
    run: fsd_dispatch,
}];

/// IRP_MJ_CREATE_NAMED_PIPE and IRP_MJ_CREATE_MAILSLOT.
const MJ_CREATE_OTHERS: [u8; 2] = [0x01, 0x13];

/// What became of a request.
pub(super) enum Fate {
    /// It is to be completed.
    Done(i32, usize),
    /// A worker shall run it again.
    Post,
    /// The mini-redirector has it, and the IRP is marked pending.
    Pended,
}

impl Fate {
    /// A request without data.
    pub(super) const fn status(status: i32) -> Self {
        Self::Done(status, 0)
    }
}

fn fsd_dispatch(call: &Call) -> u64 {
    let (device, irp) = (Device(call.addr(0)), Irp(call.addr(1)));
    let redirector = registration::require(device.0, "RxFsdDispatch");
    if let Err(refused) = admit(&redirector, irp) {
        complete_with(irp, refused, 0);
        return u64::from(refused.cast_unsigned());
    }
    let request = context::begin(&redirector, irp);
    u64::from(carry_out(&request).cast_unsigned())
}

/// Whether a request is about the device itself.
pub(super) fn is_of_device(file: FileObject) -> bool {
    file.0 == 0 || file.name().get()[0] & 0xFFFF == 0 && file.related().get() == 0
}

/// What the state of the redirector lets through.
fn admit(redirector: &Redirector, irp: Irp) -> Result<(), i32> {
    let stack = irp.current();
    let major = stack.major().get();
    if MJ_CREATE_OTHERS.contains(&major) {
        return Err(status::OBJECT_NAME_INVALID);
    }
    let is_end = [MJ_CLEANUP, MJ_CLOSE].contains(&major);
    let passes = match redirector.state() {
        start_stop::STARTED => true,
        start_stop::STOP_IN_PROGRESS => is_end,
        // A handle that was open when it stopped is closed after that.
        _ => is_end || is_of_device(FileObject(stack.file().get())),
    };
    if passes {
        Ok(())
    } else {
        Err(status::REDIRECTOR_NOT_STARTED)
    }
}

/// Runs a request, here or in the worker that it was posted to.
fn carry_out(request: &Arc<Request>) -> i32 {
    match route(request) {
        Fate::Done(status, information) => complete(request, status, information),
        Fate::Pended => status::PENDING,
        Fate::Post => {
            post(request);
            status::PENDING
        }
    }
}

fn route(request: &Arc<Request>) -> Fate {
    let is_of_device = is_of_device(request.file());
    match request.at.major().get() {
        MJ_CREATE if is_of_device => control::open(request),
        MJ_CLEANUP | MJ_CLOSE if is_of_device => Fate::status(status::SUCCESS),
        MJ_DEVICE_CONTROL | MJ_FILE_SYSTEM_CONTROL if is_of_device => control::run(request),
        _ if is_of_device => Fate::status(status::INVALID_DEVICE_REQUEST),
        MJ_CREATE => create::run(request),
        MJ_CLEANUP => close::cleanup(request),
        MJ_CLOSE => close::close(request),
        MJ_READ => transfer::read(request),
        MJ_WRITE => transfer::write(request),
        MJ_QUERY_INFORMATION => query::file_information(request),
        MJ_SET_INFORMATION => query::set_file_information(request),
        MJ_QUERY_EA => query::plain(request, Slot::QUERY_EA),
        MJ_SET_EA => query::plain(request, Slot::SET_EA),
        MJ_FLUSH => query::plain(request, Slot::FLUSH),
        MJ_QUERY_VOLUME => query::volume_information(request),
        MJ_SET_VOLUME => query::plain(request, Slot::SET_VOLUME),
        MJ_DIRECTORY_CONTROL => query::directory(request),
        MJ_FILE_SYSTEM_CONTROL => transfer::control(request, Slot::FSCTL),
        MJ_DEVICE_CONTROL => transfer::control(request, Slot::IOCTL),
        MJ_QUERY_SECURITY => query::plain(request, Slot::QUERY_SECURITY),
        MJ_SET_SECURITY => query::plain(request, Slot::SET_SECURITY),
        _ => Fate::status(status::INVALID_DEVICE_REQUEST),
    }
}

/// Lets a worker of the RDBSS process run a request again.
fn post(request: &Arc<Request>) {
    if request.is_posted() {
        violation(
            Rule::PostedTwice,
            request.at.0,
            "a request that runs in a worker of the RDBSS process is to be posted",
        );
    }
    mark_pending(request.irp);
    let request = Arc::clone(request);
    work::queue_host(move || {
        let flags = request.at.flags();
        flags.set(flags.get() | flag::IN_FSP);
        request.at.last_thread().set(thread::current().object);
        carry_out(&request);
    });
}

/// Completes a request; its context is gone before.
pub(super) fn complete(request: &Request, status: i32, information: usize) -> i32 {
    request.end();
    complete_with(request.irp, status, information);
    status
}
