//! The life of the circuit, told by ntsim from its recording: what it needs to know about the drivers.

use ntsim::trace::story::{Chapter, Detail, Parameter, Signature, Story};

use std::path::Path;

use anyhow::{Context as _, Result};

use super::args;

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

/// Requests that are told step by step in the printed story.
const IN_STEPS: &[&str] = &["TDI_DISCONNECT"];

/// Requests whose sending and completion are two arrows of the picture.
const IN_STEPS_DRAWN: &[&str] = &[
    "TDI_ASSOCIATE_ADDRESS",
    "TDI_CONNECT",
    "TDI_SEND",
    "TDI_RECEIVE",
    "TDI_DISCONNECT",
];

/// What is known about the drivers.
const STORY: Story<'_> = Story {
    detail: Detail::Short,
    signatures: SIGNATURES,
    in_steps: IN_STEPS,
    left_out: &["TDI_SET_EVENT_HANDLER"],
    chapters: CHAPTERS,
};

/// Prints the recording.
pub(crate) fn print(how: args::Story) {
    let detail = match how {
        args::Story::Short => Detail::Short,
        args::Story::Full => Detail::Full,
    };
    print!("{}", Story { detail, ..STORY }.tell());
}

/// Draws the recording into a file: a picture, or a page with it where the file's name ends in `.html`.
pub(crate) fn draw(file: &Path) -> Result<()> {
    let story = Story {
        in_steps: IN_STEPS_DRAWN,
        ..STORY
    };
    let mut document = story.draw();
    if file.extension().is_some_and(|ending| ending == "html") {
        document = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>The life of a circuit</title>\n\
             <body>\n{document}\n</body>\n</html>\n"
        );
    }
    std::fs::write(file, document).with_context(|| format!("cannot write {}", file.display()))?;
    println!("drawn: {}", file.display());
    Ok(())
}
