//! Why a command ended early.

use alloc::string::String;
use core::{error::Error, fmt};

/// What the process returns. Scripts rely on these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// The command was carried out; of a conformance run: no vector failed.
    Done = 0,
    /// The command was not carried out, or a vector failed.
    Failed = 1,
    /// The command line is wrong. Nothing was done.
    Usage = 2,
    /// A driver cannot be used: not started, access denied, another version, in use. Nothing was done.
    Unusable = 3,
}

/// A text for the reader, and what the process returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: ExitCode,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Problem {}

impl Problem {
    /// The command failed.
    #[must_use]
    pub const fn failed(text: String) -> Self {
        Self {
            code: ExitCode::Failed,
            text,
        }
    }

    /// The command line is wrong.
    #[must_use]
    pub const fn usage(text: String) -> Self {
        Self {
            code: ExitCode::Usage,
            text,
        }
    }

    /// A driver cannot be used.
    #[must_use]
    pub const fn unusable(text: String) -> Self {
        Self {
            code: ExitCode::Unusable,
            text,
        }
    }

    /// What the process returns.
    #[must_use]
    pub const fn code(&self) -> ExitCode {
        self.code
    }

    /// What the reader is told.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same, with what was being done in front.
    #[must_use]
    pub fn during(self, what: &str) -> Self {
        Self {
            code: self.code,
            text: alloc::format!("{what}: {}", self.text),
        }
    }
}
