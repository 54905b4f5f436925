//! Tests that look at the machine, or change it, while rxcectl runs.

use std::{cell::RefCell, collections::BTreeSet, env, process::Command, rc::Rc};

use anyhow::{Context as _, Result, ensure};
use conform_ioctl::{IOCTL_LIST, IOCTL_RUN};
use libtest_mimic::Failed;
use ntsim::{Driver, File, Options, fault, se};
use rxcectl::{ExitCode, NtStatus, Problem, System};
use suites::{
    machine::{images, nothing_is_left, start},
    system::{self, Machine},
};

/// Tells a child process its task.
pub(crate) const TASK: &str = "RXCECTL_TASK";

/// A name, and what is done in a machine with rxce.sys and conform.sys, the first of them given.
type Task = (&'static str, fn(&Driver) -> Result<()>);

pub(crate) const TESTS: &[Task] = &[
    (
        "an_ordinary_user_is_told_to_be_an_administrator",
        ordinary_user,
    ),
    ("a_second_run_is_told_of_the_first", second_run),
    ("a_driver_that_is_not_started_is_named", not_started),
    ("another_version_is_refused", another_version),
    ("a_vector_that_fails_leaves_the_others_alone", planted),
];

/// Runs this program as a machine of its own.
pub(crate) fn parent(task: &str) -> Result<(), Failed> {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "600"])
        .arg(env::current_exe()?)
        .env(TASK, task)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{text}", output.status).into())
}

/// Boots, loads, does the task, unloads, and sees that nothing is left.
pub(crate) fn child(task: &str) -> Result<()> {
    let find = |(name, _): &&Task| *name == task;
    let (_, run) = TESTS.iter().find(find).context("no such task")?;
    ntsim::boot(Options {
        echo_debug_output: false,
        ..Options::default()
    });
    let images = images("debug");
    let rxce = start(&images.join("rxce.sys"))?;
    let conform = start(&images.join("conform.sys"))?;
    run(&rxce)?;
    conform.unload()?;
    rxce.unload()?;
    nothing_is_left()
}

/// Something that is done to a request before the driver sees it, or to its answer.
type Meddler = Rc<dyn Fn(u32, &[u8], &mut dyn FnMut() -> Answer) -> Answer>;
type Answer = Result<Vec<u8>, NtStatus>;

/// The machine, with what was printed, and with somebody between rxcectl and the drivers.
struct Watched {
    machine: Machine,
    printed: String,
    told: String,
    meddler: Meddler,
}

struct Device(system::Device, Meddler);

impl Watched {
    fn new() -> Self {
        Self::with(|_, _, go_on| go_on())
    }

    fn with(meddler: impl Fn(u32, &[u8], &mut dyn FnMut() -> Answer) -> Answer + 'static) -> Self {
        Self {
            machine: Machine::default(),
            printed: String::new(),
            told: String::new(),
            meddler: Rc::new(meddler),
        }
    }

    /// Runs a command that must end with `code` and tell of everything in `words`.
    fn fails(&mut self, arguments: &[&str], code: ExitCode, words: &[&str]) -> Result<()> {
        let seen = rxcectl::run(self, arguments);
        ensure!(
            seen == code && words.iter().all(|word| self.told.contains(word)),
            "{seen:?}, expected {code:?} and {words:?}: {}",
            self.told
        );
        ensure!(self.printed.is_empty(), "printed: {}", self.printed);
        Ok(())
    }
}

impl System for Watched {
    type Device = Device;
    type File = system::Output;

    fn open(&mut self, name: &str) -> Result<Device, NtStatus> {
        let device = self.machine.open(name)?;
        Ok(Device(device, Rc::clone(&self.meddler)))
    }

    fn create(&mut self, path: &str) -> Result<system::Output, Problem> {
        self.machine.create(path)
    }

    fn resolve(&mut self, host: &str) -> Result<[u8; 4], Problem> {
        self.machine.resolve(host)
    }

    fn microseconds(&mut self) -> u64 {
        self.machine.microseconds()
    }

    fn print(&mut self, text: &str) -> Result<(), Problem> {
        self.printed.push_str(text);
        Ok(())
    }

