//! The machine with the redirector.

use anyhow::{Context as _, Result, bail, ensure};
use ntsim::{
    Driver, File, HowToOpen, NtStatus, Options,
    io::status,
    ob::registry::{self, Value},
};
use suites::machine;

/// The driver's device.
pub(crate) const DEVICE: &str = r"\Device\Rxce";
/// The service, as ntsim names it for its file.
pub(crate) const SERVICE: &str = "rxce";
/// `FSCTL_RXCE_START` and `FSCTL_RXCE_STOP` (docs/redirector.md).
pub(crate) const START: u32 = 0x0014_A000;
pub(crate) const STOP: u32 = 0x0014_A004;

/// The redirector, loaded.
pub(crate) struct Redirector {
    driver: Driver,
    control: File,
}

/// A path on a server of this host, as the user who runs the test.
pub(crate) fn path(port: u16, tree: &std::path::Path, rest: &str) -> String {
    let tree = tree.display().to_string();
    let share = tree
        .trim_start_matches('/')
        .replace('!', "!!")
        .replace('/', "!");
    named(&format!("{}@127.0.0.1@{port}", user()), &share, rest)
}

/// Any path through the redirector's device.
pub(crate) fn named(server: &str, share: &str, rest: &str) -> String {
    format!(r"{DEVICE}\{server}\{share}{rest}")
}

/// Lets the driver wait for an answer so long, as its next start reads it. A machine keeps real time while it has connections.
pub(crate) fn set_exchange_seconds(seconds: u32) {
    registry::set_parameter(SERVICE, "ExchangeSeconds", Value::Number(seconds));
}

fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Opens for reading what must be there.
pub(crate) fn open(path: &str) -> Result<File> {
    File::create(path, &HowToOpen::default()).with_context(|| path.to_owned())
}

/// Expects a failure with this status.
pub(crate) fn fails<T>(result: Result<T, NtStatus>, wanted: i32) -> Result<()> {
    match result {
        Ok(_) => bail!("it succeeded, and {} was expected", status::name(wanted)),
        Err(NtStatus(status)) => {
            ensure!(
                status == wanted,
                "{}, and {} was expected",
                status::name(status),
                status::name(wanted)
            );
            Ok(())
        }
    }
}

/// Expects that an open fails with this status.
pub(crate) fn refused(path: &str, how: &HowToOpen, wanted: i32) -> Result<()> {
    fails(File::create(path, how), wanted).with_context(|| path.to_owned())
}

impl Redirector {
    /// Boots, and loads it.
    pub(crate) fn load(profile: &str) -> Result<Self> {
        ntsim::boot(Options::default());
        ntsim::tcp::install(r"\Device\Tcp");
        Self::load_driver(profile)
    }

    /// Loads and starts it in the machine that one of before has left.
    pub(crate) fn again(profile: &str) -> Result<Self> {
        let redirector = Self::load_driver(profile)?;
        redirector.start().context("start")?;
        Ok(redirector)
    }

    fn load_driver(profile: &str) -> Result<Self> {
        let image = machine::images(profile).join("redirector/rxce.sys");
        let driver = machine::start(&image)?;
        let control = File::open(DEVICE).context(DEVICE)?;
        Ok(Self { driver, control })
    }

    /// The same, started.
    pub(crate) fn started(profile: &str) -> Result<Self> {
        let redirector = Self::load(profile)?;
        redirector.start().context("start")?;
        Ok(redirector)
    }

    pub(crate) fn start(&self) -> Result<(), NtStatus> {
        self.control.fsctl(START, &[], 0).map(|_| ())
    }

    pub(crate) fn stop(&self) -> Result<(), NtStatus> {
        self.control.ioctl(STOP, &[], 0).map(|_| ())
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Unloads it: nothing is left.
    pub(crate) fn unload(self) -> Result<()> {
        let Self { driver, control } = self;
        drop(control);
        driver.unload().context("unload")?;
        machine::nothing_is_left()
    }

    /// Stops and unloads it.
    pub(crate) fn end(self) -> Result<()> {
        self.stop().context("stop")?;
        self.unload()
    }
}
