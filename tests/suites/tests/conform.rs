//! Every vector of conform.sys against the built rxce.sys, debug and release, each in a machine of its own.
//!
//! It needs the driver images (`cargo xtask build --all`); where one is missing the tests fail and say so. In ntsim
//! every vector is possible, down to its last part: "not possible here" is a failure. What the routines answered meanwhile
//! makes docs/conformance.md, which is checked for being up to date.

#[path = "conform/table.rs"]
mod table;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use conform_ioctl::{
    Answers, Basis, DEVICE_NAME, INTERFACE_VERSION, IOCTL_LIST, IOCTL_RUN, ListHeader, RunResult,
    VectorInfo, Verdict,
};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::{Driver, File, Options};

/// Tells a child process what to do: `list`, or the index of a vector.
const TASK: &str = "CONFORM_TASK";
/// Tells a child process where the images are.
const IMAGES: &str = "CONFORM_IMAGES";
/// Set by whoever wants docs/conformance.md written instead of compared.
const UPDATE: &str = "CONFORM_UPDATE";
/// Between the fields of a line that a child process prints.
const SEPARATOR: char = '\t';
/// Real time that one vector gets. They take milliseconds: what they wait for is virtual.
const LIMIT: Duration = Duration::from_secs(180);
/// Least number of vectors: a table that shrinks by accident is no success.
const LEAST: usize = 160;

