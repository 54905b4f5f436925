//! The life of the circuit, told by ntsim from its recording: what it needs to know about the drivers.

use ntsim::trace::story::{Chapter, Detail, Parameter, Signature, Story};

use super::args::Timeline;

use Parameter::{Bytes, Flags, Object, Skip};

/// What the arguments of the engine's routines are (rxce.h).
const SIGNATURES: &[Signature<'_>] = &[
    signature("rxce!RxCeBuildTransport", &[TRANSPORT]),
    signature("rxce!RxCeTearDownTransport", &[TRANSPORT]),
    signature("rxce!RxCeBuildAddress", &[ADDRESS, TRANSPORT]),
    signature("rxce!RxCeTearDownAddress", &[ADDRESS]),
    signature(
        "rxce!RxCeBuildConnection",
        &[ADDRESS, Skip, Skip, Skip, CONNECTION, CIRCUIT],
    ),
    signature("rxce!RxCeTearDownConnection", &[CONNECTION]),
    signature("rxce!RxCeBuildVC", &[CIRCUIT, CONNECTION]),
    signature("rxce!RxCeInitiateVCDisconnect", &[CIRCUIT]),
    signature("rxce!RxCeTearDownVC", &[CIRCUIT]),
    signature(
        "rxce!RxCeSend",
        &[CIRCUIT, Flags(SEND_OPTIONS), Skip, Bytes],
    ),
];

const TRANSPORT: Parameter<'_> = Object("transport");
const ADDRESS: Parameter<'_> = Object("address");
const CONNECTION: Parameter<'_> = Object("connection");
const CIRCUIT: Parameter<'_> = Object("circuit");

/// `RXCE_SEND_*`.
const SEND_OPTIONS: &[(u32, &str)] = &[
    (0x1000_0000, "SYNCHRONOUS"),
    (0x2000_0000, "PARTIAL"),
    (0x20, "EXPEDITED"),
    (0x80, "NO_RESPONSE_EXPECTED"),
    (0x100, "NON_BLOCKING"),
];

/// The life of a circuit.
const CHAPTERS: &[Chapter<'_>] = &[
    chapter("Load the drivers", ""),
    chapter(
        "Build a transport and an address",
        "rxce!RxCeBuildTransport",
    ),
    chapter(
        "Build a connection and its circuit",
        "rxce!RxCeBuildConnection",
    ),
    chapter("Connect", "TDI_CONNECT"),
    chapter("First send, first answer", "rxce!RxCeSend"),
    chapter(
        "Data, straight into the reader's buffer",
        "STATUS_MORE_PROCESSING_REQUIRED",
    ),
    chapter("Disconnect", "rxce!RxCeInitiateVCDisconnect"),
    chapter("Tear down and close", "rxce!RxCeTearDownVC"),
    chapter("Unload the drivers", "DriverUnload"),
];

const fn signature<'a>(export: &'a str, parameters: &'a [Parameter<'a>]) -> Signature<'a> {
    Signature { export, parameters }
}

const fn chapter<'a>(title: &'a str, begins: &'a str) -> Chapter<'a> {
    Chapter { title, begins }
}

/// Prints the recording.
pub(crate) fn print(how: Timeline) {
    let story = Story {
        detail: match how {
            Timeline::Short => Detail::Short,
            Timeline::Full => Detail::Full,
        },
        signatures: SIGNATURES,
        in_steps: &["TDI_DISCONNECT"],
        left_out: &["TDI_SET_EVENT_HANDLER"],
        chapters: CHAPTERS,
    };
    print!("{}", story.tell());
}
