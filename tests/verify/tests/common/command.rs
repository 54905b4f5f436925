//! Running the command.

use std::process::Command;

/// What a run of the command said, and its exit code.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The line with the result.
    pub(crate) fn result(&self) -> &str {
        self.out
            .lines()
            .find_map(|line| line.strip_prefix("RESULT: "))
            .unwrap_or("no result")
    }

    /// Everything, for a message.
    pub(crate) fn whole(&self) -> String {
        format!("exit {:?}\n{}\n{}", self.code, self.out, self.err)
    }
}

/// Runs the command.
pub(crate) fn verify<I: AsRef<std::ffi::OsStr>>(words: &[I]) -> std::io::Result<Said> {
    let output = Command::new(env!("CARGO_BIN_EXE_verify"))
        .args(words)
        .output()?;
    Ok(Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