fn main() -> ExitCode {
    if let Some(task) = env::var_os(TASK) {
        let images = PathBuf::from(env::var_os(IMAGES).unwrap_or_default());
        return match child(&images, &task.to_string_lossy()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let trials = ["debug", "release"].into_iter().flat_map(trials).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// One vector of one profile's driver. Whoever needs its result first runs it.
struct Vector {
    id: String,
    title: String,
    basis: Basis,
    index: usize,
    images: PathBuf,
    result: OnceLock<Result<Answers, Failed>>,
}

impl Vector {
    fn new(images: &Path, index: usize, line: &str) -> Option<Self> {
        let mut fields = line.split(SEPARATOR);
        Some(Self {
            id: fields.next()?.to_owned(),
            basis: match fields.next()? {
                "documented" => Basis::Documented,
                _ => Basis::OwnChoice,
            },
            title: fields.next()?.to_owned(),
            index,
            images: images.to_owned(),
            result: OnceLock::new(),
        })
    }

    fn result(&self) -> Result<Answers, Failed> {
        self.result.get_or_init(|| self.run()).clone()
    }

    fn run(&self) -> Result<Answers, Failed> {
        let output = run_child(&self.images, &self.index.to_string())?;
        let bytes: Option<Vec<u8>> = output
            .split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).ok())
            .collect();
        let answers = bytes.as_deref().and_then(Answers::from_bytes);
        answers.ok_or_else(|| format!("the child printed {output:?}").into())
    }

    fn name(&self) -> String {
        let mark = match self.basis {
            Basis::Documented => "",
            Basis::OwnChoice => " (own choice)",
        };
        format!("{}: {}{mark}", self.id, self.title)
    }
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// One test per vector of the driver, and one for their coverage; if the driver cannot say what it has, that is the one
/// test, and it fails.
fn trials(profile: &'static str) -> Vec<Trial> {
    let images = project()
        .join("target/drivers")
        .join(profile)
        .join("x86_64");
    let listed = run_child(&images, "list").and_then(|text| {
        let vectors: Option<Vec<Arc<Vector>>> = text
            .lines()
            .enumerate()
            .map(|(index, line)| Vector::new(&images, index, line).map(Arc::new))
            .collect();
        let vectors = vectors.ok_or("the list is malformed")?;
        if vectors.len() < LEAST {
            return Err(format!(
                "only {} vectors, at least {LEAST} are expected",
                vectors.len()
            )
            .into());
        }
        Ok(vectors)
    });
    let vectors = match listed {
        Ok(vectors) => vectors,
        Err(failed) => {
            return vec![Trial::test(format!("{profile}::vectors"), move || {
                Err(failed)
            })];
        }
    };
    let mut trials: Vec<Trial> = vectors
        .iter()
        .map(|vector| {
            let vector = Arc::clone(vector);
            Trial::test(format!("{profile}::{}", vector.name()), move || {
                vector.result().map(drop)
            })
        })
        .collect();
    let name = match profile {
        "release" => "docs: conformance.md is up to date, and every documented answer was seen",
        _ => "debug::every documented answer was seen",
    };
    trials.push(Trial::test(name, move || {
        coverage(&vectors, profile == "release").map_err(|error| format!("{error:#}").into())
    }));
    trials
}

/// Every documented answer was seen; for the shipped image, the document says where.
fn coverage(vectors: &[Arc<Vector>], document: bool) -> Result<()> {
    let mut passed = Vec::new();
    for vector in vectors {
        let answers = vector.result();
        passed.push(table::Passed {
            id: vector.id.clone(),
            title: vector.title.clone(),
            basis: vector.basis,
            answers: answers.map_err(|_| anyhow::anyhow!("{} failed", vector.id))?,
        });
    }
    let definition = project().join("include/rxce.def");
    let definition = fs::read_to_string(&definition).context("include/rxce.def")?;
    table::check(&passed, &definition)?;
    if !document {
        return Ok(());
    }
    table::keep(&passed)?;
    let text = table::render(&passed)?;
    let path = project().join("docs/conformance.md");
    if env::var_os(UPDATE).is_some() {
        return fs::write(&path, text).context("docs/conformance.md");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let difference = text
        .lines()
        .zip(written.lines().chain(std::iter::repeat("")))
        .find(|(now, then)| now != then);
    ensure!(
        written == text,
        "docs/conformance.md is out of date ({UPDATE}=1 writes it anew); first difference: {difference:?}"
    );
    Ok(())
}

/// Runs this program as a machine of its own; its output, or why it failed.
fn run_child(images: &Path, task: &str) -> Result<String, Failed> {
    let output = Command::new(env::current_exe()?)
        .env(TASK, task)
        .env(IMAGES, images)
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(format!("{}\n{out}{err}", output.status).into())
}

/// Boots, loads both drivers, does the task, unloads them, and sees that nothing is left.
fn child(images: &Path, task: &str) -> Result<()> {
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!(
            "the machine hangs: no result in {} s of real time",
            LIMIT.as_secs()
        );
        std::process::exit(97);
    });
    ntsim::boot(Options::default());
    let load = |name: &str| -> Result<Driver> {
        let path = images.join(name);
        let driver = Driver::load(&path).with_context(|| {
            format!(
                "cannot load {} (made by `cargo xtask build --all`)",
                path.display()
            )
        })?;
        let status = driver.start();
        ensure!(status >= 0, "DriverEntry of {name} returned {status:#010X}");
        Ok(driver)
    };
    let (rxce, conform) = (load("rxce.sys")?, load("conform.sys")?);
    let device = File::open(DEVICE_NAME).with_context(|| format!("cannot open {DEVICE_NAME}"))?;
    let result = match task {
        "list" => list(&device),
        index => run(&device, index.parse()?),
    };
    drop(device);
    conform.unload().context("conform.sys")?;
    rxce.unload().context("rxce.sys")?;
    result
}

fn list(device: &File) -> Result<()> {
    let room = ListHeader::SIZE + 256 * VectorInfo::SIZE;
    let output = device.ioctl(IOCTL_LIST, &[], room).context("IOCTL_LIST")?;
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
    for record in records {
        let info = VectorInfo::from_bytes(record).context("a record of the list is malformed")?;
        let basis = match info.basis {
            Basis::Documented => "documented",
            Basis::OwnChoice => "own",
        };
        println!(
            "{}{SEPARATOR}{basis}{SEPARATOR}{}",
            info.id.as_str(),
            info.title.as_str()
        );
    }
    Ok(())
}

fn run(device: &File, index: u32) -> Result<()> {
    let output = device
        .ioctl(IOCTL_RUN, &index.to_le_bytes(), RunResult::SIZE)
        .context("IOCTL_RUN")?;
    let result = RunResult::from_bytes(&output).context("the result is malformed")?;
    let text = result.text.as_str();
    match result.verdict {
        Verdict::Passed if result.parts_missing == 0 => {
            let bytes = result.answers.to_bytes().map(|byte| format!("{byte:02x}"));
            println!("{}", bytes.join(" "));
            Ok(())
        }
        Verdict::Passed => {
            bail!("passed, but in part not possible here, which must not be: {text}")
        }
        Verdict::Failed => bail!("failed: {text}"),
        Verdict::NotPossible => bail!("not possible here, which must not be: {text}"),
    }
}