    fn complain(&mut self, text: &str) {
        self.told.push_str(text);
    }
}

impl rxcectl::Device for Device {
    fn control(&self, code: u32, input: &[u8], room: usize) -> Answer {
        (self.1)(code, input, &mut || {
            rxcectl::Device::control(&self.0, code, input, room)
        })
    }
}

fn ordinary_user(_: &Driver) -> Result<()> {
    se::set_user_admin(false);
    Watched::new().fails(
        &["conformance"],
        ExitCode::Unusable,
        &["conform.sys", "administrators"],
    )?;
    se::set_user_admin(true);
    Ok(())
}

fn second_run(_: &Driver) -> Result<()> {
    let first = File::open(conform_ioctl::DEVICE_NAME)?;
    Watched::new().fails(
        &["conformance"],
        ExitCode::Unusable,
        &["conform.sys is in use"],
    )?;
    drop(first);
    let code = rxcectl::run(&mut Watched::new(), &["conformance", "--only", "I1"]);
    ensure!(code == ExitCode::Done, "after the first: {code:?}");
    // Where the kernel lost what the driver said to the open.
    Watched::with(|_, _, _| Err(NtStatus::SHARING_VIOLATION)).fails(
        &["conformance"],
        ExitCode::Unusable,
        &["conform.sys is in use"],
    )
}

fn not_started(_: &Driver) -> Result<()> {
    Watched::new().fails(
        &["counters"],
        ExitCode::Unusable,
        &["p9probe.sys is not started", "sc start p9probe"],
    )
}

fn another_version(_: &Driver) -> Result<()> {
    let theirs = conform_ioctl::INTERFACE_VERSION + 1;
    let mut machine = Watched::with(move |code, _, go_on| {
        let mut answer = go_on()?;
        if code == IOCTL_LIST {
            // The version is the first number of the list.
            answer
                .iter_mut()
                .zip(theirs.to_le_bytes())
                .for_each(|(to, from)| *to = from);
        }
        Ok(answer)
    });
    let version = format!("version {theirs}");
    machine.fails(
        &["conformance"],
        ExitCode::Unusable,
        &["conform.sys", &version, "one build"],
    )
}

/// A kernel call of the engine fails in every third vector, another one each time. Such vectors fail, or do not notice; no other
/// one may fail, and nothing may be left when the drivers go.
fn planted(rxce: &Driver) -> Result<()> {
    const EVERY: u32 = 3;
    let image = rxce.image();
    let planted: Rc<RefCell<BTreeSet<u32>>> = Rc::default();
    let planting = Rc::clone(&planted);
    let mut machine = Watched::with(move |code, input, go_on| {
        let index = input.first_chunk().copied().map(u32::from_le_bytes);
        match index.filter(|index| code == IOCTL_RUN && index % EVERY == 1) {
            None => go_on(),
            Some(index) => {
                planting.borrow_mut().insert(index);
                // The first life of every vector's runner makes some twenty such calls; beyond them the vector's own begin.
                fault::fail_nth(image, 1 + index * 7 % 60);
                let answer = go_on();
                fault::fail_nth(image, 0);
                answer
            }
        }
    });
    let code = rxcectl::run(&mut machine, &["conformance", "--json"]);
    ensure!(code == ExitCode::Failed, "{code:?}: {}", machine.told);
    let document: serde_json::Value = serde_json::from_str(&machine.printed)?;
    let vectors = document["vectors"].as_array().context("no vectors")?;
    let mut failed = 0_u64;
    for (index, vector) in (0_u32..).zip(vectors) {
        if vector["verdict"] == "passed" {
            continue;
        }
        ensure!(
            planted.borrow().contains(&index) && vector["verdict"] == "failed",
            "after a failed vector: {vector}"
        );
        ensure!(vector["text"] != "", "no reason: {vector}");
        failed += 1;
    }
    let sum = document["failed"].as_u64();
    ensure!(sum == Some(failed), "{failed} failed, the sum says {sum:?}");
    // Else the test shows nothing.
    ensure!(failed >= 10, "only {failed} vectors failed");
    eprintln!("{failed} of {} planted", planted.borrow().len());
    Ok(())
}
