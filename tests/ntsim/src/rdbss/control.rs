//! The device itself: opened without a file name, controlled through MRxDevFcbXXXControlFile.

use std::sync::Arc;

use super::calldown::Slot;
use super::context::Request;
use super::dispatch::Fate;
use super::low_io;
use super::mup;
use super::rule::{Rule, violation};
use crate::io::status;
use crate::mem::peek;

/// FILE_OPENED.
const FILE_OPENED: usize = 1;

/// The device is opened.
pub(super) fn open(request: &Arc<Request>) -> Fate {
    let file = request.file();
    file.context().set(request.redirector.device_fcb);
    file.context2().set(0);
    Fate::Done(status::SUCCESS, FILE_OPENED)
}

/// A control request for the device.
pub(super) fn run(request: &Arc<Request>) -> Fate {
    let context = request.at;
    if mup::is_question(request) {
        return mup::answer(request);
    }
    low_io::control_parameters(request);
    context.post_request().set(0);
    *request.must_post.lock() = false;
    low_io::submit(request, Slot::DEVICE_CONTROL)
}

/// The posting rule, after a callback has returned: STATUS_PENDING of RxStartMinirdr and RxStopMinirdr goes to RDBSS as
/// it is.
pub(super) fn check_posting(request: &Request, slot: Slot, result: i32) {
    if *request.must_post.lock() && result != status::PENDING {
        violation(
            Rule::PostingRule,
            peek(request.redirector.dispatch + slot.0),
            format!(
                "{} returned {} after RxStartMinirdr or RxStopMinirdr had returned STATUS_PENDING",
                slot.1,
                status::name(result)
            ),
        );
    }
}
