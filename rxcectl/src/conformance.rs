//! Lists the vectors of conform.sys and runs them.

mod report;

use alloc::{format, string::String, vec::Vec};

use conform_ioctl::{
    Answers, INTERFACE_VERSION, IOCTL_LIST, IOCTL_RUN, ListHeader, RunResult, Seen, VectorInfo,
    Verdict,
};
use report::Report;

use crate::{Device, Driver, ExitCode, NtStatus, Problem, System, arguments::Conformance};

/// Runs the vectors, or lists them.
pub(crate) fn run<S: System>(
    system: &mut S,
    options: &Conformance<'_>,
    json: bool,
) -> Result<ExitCode, Problem> {
    let device = Driver::Conform.open(system)?;
    let vectors = chosen(list(&device)?, &options.only)?;
    let mut report = Report::begin(system, json)?;
    if options.list {
        for (_, vector) in &vectors {
            report.listed(vector)?;
        }
        report.end_of_list()?;
        return Ok(ExitCode::Done);
    }
    for round in 1..=options.repeat {
        report.round(round, options.repeat)?;
        for (index, vector) in &vectors {
            report.ran(round, vector, &run_one(&device, *index))?;
        }
    }
    report.end()
}

/// What became of one vector.
struct Outcome {
    verdict: Verdict,
    parts_missing: u32,
    /// What the routines answered meanwhile.
    answers: Answers,
    /// What the client was told meanwhile.
    seen: Seen,
    text: String,
}

/// Runs one vector. A driver that refuses to is a vector that failed: the others are run all the same.
fn run_one(device: &impl Device, index: u32) -> Outcome {
    let failed = |text| Outcome {
        verdict: Verdict::Failed,
        parts_missing: 0,
        answers: Answers::none(),
        seen: Seen::nothing(),
        text,
    };
    match device.control(IOCTL_RUN, &index.to_le_bytes(), RunResult::SIZE) {
        Ok(output) => RunResult::from_bytes(&output).map_or_else(
            || failed(String::from("the driver's answer is malformed")),
            |result| Outcome {
                verdict: result.verdict,
                parts_missing: result.parts_missing,
                answers: result.answers,
                seen: result.seen,
                text: String::from(result.text.as_str()),
            },
        ),
        Err(status) => failed(format!("the driver refused to run it: {status}")),
    }
}

/// The vectors of the driver, in its order.
fn list(device: &impl Device) -> Result<Vec<VectorInfo>, Problem> {
    let listed = |room| {
        let output = match device.control(IOCTL_LIST, &[], room) {
            Ok(output) => output,
            // A kernel that loses what a driver said to an open, as Wine's does, tells it now.
            Err(status @ NtStatus::SHARING_VIOLATION) => {
                return Err(Driver::Conform.unusable(status));
            }
            Err(status) => {
                return Err(Problem::failed(format!(
                    "conform.sys does not list its vectors: {status}"
                )));
            }
        };
        let header = ListHeader::from_bytes(&output).ok_or_else(malformed)?;
        if header.version != INTERFACE_VERSION {
            return Err(Driver::Conform.wrong_version(header.version, INTERFACE_VERSION));
        }
        Ok((header, output))
    };
    let (header, _) = listed(ListHeader::SIZE)?;
    let records = (header.count as usize).saturating_mul(VectorInfo::SIZE);
    let (_, output) = listed(ListHeader::SIZE.saturating_add(records))?;
    let vectors: Option<Vec<VectorInfo>> = output
        .get(ListHeader::SIZE..)
        .unwrap_or_default()
        .chunks_exact(VectorInfo::SIZE)
        .map(VectorInfo::from_bytes)
        .collect();
    vectors
        .filter(|vectors| vectors.len() == header.count as usize)
        .ok_or_else(malformed)
}

fn malformed() -> Problem {
    Problem::failed(String::from("the list of conform.sys is malformed"))
}

/// The vectors that are asked for, with their numbers at the driver.
fn chosen(vectors: Vec<VectorInfo>, only: &[&str]) -> Result<Vec<(u32, VectorInfo)>, Problem> {
    for id in only {
        if !vectors.iter().any(|vector| is_called(vector, id)) {
            return Err(Problem::usage(format!(
                "conform.sys has no vector `{id}`; `rxcectl conformance --list` prints all {}",
                vectors.len()
            )));
        }
    }
    Ok((0..)
        .zip(vectors)
        .filter(|(_, vector)| only.is_empty() || only.iter().any(|id| is_called(vector, id)))
        .collect())
}

fn is_called(vector: &VectorInfo, id: &str) -> bool {
    vector.id.as_str().eq_ignore_ascii_case(id)
}
