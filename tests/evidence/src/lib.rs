//! What the tests of a run counted: failure points swept, schedules explored, inputs executed, answers seen.
//!
//! A test calls [`record`] with its figure. It prints the figure and appends it to `target/evidence/KIND.jsonl`, one JSON object a
//! line: `{"kind":"explored","name":"tear-down against disconnect","count":2048,"note":""}`. `cargo xtask test` empties the
//! directory first; `cargo xtask evidence` prints what the last run left there. Where a test recorded twice, its last line counts.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! evidence::record(evidence::Kind::Explored, "tear-down against disconnect", 2048)?;
//! # Ok(())
//! # }
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Vectors that saw a routine give a documented answer.
    Answered,
    /// Points of a scenario that were made to fail, one per run.
    Swept,
    /// Schedules of threads that were run.
    Explored,
    /// Inputs that a fuzz target executed.
    Fuzzed,
}

impl Kind {
    /// Every kind, in the order of a report.
    pub const ALL: [Self; 4] = [Self::Answered, Self::Swept, Self::Explored, Self::Fuzzed];

    /// The word that a line begins with, and the stem of the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Swept => "swept",
            Self::Explored => "explored",
            Self::Fuzzed => "fuzzed",
        }
    }

    /// What the count counts.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Answered => "vectors",
            Self::Swept => "points",
            Self::Explored => "schedules",
            Self::Fuzzed => "executions",
        }
    }
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// What was counted.
    pub kind: Kind,
    /// Of what: a scenario, a fuzz target, a routine and its answer. Unique within the kind.
    pub name: String,
    /// How many.
    pub count: u64,
    /// Anything a reader should see beside it; may be empty.
    pub note: String,
}

/// Names another directory than that of the workspace: for runs whose figures are not the test command's.
pub const DIRECTORY_VARIABLE: &str = "EVIDENCE_DIRECTORY";

/// Where figures are kept: in the workspace's target directory, unless [`DIRECTORY_VARIABLE`] says otherwise.
#[must_use]
pub fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/evidence"),
        PathBuf::from,
    )
}

/// Prints a figure (`explored: NAME schedules=N`) and keeps it.
///
/// # Errors
///
/// The file could not be written.
pub fn record(kind: Kind, name: &str, count: u64) -> io::Result<()> {
    record_with_note(kind, name, count, "")
}

/// As [`record`], with a note beside the figure.
///
/// # Errors
///
/// The file could not be written.
pub fn record_with_note(kind: Kind, name: &str, count: u64, note: &str) -> io::Result<()> {
    println!("{}: {name} {}={count}", kind.word(), kind.unit());
    keep(kind, name, count, note)
}

/// Keeps a figure with a note, and prints nothing: for the many cells of a table.
///
/// # Errors
///
/// The file could not be written.
pub fn keep(kind: Kind, name: &str, count: u64, note: &str) -> io::Result<()> {
    let figure = Figure {
        kind,
        name: name.to_owned(),
        count,
        note: note.to_owned(),
    };
    append(&directory(), &figure)
}

/// Removes all figures: a run begins.
///
/// # Errors
///
/// The directory is there and could not be removed.
pub fn clear() -> io::Result<()> {
    match fs::remove_dir_all(directory()) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The figures of the last run: by kind, then by name.
///
/// # Errors
///
/// A file could not be read, or holds something else.
pub fn figures() -> io::Result<Vec<Figure>> {
    read(&directory())
}

fn append(directory: &Path, figure: &Figure) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut line = serde_json::to_string(figure)?;
    line.push('\n');
    let path = directory.join(figure.kind.word()).with_extension("jsonl");
    // One write of one line: lines of tests that run at the same time do not mix.
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(line.as_bytes())
}

fn read(directory: &Path) -> io::Result<Vec<Figure>> {
    let mut figures = BTreeMap::new();
    for kind in Kind::ALL {
        let path = directory.join(kind.word()).with_extension("jsonl");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            text => text?,
        };
        for line in text.lines() {
            let figure: Figure = serde_json::from_str(line)?;
            figures.insert((figure.kind, figure.name.clone()), figure);
        }
    }
    Ok(figures.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(kind: Kind, name: &str, count: u64) -> Figure {
        Figure {
            kind,
            name: name.to_owned(),
            count,
            note: String::new(),
        }
    }

    #[test]
    fn figures_come_back_sorted_and_the_last_of_a_name_counts() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("evidence");
        assert_eq!(read(&path)?, []);
        for (kind, name, count) in [
            (Kind::Swept, "b", 1),
            (Kind::Swept, "a \"quoted\"", 2),
            (Kind::Swept, "b", 3),
            (Kind::Answered, "c", 4),
        ] {
            append(&path, &figure(kind, name, count))?;
        }
        let expected = [
            figure(Kind::Answered, "c", 4),
            figure(Kind::Swept, "a \"quoted\"", 2),
            figure(Kind::Swept, "b", 3),
        ];
        assert_eq!(read(&path)?, expected);
        Ok(())
    }

    #[test]
    fn a_file_of_something_else_is_an_error() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("fuzzed.jsonl"), "no figure\n")?;
        assert!(read(directory.path()).is_err());
        Ok(())
    }

    #[test]
    fn a_word_is_what_the_file_says() -> io::Result<()> {
        for kind in Kind::ALL {
            let text = serde_json::to_string(&kind)?;
            assert_eq!(text, format!("\"{}\"", kind.word()));
        }
        Ok(())
    }
}
