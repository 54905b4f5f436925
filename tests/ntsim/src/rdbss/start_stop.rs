//! Start and stop, and the posting rule: both are done in the RDBSS process.

use std::sync::Arc;

use super::calldown::Slot;
use super::context::{self, Request, Stage};
use super::registration::Redirector;
use super::rule::{Rule, violation};
use super::{low_io, mup, work};
use crate::gate::{Call, IrqlRule, Routine};
use crate::io::status;
use crate::irql::APC_LEVEL;
use crate::stop::Stop;
use crate::trace::{self, EventKind};

const RULE: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub(super) const ROUTINES: &[Routine] = &[
    Routine {
        name: "RxStartMinirdr",
        args: 2,
        irql: RULE,
        run: |call| change(call, start),
    },
    Routine {
        name: "RxStopMinirdr",
        args: 2,
        irql: RULE,
        run: |call| change(call, stop),
    },
];

/// RDBSS_STARTABLE.
pub(super) const STARTABLE: u32 = 0;
/// RDBSS_STARTED.
pub(super) const STARTED: u32 = 1;
/// RDBSS_STOP_IN_PROGRESS.
pub(super) const STOP_IN_PROGRESS: u32 = 2;

/// RxStartMinirdr and RxStopMinirdr (context, where to say that the request has to be posted).
fn change(call: &Call, run: fn(&Arc<Request>) -> i32) -> u64 {
    let request = context::require(call.addr(0), call.routine());
    let post = request.at.post_request();
    if *request.stage.lock() != Stage::Submitted || call.addr(1) != post.address() {
        violation(
            Rule::StartOutsideControl,
            request.at.0,
            format!(
                "{} outside of a control request for the device, or with something else than &RxContext->PostRequest",
                call.routine()
            ),
        );
    }
    let result = if work::in_rdbss_process() {
        let redirector = Arc::clone(&request.redirector);
        redirector.changing.with(|| run(&request))
    } else {
        post.set(1);
        *request.must_post.lock() = true;
        status::PENDING
    };
    u64::from(result.cast_unsigned())
}

fn say(redirector: &Redirector, what: &str, result: i32) {
    trace::event(EventKind::Driver, 0, || {
        let result = status::name(result);
        format!("mini-redirector {} {what}: {result}", redirector.name)
    });
}

fn start(request: &Arc<Request>) -> i32 {
    let redirector = &request.redirector;
    if redirector.state() != STARTABLE {
        return status::REDIRECTOR_STARTED;
    }
    let device = redirector.device;
    let provides_unc = device.provides_unc().get() != 0;
    if provides_unc {
        mup::register(redirector);
    }
    let result = redirector.call_done(Slot::START, &[request.at.0 as u64, device.0 as u64]);
    if !status::is_success(result) && provides_unc {
        mup::deregister(redirector);
    }
    if status::is_success(result) {
        device.version().set(device.version().get().wrapping_add(1));
        device.state().set(STARTED);
    }
    say(redirector, "started", result);
    result
}

fn stop(request: &Arc<Request>) -> i32 {
    let redirector = &request.redirector;
    let device = redirector.device;
    if redirector.state() != STARTED {
        return status::REDIRECTOR_NOT_STARTED;
    }
    device.state().set(STOP_IN_PROGRESS);
    device.stop_context().set(request.at.0);
    for other in context::of_redirector(redirector) {
        if !Arc::ptr_eq(&other, request) {
            low_io::cancel(&other);
        }
    }
    // All but this one.
    redirector.wait_until_quiet(1);
    mup::deregister(redirector);
    redirector.scavenge_all();
    let stopped = redirector.call_done(Slot::STOP, &[request.at.0 as u64, device.0 as u64]);
    let result = if device.active_fcbs().get() != 0 {
        status::REDIRECTOR_HAS_OPEN_HANDLES
    } else {
        stopped
    };
    device.stop_context().set(0);
    device.state().set(STARTABLE);
    say(redirector, "stopped", result);
    result
}
