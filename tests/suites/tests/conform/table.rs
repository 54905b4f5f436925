//! The conformance table: every vector, and which vector saw each routine give each documented answer.
//!
//! The answers are those that the driver noted while the vectors ran, so a cell cannot claim what did not happen.

use std::{collections::BTreeSet, fmt::Write as _};

use anyhow::{Context as _, Result, ensure};
use conform_ioctl::{Answer, Answers, Basis, Routine};

/// A vector that passed.
pub(crate) struct Passed {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) basis: Basis,
    pub(crate) answers: Answers,
}

/// More vectors than this in one cell are counted, not named.
const NAMED: usize = 8;

/// A documented answer that the engine never needs, with the vector that shows why.
const NEVER: [(Routine, Answer, &str, &str); 1] = [(
    Routine::TearDownConnection,
    Answer::InsufficientResources,
    "H13",
    "never: it needs no memory",
)];

/// What a routine is documented to answer, "the provider's" where it passes a status through.
const fn documented(routine: Routine) -> &'static [Answer] {
    use Answer::{
        AddressNotAssociated, BufferOverflow, Cancelled, ConnectionActive, ConnectionDisconnected,
        InsufficientResources, InvalidHandle, InvalidParameter, NotImplemented, Null, Passed,
        Pending, Pointer, Returned, Success,
    };
    match routine {
        Routine::AllocateIrpWithMDL => &[Pointer, Null],
        Routine::BuildAddress | Routine::BuildTransport | Routine::ExAcceptChainedReceives => {
            &[Success, InvalidParameter, InsufficientResources, Passed]
        }
        Routine::BuildConnection | Routine::BuildVC | Routine::ExBuildConnectionSmallTable => &[
            Success,
            InvalidParameter,
            InsufficientResources,
            Cancelled,
            Passed,
        ],
        Routine::BuildConnectionOverMultipleTransports
        | Routine::ExBuildConnectionOverMultipleTransportsSmallTable => &[
            Success,
            Pending,
            InvalidHandle,
            InvalidParameter,
            InsufficientResources,
            Cancelled,
            Passed,
        ],
        Routine::CancelConnectRequest => &[NotImplemented],
        Routine::FreeIrp => &[Returned],
        Routine::InitiateVCDisconnect | Routine::SendDatagram | Routine::TearDownConnection => {
            &[Success, InvalidParameter, InsufficientResources]
        }
        Routine::QueryAdapterStatus => &[
            Success,
            InvalidParameter,
            InsufficientResources,
            AddressNotAssociated,
            Passed,
        ],
        Routine::QueryInformation => &[
            Success,
            InvalidParameter,
            BufferOverflow,
            InsufficientResources,
            Passed,
        ],
        Routine::QueryTransportInformation
        | Routine::TearDownAddress
        | Routine::TearDownTransport => &[Success, InvalidParameter],
        Routine::Send => &[
            Success,
            ConnectionDisconnected,
            InvalidParameter,
            InsufficientResources,
            Passed,
        ],
        Routine::TearDownVC => &[Success, InvalidParameter, Passed],
        Routine::ExCancelConnect => &[Success, InvalidParameter, ConnectionActive],
        Routine::ExGetRoutines | Routine::ExQueryCounters => {
            &[Success, InvalidParameter, BufferOverflow]
        }
    }
}

/// An answer as the table names it.
fn name(answer: Answer) -> String {
    match answer {
        Answer::Passed | Answer::Pointer | Answer::Returned => answer.name().to_owned(),
        _ => format!("`{}`", answer.name()),
    }
}

/// The routines that rxce.sys exports, by its module-definition file.
fn exports(definition: &str) -> BTreeSet<&str> {
    definition
        .lines()
        .skip_while(|line| line.trim() != "EXPORTS")
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("RxCe"))
        .collect()
}

/// Every exported routine gave every documented answer in some vector, and none that is not documented.
///
/// # Errors
///
/// A line per empty cell.
pub(crate) fn check(vectors: &[Passed], definition: &str) -> Result<()> {
    let exported = exports(definition);
    let known: BTreeSet<&str> = Routine::ALL.iter().map(|routine| routine.name()).collect();
    ensure!(
        exported == known,
        "rxce.def and the table have different routines: {:?}",
        exported.symmetric_difference(&known).collect::<Vec<_>>()
    );
    let mut faults = String::new();
    for routine in Routine::ALL {
        for answer in Answer::ALL {
            let seen = by(vectors, routine, answer);
            let wanted = documented(routine).contains(&answer);
            let (routine, answer_name) = (routine.name(), name(answer));
            match (wanted, never(routine, answer), seen.is_empty()) {
                (true, None, true) => writeln!(faults, "no vector shows {routine}: {answer_name}")?,
                (true, Some((_, vector, _)), true) => ensure!(
                    vectors.iter().any(|passed| passed.id == vector),
                    "vector {vector} is gone"
                ),
                (true, Some(_), false) | (false, _, false) => {
                    writeln!(faults, "{seen:?} saw {routine}: {answer_name}")?;
                }
                (true, None, false) | (false, _, true) => {}
            }
        }
    }
    ensure!(faults.is_empty(), "{faults}");
    Ok(())
}

