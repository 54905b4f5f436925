//! The shipped image, as it is, in Wine's loader and service manager.

use anyhow::{Result, ensure};
use wine::State;

use super::{Bench, built, place};

/// A service of its own: nothing else has this name.
const NAME: &str = "rxce-shipped";
/// The first routine that `DriverEntry` needs and Wine 8 lacks.
const LACKS: &str = "ntoskrnl.exe.ExAllocateCacheAwareRundownProtection";

/// Wine maps the image, applies its relocations, resolves its imports, and runs it until it calls what Wine lacks. A Wine that has the
/// routine lets this fail: then the shim can do with less.
pub(crate) fn stops(bench: &Bench) -> Result<()> {
    bench.with_session(|session| {
        let before = session.log().len();
        place(
            &session.drivers().join(format!("{NAME}.sys")),
            &built("rxce.sys")?,
        )?;
        session.create_driver(NAME, "Shipped")?;
        let started = session.start_service(NAME);
        let state = session.state(NAME)?;
        session.delete_service(NAME)?;
        let log = session.log();
        let said = log.get(before..).unwrap_or_default();
        ensure!(
            started.is_err() && state == State::Stopped,
            "the image needs no shim any more: {state:?}"
        );
        ensure!(
            said.contains(LACKS),
            "it did not come as far as {LACKS}:\n{said}"
        );
        Ok(())
    })
}
