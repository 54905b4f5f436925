//! Drivers as the system sees them: loading with what they import, `DriverEntry`, unloading, and the leak rules.
//!
//! A file that others import from may be loaded as a driver of its own, implicitly as an import of another (then it gets
//! `DllInitialize` and `DllUnload` instead of `DriverEntry`; "Creating a kernel-mode export driver"), or both.

mod leaks;
mod object;

use crate::dispatcher::host::on_system_thread;
use crate::image::{self, Image, LoadError};
use crate::layout::io::{Device, DriverObject};
use crate::own::{self, Own};
use crate::trace::{self, EventKind};
use crate::{gate, stop, thread};
use core::fmt::{self, Display, Formatter};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use object::ROUTINES;

/// A driver that was loaded as a service.
pub struct Driver {
    image: &'static Image,
    object: usize,
    started: Mutex<bool>,
}

/// Why a driver could not be loaded or unloaded.
#[derive(Debug)]
pub enum Error {
    /// The image cannot be loaded.
    Load(PathBuf, LoadError),
    /// Its `DllInitialize` failed.
    DllInitialize(String, i32),
    /// Drivers import from each other in a circle; their names, the first one again at the end.
    Circle(Vec<String>),
    /// It has no entry point: others may import from it, but it cannot be started.
    NoEntryPoint(String),
    /// A companion that the driver does not import from, neither itself nor through others.
    NotImported(PathBuf),
    /// It has no unload routine: Windows would keep it for ever.
    NoUnload(String),
    /// A device of it is open: Windows would wait with the unload until it is closed.
    DeviceInUse(String),
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(path, error) => write!(f, "{}: {error}", path.display()),
            Self::DllInitialize(name, status) => {
                write!(f, "DllInitialize of {name}: {}", describe(*status))
            }
            Self::Circle(names) => {
                write!(
                    f,
                    "drivers import from each other in a circle: {}",
                    names.join(" → ")
                )
            }
            Self::NoEntryPoint(name) => {
                write!(f, "{name} has no entry point: nothing in it can be started")
            }
            Self::NotImported(path) => {
                write!(f, "{}: nothing is imported from it", path.display())
            }
            Self::NoUnload(name) => write!(f, "{name} has no unload routine"),
            Self::DeviceInUse(name) => write!(f, "{name}: a device of it is open"),
        }
    }
}

impl std::error::Error for Error {}

fn describe(status: i32) -> String {
    trace::status::describe(status.cast_unsigned())
}

/// Who needs an image.
#[derive(Default)]
struct Users {
    /// Loaded images that import from it.
    importers: usize,
    /// It is loaded as a service.
    service: bool,
    /// Its `DllInitialize` has succeeded.
    library: bool,
}

static USERS: Mutex<Option<HashMap<u32, Users>>> = Mutex::new(None);

fn users<R>(image: &Image, use_them: impl FnOnce(&mut Users) -> R) -> R {
    use_them(
        USERS
            .lock()
            .get_or_insert_default()
            .entry(image.id)
            .or_default(),
    )
}

