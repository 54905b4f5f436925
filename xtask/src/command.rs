//! Running other programs.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// How often a program with a time limit is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Returns the program and its arguments as one would type them.
pub(crate) fn typed(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The cargo that runs this program, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace::root());
    cargo
}

/// Runs `command` with its output on ours; a failing exit is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", typed(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", typed(command));
    }
    Ok(())
}

/// Runs `command` without output and returns what it wrote, or nothing if it failed or is not there.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs `command` without output for at most `limit`, then ends it. Returns whether it succeeded in time.
pub(crate) fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    let started = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else { return false };
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return ExitStatus::success(&status),
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            Ok(None) | Err(_) => {
                // It may have ended on its own in the meantime: nothing is left to do then.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// Runs `command` and gives each line of its output to `line`. If it is silent for `limit`, it and all it started are ended, which
/// is an error.
pub(crate) fn lines(
    command: &mut Command,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Result<ExitStatus> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", typed(command)))?;
    let output = child.stdout.take().context("no output to read")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for text in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    loop {
        match receiver.recv_timeout(limit) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Disconnected) => return child.wait().context("cannot wait"),
            Err(RecvTimeoutError::Timeout) => {
                end_tree(child.id());
                child.wait().context("cannot wait")?;
                bail!(
                    "`{}` was silent for {} s and was ended",
                    typed(command),
                    limit.as_secs()
                );
            }
        }
    }
}

/// Ends a process and its descendants, youngest first.
fn end_tree(process: u32) {
    for child in children(process) {
        end_tree(child);
    }
    // It may have ended on its own in the meantime.
    let _ = Command::new("kill")
        .args(["-KILL", &process.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// The processes a process has started ("/proc/pid/task/tid/children" of proc(5)).
fn children(process: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_by_one() {
        let mut seen = Vec::new();
        let status = lines(
            Command::new("sh").args(["-c", "echo one; echo two; exit 3"]),
            Duration::from_secs(60),
            |line| seen.push(line.to_owned()),
        )
        .unwrap();
        assert_eq!(seen, ["one", "two"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_silent_program_is_ended_with_its_children() {
        let mut grandchild = None;
        let result = lines(
            Command::new("sh").args(["-c", "sleep 1000 & echo $!; wait"]),
            // Its first line has to come in this time too, on a busy host.
            Duration::from_secs(5),
            |line| grandchild = line.parse::<u32>().ok(),
        );
        assert!(result.is_err());
        let state = fs::read_to_string(format!("/proc/{}/stat", grandchild.unwrap()));
        // Gone, or waiting for its new parent to notice.
        assert!(state.is_err() || state.is_ok_and(|text| text.contains(") Z ")));
    }

    #[test]
    fn a_slow_program_does_not_succeed_in_time() {
        let mut slow = Command::new("sleep");
        assert!(!succeeds_within(
            slow.arg("1000"),
            Duration::from_millis(100)
        ));
        assert!(succeeds_within(
            &mut Command::new("true"),
            Duration::from_secs(60)
        ));
    }
}
