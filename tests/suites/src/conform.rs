//! The machine in which vectors run: both drivers loaded, and seen to leave nothing behind.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use conform_ioctl::{
    Answers, Basis, DEVICE_NAME, INTERFACE_VERSION, IOCTL_LIST, IOCTL_RUN, ListHeader, RunResult,
    VectorInfo, Verdict,
};
use ntsim::{Driver, File, Options, Rules, image::Image};

use crate::{machine, watchdog};

/// The images to load.
pub struct Images {
    /// The engine.
    pub rxce: PathBuf,
    /// The vectors.
    pub conform: PathBuf,
}

/// The control device, while the machine runs.
pub struct Machine {
    device: File,
    engine: &'static Image,
}

/// One entry of the list.
pub struct Listed {
    /// Its identifier.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// What its expectation rests on.
    pub basis: Basis,
}

/// Boots under these rules, loads both drivers, works with them, unloads them, and sees that nothing is left. A vector that
/// takes longer than `limit` of real time ends the process. `prepare` gets the engine before it is started.
///
/// # Errors
///
/// A driver cannot be loaded, started or unloaded; those of `prepare` and `work`.
pub fn run<R>(
    images: &Images,
    rules: Rules,
    limit: Duration,
    prepare: impl FnOnce(&Driver) -> Result<()>,
    work: impl FnOnce(&Machine) -> Result<R>,
) -> Result<R> {
    watchdog::start_with(limit);
    ntsim::boot(Options {
        rules,
        ..Options::default()
    });
    let rxce = machine::start_prepared(&images.rxce, prepare)?;
    let conform = machine::start(&images.conform)?;
    let device = File::open(DEVICE_NAME).with_context(|| format!("cannot open {DEVICE_NAME}"))?;
    let machine = Machine {
        device,
        engine: rxce.image(),
    };
    let result = work(&machine);
    drop(machine);
    conform.unload().context("conform.sys")?;
    rxce.unload().context("rxce.sys")?;
    result
}

impl Machine {
    /// What the driver has.
    ///
    /// # Errors
    ///
    /// A list that cannot be understood.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let room = ListHeader::SIZE + 256 * VectorInfo::SIZE;
        let output = self
            .device
            .ioctl(IOCTL_LIST, &[], room)
            .context("IOCTL_LIST")?;
        let header = ListHeader::from_bytes(&output).context("the list has no header")?;
        ensure!(
            header.version == INTERFACE_VERSION,
            "conform.sys has interface version {}",
            header.version
        );
        let records = output
            .get(ListHeader::SIZE..)
            .unwrap_or_default()
            .chunks_exact(VectorInfo::SIZE);
        ensure!(
            records.len() == header.count as usize,
            "{} of {} vectors listed",
            records.len(),
            header.count
        );
        records
            .map(|record| {
                let info =
                    VectorInfo::from_bytes(record).context("a record of the list is malformed")?;
                Ok(Listed {
                    id: info.id.as_str().to_owned(),
                    title: info.title.as_str().to_owned(),
                    basis: info.basis,
                })
            })
            .collect()
    }

    /// Runs a vector. In ntsim each is possible as a whole.
    ///
    /// # Errors
    ///
    /// What the vector says.
    pub fn vector(&self, index: u32) -> Result<Answers> {
        let result = self.ask(index)?;
        let text = result.text.as_str();
        match result.verdict {
            Verdict::Passed if result.parts_missing == 0 => Ok(result.answers),
            Verdict::Passed => {
                bail!("passed, but in part not possible here, which must not be: {text}")
            }
            Verdict::Failed => bail!("failed: {text}"),
            Verdict::NotPossible => bail!("not possible here, which must not be: {text}"),
        }
    }

    /// Runs a vector; what the driver says of it.
    ///
    /// # Errors
    ///
    /// A result that cannot be understood.
    pub fn ask(&self, index: u32) -> Result<RunResult> {
        let output = watchdog::watch(|| {
            self.device
                .ioctl(IOCTL_RUN, &index.to_le_bytes(), RunResult::SIZE)
        })
        .context("IOCTL_RUN")?;
        RunResult::from_bytes(&output).context("the result is malformed")
    }

    /// The engine's image.
    #[must_use]
    pub const fn engine(&self) -> &'static Image {
        self.engine
    }
}