impl Driver {
    /// Maps a driver and, from the same folder, the drivers that it imports from and that are not loaded yet.
    ///
    /// # Errors
    ///
    /// When a file cannot be loaded, or the `DllInitialize` of an imported driver fails.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::load_with(path, &[])
    }

    /// As [`Self::load`]; drivers that are imported from are looked for among the companions first.
    ///
    /// # Errors
    ///
    /// As [`Self::load`], and when nothing is imported from a companion.
    pub fn load_with(path: &Path, companions: &[PathBuf]) -> Result<Self, Error> {
        let image = Loading::of(companions).map(path)?;
        users(image, |users| users.service = true);
        let stranger = companions.iter().find(|companion| {
            image::by_name(&image::file_name(companion))
                .is_none_or(|known| known.path != **companion)
        });
        let refusal = match stranger {
            Some(path) => Some(Error::NotImported(path.clone())),
            None if image.entry == 0 => Some(Error::NoEntryPoint(image.name.clone())),
            None => None,
        };
        if let Some(refusal) = refusal {
            users(image, |users| users.service = false);
            drop_if_unused(image);
            return Err(refusal);
        }
        let object = object::create(image);
        trace::event(EventKind::Driver, 0, || {
            format!("{} loaded at 0x{:X}", image.name, image.base)
        });
        Ok(Self {
            image,
            object,
            started: Mutex::new(false),
        })
    }

    /// The loaded image.
    #[must_use]
    pub fn image(&self) -> &'static Image {
        self.image
    }

    /// Address of the driver object.
    #[must_use]
    pub fn object(&self) -> usize {
        self.object
    }

    /// Names of its devices, the newest first; empty for one without a name.
    #[must_use]
    pub fn devices(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut device = DriverObject(self.object).device().get();
        while device != 0 && crate::io::device::is_device(Device(device)) {
            names.push(crate::io::device::name(Device(device)));
            device = Device(device).next().get();
        }
        names
    }

    /// Whether it has set a routine for devices that plug and play finds.
    #[must_use]
    pub fn has_add_device(&self) -> bool {
        let extension = DriverObject(self.object).extension().get();
        // DRIVER_EXTENSION.AddDevice.
        extension != 0 && crate::mem::peek::<usize>(extension + 8) != 0
    }

    /// Calls an exported routine in a system thread and returns its `rax`; nothing if there is no such export.
    pub fn call_export(&self, name: &'static str, args: &[u64]) -> Option<u64> {
        let target = self.image.export(name)?;
        let args = args.to_vec();
        Some(on_system_thread(name, move || {
            gate::call_named(name, target, &args)
        }))
    }

    /// Runs `DriverEntry` in a system thread. If it fails, the driver is unloaded, and must have left nothing behind.
    pub fn start(&self) -> i32 {
        let (image, object) = (self.image, self.object);
        let path = object::registry_path(image);
        let status = on_system_thread("driver entry", move || {
            status_of("DriverEntry", image.entry, &[object as u64, path as u64])
        });
        trace::event(EventKind::Driver, 0, || {
            format!("{} started: {}", image.name, describe(status))
        });
        if status >= 0 {
            *self.started.lock() = true;
            object::initialised(object);
            image.discard_init();
        } else {
            self.drop_image();
        }
        status
    }

    /// Whether the system would unload the driver now.
    ///
    /// # Errors
    ///
    /// When it would refuse or postpone that.
    pub fn may_unload(&self) -> Result<(), Error> {
        let object = DriverObject(self.object);
        if !*self.started.lock() {
            Ok(())
        } else if object.unload().get() == 0 {
            Err(Error::NoUnload(self.image.name.clone()))
        } else if has_open_device(object) {
            Err(Error::DeviceInUse(self.image.name.clone()))
        } else {
            Ok(())
        }
    }

    /// Stops the driver: `DriverUnload`, then the leak rules. A violated one stops the machine with 0xC4/62.
    ///
    /// # Errors
    ///
    /// As [`Self::may_unload`].
    pub fn unload(self) -> Result<(), Error> {
        self.may_unload()?;
        if *self.started.lock() {
            let unload = DriverObject(self.object).unload().get();
            let argument = self.object as u64;
            on_system_thread("driver unload", move || {
                run("DriverUnload", unload, &[argument]);
            });
        }
        if self.image.is_loaded() {
            self.drop_image();
        }
        Ok(())
    }

    fn drop_image(&self) {
        // The image stays while work items and completion routines that hold a device of it run.
        crate::io::keep::wait(DriverObject(self.object));
        users(self.image, |users| users.service = false);
        leaks::check_devices(self.image, DriverObject(self.object));
        object::delete(self.image, self.object);
        drop_if_unused(self.image);
    }
}

/// Whether a file is open on a device of this driver.
fn has_open_device(object: DriverObject) -> bool {
    let mut device = object.device().get();
    while device != 0 {
        if Device(device).reference_count().get() > 0 {
            return true;
        }
        device = Device(device).next().get();
    }
    false
}

/// Modules that are the kernel itself, whatever lies beside a driver.
const KERNEL: [&str; 2] = ["ntoskrnl.exe", "hal.dll"];

/// One load, with everything that it draws in.
struct Loading<'a> {
    companions: &'a [PathBuf],
    /// Names of the files that are being mapped, each because the one before imports from it.
    chain: Vec<String>,
}

impl<'a> Loading<'a> {
    fn of(companions: &'a [PathBuf]) -> Self {
        Self {
            companions,
            chain: Vec::new(),
        }
    }

