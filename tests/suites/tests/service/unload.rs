//! The engine unloaded while one of its completion routines has a few instructions left (race R13).
//!
//! A datagram is sent, and completed at `DISPATCH_LEVEL` on a thread of its own. That thread is held in the engine's completion routine until the
//! client is gone and the unload of the engine has come to where it has to wait for it.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use exchange_ioctl::Protocol;
use ntsim::{
    Driver, Options, Rules,
    hold::{self, Moment},
};
use suites::machine::{nothing_is_left, start, start_prepared};

use crate::client::{Client, TAKE_ALL};

/// The last call of the completion routine: it gives the reference back that keeps the engine loaded.
const LAST_CALL: &str = "ExReleaseRundownProtectionCacheAware";
/// Nobody answers there.
const PORT: u16 = 9;
/// Real time that the completion gets.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the completion routine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In front of its last call: it still has the reference.
    Referenced,
    /// Behind it: only a visit to its processor can tell that it is over.
    Returning,
}

impl Place {
    /// Every place, with its name.
    pub(crate) const ALL: [(&str, Self); 2] = [
        ("R13-referenced", Self::Referenced),
        ("R13-returning", Self::Returning),
    ];

    /// The calls in which the unload may wait, and how many of each it has made by then, the thread being on this processor: the
    /// visits go from one processor to the next.
    fn awaited(self, processor: u32) -> Vec<(&'static str, u64)> {
        let visit = ("KeSetSystemAffinityThreadEx", u64::from(processor) + 1);
        match self {
            Self::Referenced => vec![("ExWaitForRundownProtectionReleaseCacheAware", 1), visit],
            Self::Returning => vec![visit],
        }
    }
}

/// Boots, and unloads the engine with a completion routine at this place. `prepare` gets the engine before it is started.
///
/// # Errors
///
/// The unload did not wait, or anything else went wrong. Where the image went under the thread the machine is stopped.
pub(crate) fn run(
    place: Place,
    rxce: &Path,
    exchange: &Path,
    prepare: impl FnOnce(&Driver) -> Result<()>,
) -> Result<()> {
    ntsim::boot(Options {
        rules: Rules::USUAL | Rules::FORCE_PENDING,
        ..Options::default()
    });
    ntsim::udp::install(r"\Device\Udp");
    let engine = start_prepared(rxce, prepare)?;
    let importer = start(exchange)?;
    let client = Client::new()?;
    ensure!(
        client.build(Protocol::Udp, PORT, 64, TAKE_ALL)? == 0,
        "no address"
    );
    let image = engine.image();
    let moment = match place {
        Place::Referenced => Moment::Before,
        Place::Returning => Moment::After,
    };
    let held = hold::next(image, LAST_CALL, moment);
    client.say(b"the last one")?;
    let processor = held.wait(PATIENCE).context("no completion routine came")?;
    client.close_well()?;
    drop(client);
    importer.unload().context("exchange.sys")?;
    let unload = thread::spawn(move || engine.unload());
    let awaited = place.awaited(processor);
    let waits = || {
        let made = |(routine, calls): &(&str, u64)| image.call_count(routine) >= *calls;
        awaited.iter().any(made)
    };
    while !unload.is_finished() && !waits() {
        thread::sleep(Duration::from_millis(1));
    }
    ensure!(!unload.is_finished(), "the unload waited for nothing");
    drop(held);
    let unloaded = unload.join();
    unloaded
        .ok()
        .context("the unload panicked")?
        .context("rxce.sys")?;
    nothing_is_left()
}
