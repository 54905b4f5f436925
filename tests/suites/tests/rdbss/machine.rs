//! The machine with the redirector.

use anyhow::{Context as _, Result, ensure};
use memrdr_ioctl::{BREAK, COLLAPSE, COUNT, COUNTERS, DEVICE_NAME, SERVER, SHARE, START, STOP};
use ntsim::{Driver, File, HowToOpen, NtStatus, Options};
use suites::machine;

/// The redirector, loaded.
pub(crate) struct Redirector {
    driver: Driver,
    control: File,
}

/// A path through the redirector's device.
pub(crate) fn path(server: &str, rest: &str) -> String {
    format!(r"{DEVICE_NAME}\{server}\{SHARE}{rest}")
}

/// The same on the server that answers.
pub(crate) fn here(rest: &str) -> String {
    path(SERVER, rest)
}

/// Opens for reading what must be there.
pub(crate) fn open(path: &str) -> Result<File> {
    File::create(path, &HowToOpen::default()).with_context(|| path.to_owned())
}

/// The status of an open that must fail.
pub(crate) fn refused(path: &str, how: &HowToOpen) -> Result<NtStatus> {
    match File::create(path, how) {
        Ok(_) => anyhow::bail!("{path} was opened"),
        Err(status) => Ok(status),
    }
}

impl Redirector {
    /// Boots, and loads it.
    pub(crate) fn load() -> Result<Self> {
        ntsim::boot(Options::default());
        let profile = std::env::var(crate::PROFILE).context("no profile")?;
        let driver = machine::start(&machine::images(&profile).join("memrdr.sys"))?;
        let control = File::open(DEVICE_NAME).context(DEVICE_NAME)?;
        Ok(Self { driver, control })
    }

    /// The same, started.
    pub(crate) fn started() -> Result<Self> {
        let redirector = Self::load()?;
        redirector.start().context("start")?;
        Ok(redirector)
    }

    pub(crate) fn start(&self) -> Result<(), NtStatus> {
        self.control.fsctl(START, &[], 0).map(|_| ())
    }

    pub(crate) fn stop(&self) -> Result<(), NtStatus> {
        self.control.ioctl(STOP, &[], 0).map(|_| ())
    }

    pub(crate) fn break_rule(&self, name: &str) -> Result<(), NtStatus> {
        self.control.fsctl(BREAK, name.as_bytes(), 0).map(|_| ())
    }

    pub(crate) fn collapse(&self, collapse: bool) -> Result<(), NtStatus> {
        self.control
            .fsctl(COLLAPSE, &[u8::from(collapse)], 0)
            .map(|_| ())
    }

    /// How often each callback was called.
    pub(crate) fn counts(&self) -> Result<[u32; COUNTERS]> {
        let bytes = self.control.fsctl(COUNT, &[], COUNTERS * 4)?;
        let words = bytes.as_chunks::<4>().0;
        let counts: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        counts
            .try_into()
            .map_err(|counts| anyhow::anyhow!("{counts:?}"))
    }

    /// Unloads it: every SRV_CALL, view, share, open and file that was made must have gone.
    pub(crate) fn unload(self) -> Result<()> {
        let Self { driver, control } = self;
        drop(control);
        driver.unload().context("unload")?;
        machine::nothing_is_left()
    }

    /// Stops and unloads it.
    pub(crate) fn end(self) -> Result<()> {
        self.stop().context("stop")?;
        let [
            servers,
            servers_gone,
            views,
            views_gone,
            _,
            creates,
            collapses,
            closes,
            fobxs_gone,
            fcbs_gone,
        ] = self.counts()?;
        ensure!(views == views_gone, "{views} views, {views_gone} finalised");
        ensure!(
            servers_gone <= servers && closes <= creates,
            "more ends than beginnings"
        );
        ensure!(
            fobxs_gone == closes + collapses,
            "{closes} opens and {collapses} collapsed ones were closed, {fobxs_gone} FOBXs went"
        );
        ensure!(
            fcbs_gone <= creates,
            "{creates} opens, {fcbs_gone} FCBs went"
        );
        self.unload()
    }
}