    /// Maps an image and, first, what it imports from the companions and its own folder; counts it as an importer.
    fn map(&mut self, path: &Path) -> Result<&'static Image, Error> {
        let error = |error| Error::Load(path.to_owned(), error);
        let file_name = image::file_name(path);
        if let Some(image) = image::by_name(&file_name) {
            return Ok(image);
        }
        let same = |name: &String| name.eq_ignore_ascii_case(&file_name);
        if let Some(start) = self.chain.iter().position(same) {
            let mut circle: Vec<String> = self.chain.drain(start..).collect();
            circle.push(file_name);
            return Err(Error::Circle(circle));
        }
        self.chain.push(file_name);
        for module in image::imported_modules(path).map_err(error)? {
            if image::by_name(&module).is_none()
                && let Some(file) = self.find_file(path, &module)
            {
                self.map_library(&file)?;
            }
        }
        self.chain.pop();
        let image = image::load(path).map_err(error)?;
        for exporter in exporters(image) {
            users(exporter, |users| users.importers += 1);
        }
        Ok(image)
    }

    /// A driver of this name, in any case of letters: a companion, or in the folder of the file that imports from it.
    fn find_file(&self, importer: &Path, name: &str) -> Option<PathBuf> {
        if KERNEL
            .iter()
            .any(|kernel| kernel.eq_ignore_ascii_case(name))
        {
            return None;
        }
        let wanted = |path: &PathBuf| image::file_name(path).eq_ignore_ascii_case(name);
        let companion = self.companions.iter().find(|path| wanted(path));
        companion.cloned().or_else(|| {
            let folder = importer.parent().unwrap_or(Path::new("."));
            let mut files = std::fs::read_dir(folder).ok()?.flatten();
            // Programs of user mode may lie beside drivers: they are no concern of the kernel.
            files
                .find_map(|entry| Some(entry.path()).filter(wanted))
                .filter(|path| image::is_driver(path) || path.extension() == Some("sys".as_ref()))
        })
    }

    /// Loads an image because another one imports from it.
    fn map_library(&mut self, path: &Path) -> Result<&'static Image, Error> {
        let image = self.map(path)?;
        trace::event(EventKind::Driver, 0, || {
            format!("{} loaded as an import at 0x{:X}", image.name, image.base)
        });
        if let Some(initialize) = image.export("DllInitialize") {
            let argument = object::registry_path(image) as u64;
            let status = on_system_thread("dll initialize", move || {
                status_of("DllInitialize", initialize, &[argument])
            });
            if status < 0 {
                drop_if_unused(image);
                return Err(Error::DllInitialize(image.name.clone(), status));
            }
        }
        users(image, |users| users.library = true);
        Ok(image)
    }
}

/// The loaded images that an image imports from.
fn exporters(image: &Image) -> Vec<&'static Image> {
    image
        .imports
        .iter()
        .filter_map(|module| image::by_name(module))
        .collect()
}

/// Unmaps an image that nobody needs any more: `DllUnload`, the leak rules, then the same for what it imports from.
fn drop_if_unused(image: &'static Image) {
    let (unused, library) = users(image, |users| {
        let unused = users.importers == 0 && !users.service;
        (unused, unused && core::mem::take(&mut users.library))
    });
    if !unused || !image.is_loaded() {
        return;
    }
    if let Some(unload) = image.export("DllUnload").filter(|_| library) {
        on_system_thread("dll unload", move || {
            run("DllUnload", unload, &[]);
        });
    }
    leaks::check(image);
    leaks::check_stacks(image);
    crate::executive::forget(image.base, image.bytes);
    let exporters = exporters(image);
    trace::event(EventKind::Driver, 0, || format!("{} unloaded", image.name));
    image.unload();
    for exporter in exporters {
        users(exporter, |users| {
            users.importers = users.importers.saturating_sub(1)
        });
        drop_if_unused(exporter);
    }
}

/// Calls driver code on the current thread and checks that it leaves the thread as it found it.
fn run(name: &'static str, target: usize, args: &[u64]) -> u64 {
    let thread = thread::current();
    let result = gate::call_named(name, target, args);
    let irql = thread.irql();
    if irql != 0 {
        own::violation(
            Own::Entry,
            [target as u64, 0, u64::from(irql)],
            format!(
                "{name} of {} returned at IRQL {irql}",
                stop::describe(target)
            ),
        );
    }
    result
}

fn status_of(name: &'static str, target: usize, args: &[u64]) -> i32 {
    u32::try_from(run(name, target, args) & 0xFFFF_FFFF)
        .unwrap_or(0)
        .cast_signed()
}
