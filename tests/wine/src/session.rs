//! A throw-away prefix with its server. Programs run in it under a time limit; when the session ends, everything in it is ended.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::Wine;

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(20);
/// What making a prefix may take: it is 700 MB of copies.
const LIMIT_OF_BOOT: Duration = Duration::from_secs(900);
/// What ending a server may take.
const LIMIT_OF_END: Duration = Duration::from_secs(300);

/// Drivers' messages, unimplemented routines, failures; never traces, which change what happens.
const DEBUG: &str = "-all,warn+debugstr,err+all";
/// No browser engines, no desktop menus, no debugger for what has crashed.
const OVERRIDES: &str = "mscoree=;mshtml=;winemenubuilder.exe=;winedbg.exe=";

/// A prefix with a running server.
pub struct Session {
    wine: Wine,
    directory: TempDir,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// What it wrote on its output stream.
    pub output: String,
}

impl Session {
    /// Makes a prefix in a new directory below `parent`, and starts its server.
    ///
    /// # Errors
    ///
    /// No room, or Wine does not work here.
    pub fn start(wine: &Wine, parent: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("wine-")
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?;
        let session = Self {
            wine: wine.clone(),
            directory,
        };
        fs::create_dir(session.prefix()).context("cannot make the prefix")?;
        session.server("-p60", LIMIT_OF_BOOT)?;
        let booted = session.run("wineboot", ["-i"], LIMIT_OF_BOOT)?;
        if !booted.status.success() {
            bail!("wineboot fails ({})\n{}", booted.status, session.log());
        }
        // A server that has made a prefix ends its service manager after each program: services would vanish between commands.
        session.end()?;
        session.server("-p60", LIMIT_OF_END)?;
        Ok(session)
    }

    fn prefix(&self) -> PathBuf {
        self.directory.path().join("prefix")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The folder that is `C:\` for the programs.
    #[must_use]
    pub fn drive(&self) -> PathBuf {
        self.prefix().join("drive_c")
    }

    /// The folder of driver images, `C:\windows\system32\drivers`.
    #[must_use]
    pub fn drivers(&self) -> PathBuf {
        self.drive().join("windows/system32/drivers")
    }

    /// What Wine and the drivers have said so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Lines of the log that no sound run has: a fault, a bug check, a routine that Wine lacks.
    #[must_use]
    pub fn accidents(&self) -> Vec<String> {
        const SIGNS: [&str; 4] = [
            "Unhandled ",
            "unimplemented function",
            "KeBugCheck",
            "stack overflow",
        ];
        self.log()
            .lines()
            .filter(|line| SIGNS.iter().any(|sign| line.contains(sign)))
            .map(str::to_owned)
            .collect()
    }

    /// Runs a program for Windows, for at most `limit`.
    ///
    /// # Errors
    ///
    /// It cannot be started, or does not end in time: it is ended then.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
        limit: Duration,
    ) -> Result<Finished> {
        // A file, as services that the program starts inherit the stream: a pipe would stay open.
        let output = tempfile::NamedTempFile::new_in(self.directory.path())
            .context("no place for the output")?;
        let mut command = self.command(&self.wine.loader)?;
        command
            .arg(program)
            .args(arguments)
            .stdout(output.reopen().context("cannot open the output")?);
        let status = wait(&mut command, limit)?;
        let bytes = fs::read(output.path()).context("cannot read the output")?;
        let output = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Finished { status, output })
    }

    fn server(&self, argument: &str, limit: Duration) -> Result<()> {
        let mut command = self.command(&self.wine.server)?;
        wait(command.arg(argument), limit).map(drop)
    }

    /// Ends every process of the prefix, and waits until they are gone.
    fn end(&self) -> Result<()> {
        self.server("-k", LIMIT_OF_END)?;
        self.server("-w", LIMIT_OF_END)
    }

    /// A command in this prefix, whose error stream is the log.
    fn command(&self, program: &Path) -> Result<Command> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .context("cannot open the log")?;
        let mut command = Command::new(program);
        command
            .env("WINEPREFIX", self.prefix())
            .env("WINEARCH", "win64")
            .env("WINEDEBUG", DEBUG)
            .env("WINEDLLOVERRIDES", OVERRIDES)
            // Nothing of the user's is read or written.
            .env("HOME", self.directory.path())
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(command)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What fails here has no remedy.
        let _ = self.end();
    }
}

/// Runs a command for at most `limit`.
fn wait(command: &mut Command, limit: Duration) -> Result<ExitStatus> {
    let typed = || {
        std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let typed = typed();
    let mut child: Child = command
        .spawn()
        .with_context(|| format!("cannot start `{typed}`"))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            // It may have ended on its own in the meantime.
            let _ = child.kill();
            child.wait()?;
            bail!(
                "`{typed}` has not ended in {} s and was ended",
                limit.as_secs()
            );
        }
        thread::sleep(POLL);
    }
}
