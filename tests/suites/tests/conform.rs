//! Every vector of conform.sys against the built rxce.sys, each in a machine of its own: debug, release, the redirector form,
//! and the form for older kernels.
//!
//! It needs the driver images (`cargo xtask build --all`); where one is missing the tests fail and say so. In ntsim
//! every vector is possible, down to its last part: "not possible here" is a failure. What the routines answered meanwhile
//! makes docs/conformance.md, which is checked for being up to date.

#[path = "conform/faults.rs"]
mod faults;
#[path = "conform/table.rs"]
mod table;

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result};
use conform_ioctl::{Answers, Basis};
use libtest_mimic::{Arguments, Failed, Trial};
use ntsim::Rules;
use suites::{
    conform::{self, Images, Listed, Machine},
    page,
};

/// Tells a child process what to do: `list`, the index of a vector, or that with [`faults::PREFIX`] in front.
const TASK: &str = "CONFORM_TASK";
/// Tells a child process which of [`FORMS`] it runs.
const FORM: &str = "CONFORM_FORM";
/// Set by whoever wants docs/conformance.md written instead of compared.
const UPDATE: &str = "CONFORM_UPDATE";
/// Between the fields of a line that a child process prints.
const SEPARATOR: char = '\t';
/// Real time that one vector gets. They take milliseconds: what they wait for is virtual.
const LIMIT: Duration = Duration::from_secs(180);
/// Least number of vectors: a table that shrinks by accident is no success.
const LEAST: usize = 168;

/// A form of both drivers.
struct Form {
    name: &'static str,
    /// The directories of the images, engine and vectors.
    images: [&'static str; 2],
    /// The rules that it keeps.
    rules: Rules,
}

const DEBUG: Form = Form {
    name: "debug",
    images: ["debug/x86_64", "debug/x86_64"],
    rules: Rules::USUAL,
};
/// What ships, and what docs/conformance.md is about.
const RELEASE: Form = Form {
    name: "release",
    images: ["release/x86_64", "release/x86_64"],
    rules: Rules::USUAL,
};
/// The engine in the image that is a redirector, too.
const REDIRECTOR: Form = Form {
    name: "redirector",
    images: ["release/x86_64/redirector", "release/x86_64"],
    rules: Rules::USUAL,
};
/// For kernels in which all nonpaged pool is executable: the class that forbids it came later, and is off.
const LEGACY: Form = Form {
    name: "legacy",
    images: ["legacy/x86_64", "legacy/x86_64"],
    rules: Rules::USUAL.difference(Rules::CODE_INTEGRITY),
};
const FORMS: [&Form; 4] = [&DEBUG, &RELEASE, &REDIRECTOR, &LEGACY];

impl Form {
    fn images(&self) -> Images {
        let [engine, vectors] = self
            .images
            .map(|folder| project().join("target/drivers").join(folder));
        Images {
            rxce: engine.join("rxce.sys"),
            conform: vectors.join("conform.sys"),
        }
    }

    fn is_shipped(&self) -> bool {
        self.name == RELEASE.name
    }
}

fn main() -> ExitCode {
    if let Some(task) = env::var_os(TASK) {
        return match child(&task.to_string_lossy()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let trials = FORMS.into_iter().flat_map(trials).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// One vector of one form of the driver. Whoever needs its result first runs it.
struct Vector {
    id: String,
    title: String,
    basis: Basis,
    index: usize,
    form: &'static Form,
    result: OnceLock<Result<Answers, Failed>>,
}

impl Vector {
    fn new(form: &'static Form, index: usize, line: &str) -> Option<Self> {
        let mut fields = line.split(SEPARATOR);
        Some(Self {
            id: fields.next()?.to_owned(),
            basis: match fields.next()? {
                "documented" => Basis::Documented,
                _ => Basis::OwnChoice,
            },
            title: fields.next()?.to_owned(),
            index,
            form,
            result: OnceLock::new(),
        })
    }

    fn result(&self) -> Result<Answers, Failed> {
        self.result.get_or_init(|| self.run()).clone()
    }

    fn run(&self) -> Result<Answers, Failed> {
        let output = run_child(self.form, &self.index.to_string())?;
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
fn trials(form: &'static Form) -> Vec<Trial> {
    let profile = form.name;
    let listed = run_child(form, "list").and_then(|text| {
        let vectors: Option<Vec<Arc<Vector>>> = text
            .lines()
            .enumerate()
            .map(|(index, line)| Vector::new(form, index, line).map(Arc::new))
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
    trials.extend(vectors.iter().filter_map(faults::trial));
    let name = if form.is_shipped() {
        "docs: conformance.md is up to date, and every documented answer was seen".to_owned()
    } else {
        format!("{profile}::every documented answer was seen")
    };
    trials.push(Trial::test(name, move || {
        coverage(&vectors, form.is_shipped()).map_err(|error| format!("{error:#}").into())
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
    page::is_current(
        "docs/conformance.md",
        &written,
        &text,
        &format!("{UPDATE}=1"),
    )
}

/// Runs this program as a machine of its own; its output, or why it failed.
fn run_child(form: &Form, task: &str) -> Result<String, Failed> {
    let output = Command::new(env::current_exe()?)
        .env(TASK, task)
        .env(FORM, form.name)
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(format!("{}\n{out}{err}", output.status).into())
}

/// Does the task in a machine of its own.
fn child(task: &str) -> Result<()> {
    let name = env::var(FORM).context(FORM)?;
    let form = FORMS.into_iter().find(|form| form.name == name);
    let form = form.with_context(|| format!("no such form: {name}"))?;
    conform::run(
        &form.images(),
        form.rules,
        LIMIT,
        |_| Ok(()),
        |machine| match task.strip_prefix(faults::PREFIX) {
            Some(index) => faults::run(machine, index.parse()?),
            None if task == "list" => list(machine),
            None => run(machine, task.parse()?),
        },
    )
}

fn list(machine: &Machine) -> Result<()> {
    for Listed { id, title, basis } in machine.list()? {
        let basis = match basis {
            Basis::Documented => "documented",
            Basis::OwnChoice => "own",
        };
        println!("{id}{SEPARATOR}{basis}{SEPARATOR}{title}");
    }
    Ok(())
}

fn run(machine: &Machine, index: u32) -> Result<()> {
    let answers = machine.vector(index)?;
    let bytes = answers.to_bytes().map(|byte| format!("{byte:02x}"));
    println!("{}", bytes.join(" "));
    Ok(())
}
