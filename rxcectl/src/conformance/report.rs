//! What a reader, or a program, sees of a conformance run.
//!
//! Results are written as they come, so that a machine that stops in the middle leaves those before it.

use alloc::{format, string::String, vec::Vec};

use conform_ioctl::{Answer, Answers, Basis, Routine, Seen, VectorInfo, Verdict};
use serde::{Serialize, Serializer};

use super::Outcome;
use crate::{ExitCode, Problem, System, json};

/// A report under way.
pub(super) struct Report<'a, S> {
    system: &'a mut S,
    as_json: bool,
    /// Between two elements of the JSON array.
    separator: &'static str,
    sums: Sums,
}

/// How many vectors ended how.
#[derive(Clone, Copy, Default, Serialize)]
struct Sums {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// A vector in the JSON document.
#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    title: &'a str,
    basis: &'static str,
}

/// A vector's end in the JSON document.
#[derive(Serialize)]
struct Ran<'a> {
    run: u32,
    #[serde(flatten)]
    vector: Listed<'a>,
    verdict: &'static str,
    parts_not_possible: u32,
    /// Each routine that was called, and what it answered.
    #[serde(serialize_with = "by_routine")]
    answers: Answers,
    client: Told,
    text: &'a str,
}

/// What the client was told, in the JSON document. The hashes are of the callbacks and of the bytes, in their order: equal hashes are
/// equal histories. As text, since a number of 64 bits is not safe in JSON.
#[derive(Serialize)]
struct Told {
    callbacks: u32,
    order: String,
    bytes: u32,
    data: String,
}

impl From<Seen> for Told {
    fn from(seen: Seen) -> Self {
        Self {
            callbacks: seen.callbacks,
            order: format!("{:016x}", seen.order),
            bytes: seen.bytes,
            data: format!("{:016x}", seen.data),
        }
    }
}

impl<'a, S: System> Report<'a, S> {
    pub(super) fn begin(system: &'a mut S, as_json: bool) -> Result<Self, Problem> {
        if as_json {
            system.print(&format!(
                "{{\"command\":\"conformance\",\"rxcectl\":\"{}\",\"vectors\":[",
                env!("CARGO_PKG_VERSION")
            ))?;
        }
        Ok(Self {
            system,
            as_json,
            separator: "\n",
            sums: Sums::default(),
        })
    }

    /// One vector, which is not run.
    pub(super) fn listed(&mut self, vector: &VectorInfo) -> Result<(), Problem> {
        let listed = in_json(vector);
        if self.as_json {
            return self.element(&listed);
        }
        let mark = mark(vector);
        self.system
            .print(&format!("{:<6} {}{mark}\n", listed.id, listed.title))
    }

    pub(super) fn end_of_list(self) -> Result<(), Problem> {
        if self.as_json {
            self.system.print("\n]}\n")?;
        }
        Ok(())
    }

    /// Another time through the table begins.
    pub(super) fn round(&mut self, round: u32, rounds: u32) -> Result<(), Problem> {
        if rounds == 1 || self.as_json {
            return Ok(());
        }
        self.system.print(&format!("run {round} of {rounds}\n"))
    }

    /// A vector has ended.
    pub(super) fn ran(
        &mut self,
        run: u32,
        vector: &VectorInfo,
        outcome: &Outcome,
    ) -> Result<(), Problem> {
        let (sum, verdict) = match outcome.verdict {
            Verdict::Passed => (&mut self.sums.passed, "passed"),
            Verdict::Failed => (&mut self.sums.failed, "failed"),
            Verdict::NotPossible => (&mut self.sums.skipped, "skipped"),
        };
        *sum = sum.saturating_add(1);
        if self.as_json {
            return self.element(&Ran {
                run,
                vector: in_json(vector),
                verdict,
                parts_not_possible: outcome.parts_missing,
                answers: outcome.answers,
                client: outcome.seen.into(),
                text: &outcome.text,
            });
        }
        // The text of a vector that passed names the parts that this kernel cannot check.
        let text = match outcome.verdict {
            Verdict::NotPossible => format!(": not possible here: {}", outcome.text),
            Verdict::Passed | Verdict::Failed if !outcome.text.is_empty() => {
                format!(": {}", outcome.text)
            }
            Verdict::Passed | Verdict::Failed => String::new(),
        };
        self.system.print(&format!(
            "{verdict:<7} {:<6} {}{}{}\n",
            vector.id.as_str(),
            vector.title.as_str(),
            mark(vector),
            one_line(&text),
        ))
    }

    /// The sums, and what the process returns.
    pub(super) fn end(self) -> Result<ExitCode, Problem> {
        let Sums {
            passed,
            failed,
            skipped,
        } = self.sums;
        self.system.print(&if self.as_json {
            format!("\n],\"passed\":{passed},\"failed\":{failed},\"skipped\":{skipped}}}\n")
        } else {
            format!("{passed} passed, {failed} failed, {skipped} skipped\n")
        })?;
        Ok(if failed == 0 {
            ExitCode::Done
        } else {
            ExitCode::Failed
        })
    }

    fn element(&mut self, element: &impl Serialize) -> Result<(), Problem> {
        let text = json::text(element)?;
        self.system.print(self.separator)?;
        self.separator = ",\n";
        self.system.print(&text)
    }
}

fn in_json(vector: &VectorInfo) -> Listed<'_> {
    Listed {
        id: vector.id.as_str(),
        title: vector.title.as_str(),
        basis: match vector.basis {
            Basis::Documented => "documented",
            Basis::OwnChoice => "own choice",
        },
    }
}

fn by_routine<S: Serializer>(answers: &Answers, serializer: S) -> Result<S::Ok, S::Error> {
    let given = |routine| {
        Answer::ALL
            .into_iter()
            .filter(move |answer| answers.has(routine, *answer))
            .map(Answer::name)
    };
    serializer.collect_map(
        Routine::ALL
            .into_iter()
            .filter(|routine| given(*routine).next().is_some())
            .map(|routine| (routine.name(), given(routine).collect::<Vec<_>>())),
    )
}

/// The mark of a vector that rests on a choice of this project: another implementation may differ there.
const fn mark(vector: &VectorInfo) -> &'static str {
    match vector.basis {
        Basis::Documented => "",
        Basis::OwnChoice => " (own choice)",
    }
}

/// A line stays one line, whatever a driver wrote.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
