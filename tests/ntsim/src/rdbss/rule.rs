//! What a mini-redirector must not do.

use crate::image;
use crate::stop;

/// `RDR_FILE_SYSTEM`.
const RDR_FILE_SYSTEM: u32 = 0x27;

/// A rule of RDBSS. Its number is the first parameter of the stop: the high word is the documented source file class
/// where there is one for the subject, the low word is ntsim's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Rule {
    /// The table given to `RxRegisterMinirdr` is not a `MINIRDR_DISPATCH`.
    DispatchTable = 0x0001,
    /// A callback that RDBSS never calls is not NULL.
    UnusedCallback = 0x0002,
    /// The device is not remote.
    NotRemote = 0x0003,
    /// A device that is no mini-redirector's, or was unregistered.
    NotRegistered = 0x0004,
    /// Unregistered while it is started.
    UnregisteredStarted = 0x0005,
    /// Unregistered while connects are outstanding.
    UnregisteredBusy = 0x0006,
    /// A routine for a request was called with something else.
    NoContext = 0x0010,
    /// `RxStartMinirdr` or `RxStopMinirdr` outside of a control request for the device.
    StartOutsideControl = 0x0011,
    /// `STATUS_PENDING` of `RxStartMinirdr` or `RxStopMinirdr` was not returned as it is.
    PostingRule = 0x0012,
    /// A request is to be posted again by the worker that it was posted to.
    PostedTwice = 0x0013,
    /// A callback returned `STATUS_PENDING`, which it may not.
    Pending = 0x0014,
    /// `MRxCreateSrvCall` or `MRxCreateVNetRoot` returned something else than `STATUS_PENDING`.
    NotPending = 0x0020,
    /// Their callback was called twice, or with something else.
    CalledBackTwice = 0x0021,
    /// Their callback was called with `STATUS_PENDING`.
    CalledBackPending = 0x0022,
    /// `MRxExtractNetRootName` gave a name that is no part of the path.
    NetRootName = 0x0023,
    /// `MRxCreate` succeeded without `RxCreateNetFobx`.
    NoFobx = 0xFCB0_0001,
    /// `MRxCreate` succeeded without `RxFinishFcbInitialization`.
    NoFcb = 0xFCB0_0002,
    /// A routine for an object of RDBSS was called with something else.
    NoObject = 0xFCB0_0003,
    /// `RxLowIoCompletion` of a request that is completed, or that no callback has.
    CompletedTwice = 0x0030,
    /// A request was completed by `RxLowIoCompletion`, and its callback did not return `STATUS_PENDING`.
    CompletedAndReturned = 0x0031,
    /// More bytes are reported than the caller has room for.
    TooMuch = 0x0032,
    /// An entry of a directory lies wrong in the buffer.
    DirectoryEntry = 0x0033,
}

/// Stops the machine: `at` is what it is about.
pub(super) fn violation(rule: Rule, at: usize, text: impl Into<String>) -> ! {
    let number = u64::from(rule as u32);
    let whose = match image::find(at) {
        Some(_) => format!(" [{}]", stop::describe(at)),
        None => String::new(),
    };
    stop::bug_check(
        RDR_FILE_SYSTEM,
        [number, at as u64, 0, 0],
        format!("{rule:?}: {}{whose}", text.into()),
    )
}