/// Keeps how many vectors stand behind each cell, for `cargo xtask evidence`.
///
/// # Errors
///
/// The figures could not be written.
pub(crate) fn keep(vectors: &[Passed]) -> Result<()> {
    for routine in Routine::ALL {
        for &answer in documented(routine) {
            let never = never(routine.name(), answer).map(|(_, vector, _)| vector);
            let mut seen = by(vectors, routine, answer);
            seen.extend(never);
            let name = format!("{} {}", routine.name(), name(answer).replace('`', ""));
            let note = match never {
                Some(vector) => format!("never, by {vector}"),
                None => seen.get(..NAMED).unwrap_or(&seen).join(", "),
            };
            evidence::keep(evidence::Kind::Answered, &name, seen.len() as u64, &note)?;
        }
    }
    Ok(())
}

/// The vectors in which `routine` gave `answer`. A cancellation is the engine's answer only where it is documented, else the
/// transport's.
fn by(vectors: &[Passed], routine: Routine, answer: Answer) -> Vec<&str> {
    let cancels = documented(routine).contains(&Answer::Cancelled);
    let gave = |answers: &Answers| match answer {
        Answer::Cancelled => cancels && answers.has(routine, answer),
        Answer::Passed if !cancels => {
            answers.has(routine, answer) || answers.has(routine, Answer::Cancelled)
        }
        _ => answers.has(routine, answer),
    };
    vectors
        .iter()
        .filter(|passed| gave(&passed.answers))
        .map(|passed| passed.id.as_str())
        .collect()
}

fn never(routine: &str, answer: Answer) -> Option<(Answer, &'static str, &'static str)> {
    NEVER
        .iter()
        .find(|(of, what, _, _)| of.name() == routine && *what == answer)
        .map(|(_, what, vector, why)| (*what, *vector, *why))
}

/// The document.
///
/// # Errors
///
/// None in practice: formatting into a string.
pub(crate) fn render(vectors: &[Passed]) -> Result<String> {
    let mut out = String::new();
    let choices = vectors
        .iter()
        .filter(|passed| passed.basis == Basis::OwnChoice)
        .count();
    write!(
        out,
        "# Conformance\n\n\
         Generated from a run of the vectors; `CONFORM_UPDATE=1 cargo test -p suites --test conform -- docs` writes it, and \
         the same\ncommand without the variable checks it. The vectors are a driver, `conform.sys`, with a scripted transport \
         of its own. They run\nagainst the built `rxce.sys`, debug and release, each in a fresh machine.\n\n\
         ## Answers\n\n\
         Which vectors saw a routine give each answer that it is documented to give. An answer that is not listed was never \
         seen.\n\n\
         | Routine | Answer | Vectors |\n|---|---|---|\n"
    )?;
    for routine in Routine::ALL {
        for &answer in documented(routine) {
            let seen = by(vectors, routine, answer);
            let cell = match never(routine.name(), answer) {
                Some((_, vector, why)) => format!("{why} ({vector})"),
                None if seen.len() > NAMED => {
                    let named = seen.get(..NAMED).context("a short list")?.join(", ");
                    format!("{named} and {} more", seen.len() - NAMED)
                }
                None => seen.join(", "),
            };
            writeln!(out, "| `{}` | {} | {cell} |", routine.name(), name(answer))?;
        }
    }
    write!(
        out,
        "\n## Vectors\n\n\
         {} vectors. {choices} of them rest on a decision of this project where the published pages leave a question open: \
         another\nimplementation may differ there without being wrong.\n\n\
         | Vector | Shows | Rests on |\n|---|---|---|\n",
        vectors.len()
    )?;
    for passed in vectors {
        let basis = match passed.basis {
            Basis::Documented => "documentation",
            Basis::OwnChoice => "own choice",
        };
        writeln!(out, "| {} | {} | {basis} |", passed.id, passed.title)?;
    }
    Ok(out)
}
