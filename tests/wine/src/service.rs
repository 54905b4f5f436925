//! Services of a session: what its service manager is told, by Wine's own `sc`.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::Session;

/// What one command to the service manager may take.
const LIMIT: Duration = Duration::from_secs(300);
/// How often a service between two states is looked at.
const POLL: Duration = Duration::from_millis(100);

/// The state of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no such service.
    Absent,
    /// It does not run.
    Stopped,
    /// It runs.
    Running,
    /// Something between, by its name.
    Other(String),
}

impl Session {
    /// Makes a kernel driver of `C:\windows\system32\drivers\NAME.sys`. Drivers of one group share a process, as they must to call
    /// each other.
    ///
    /// # Errors
    ///
    /// The service manager refuses.
    pub fn create_driver(&self, name: &str, group: &str) -> Result<()> {
        let path = format!(r"C:\windows\system32\drivers\{name}.sys");
        self.sc(&[
            "create", name, "type=", "kernel", "group=", group, "binPath=", &path,
        ])
    }

    /// Starts a service. Wine says nothing of a driver that dies in its entry: the state tells.
    ///
    /// # Errors
    ///
    /// It does not run afterwards.
    pub fn start_service(&self, name: &str) -> Result<()> {
        let told = self.run("sc", ["start", name], LIMIT)?;
        let state = self.settled(name)?;
        ensure!(
            state == State::Running,
            "{name} does not start, its state is {state:?}:\n{}\n{}",
            told.output,
            self.log()
        );
        Ok(())
    }

    /// Stops a service.
    ///
    /// # Errors
    ///
    /// It is not stopped afterwards.
    pub fn stop_service(&self, name: &str) -> Result<()> {
        self.run("sc", ["stop", name], LIMIT)?;
        let state = self.settled(name)?;
        ensure!(
            state == State::Stopped,
            "{name} does not stop, its state is {state:?}:\n{}",
            self.log()
        );
        Ok(())
    }

    /// Deletes a service.
    ///
    /// # Errors
    ///
    /// The service manager refuses.
    pub fn delete_service(&self, name: &str) -> Result<()> {
        self.sc(&["delete", name])
    }

    /// The state of a service, which may still be on its way to it: a start or a stop does not always wait for its end.
    fn settled(&self, name: &str) -> Result<State> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let state = self.state(name)?;
            if !matches!(state, State::Other(_)) || Instant::now() > deadline {
                return Ok(state);
            }
            thread::sleep(POLL);
        }
    }

    /// The state of a service.
    ///
    /// # Errors
    ///
    /// The service manager does not answer.
    pub fn state(&self, name: &str) -> Result<State> {
        let told = self.run("sc", ["query", name], LIMIT)?;
        if !told.status.success() {
            return Ok(State::Absent);
        }
        // `        STATE              : 4  RUNNING`
        let line = told
            .output
            .lines()
            .find(|line| line.trim_start().starts_with("STATE "))
            .with_context(|| format!("`sc query {name}` tells no state: {}", told.output))?;
        Ok(match line.split_whitespace().last() {
            Some("STOPPED") => State::Stopped,
            Some("RUNNING") => State::Running,
            other => State::Other(other.unwrap_or_default().to_owned()),
        })
    }

    fn sc(&self, words: &[&str]) -> Result<()> {
        let told = self.run("sc", words, LIMIT)?;
        if told.status.success() {
            return Ok(());
        }
        bail!(
            "`sc {}` fails ({}): {}",
            words.join(" "),
            told.status,
            told.output
        )
    }
}
