//! A `diod` that serves a folder on a loopback port. It goes with its owner.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How long diod may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running diod; killed when it is dropped.
pub struct Diod {
    child: Child,
    port: u16,
}

impl Diod {
    /// Starts diod for this folder on a free loopback port and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// It is not installed, or does not listen in time.
    pub fn start(folder: &Path) -> Result<Self> {
        let program = find()?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            // The port is free now; should somebody else take it before diod does, diod ends and we try another.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut diod = Self {
                child: spawn(&program, folder, port)?,
                port,
            };
            if diod.wait_until_it_listens(deadline)? {
                return Ok(diod);
            }
        }
    }

    /// Starts diod on this port, where one of before has listened.
    ///
    /// # Errors
    ///
    /// As [`Self::start`]; the port is in use.
    pub fn start_at(folder: &Path, port: u16) -> Result<Self> {
        let mut diod = Self {
            child: spawn(&find()?, folder, port)?,
            port,
        };
        if diod.wait_until_it_listens(Instant::now() + START_LIMIT)? {
            Ok(diod)
        } else {
            bail!("diod cannot listen on port {port}")
        }
    }

    fn wait_until_it_listens(&mut self, deadline: Instant) -> Result<bool> {
        loop {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(true);
            }
            let ended = self.child.try_wait()?;
            if Instant::now() > deadline {
                bail!(
                    "diod does not listen ({})",
                    ended.map_or("it runs".to_owned(), |status| status.to_string())
                );
            }
            if ended.is_some() {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port on which it listens, on the loopback address.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Diod {
    fn drop(&mut self) {
        // It may have been killed already; either way nothing is left of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join("diod"))
        .find(|program| program.is_file())
        .context("diod is not installed: run `sudo apt-get install diod`, or name a 9P2000.L server with --server")
}

fn spawn(program: &Path, folder: &Path, port: u16) -> Result<Child> {
    let mut command = Command::new(program);
    command
        // Foreground, no authentication, no user database, no configuration but this.
        .args(["-f", "-n", "-N", "-c", "/dev/null", "-L", "/dev/null"])
        .arg("-l")
        .arg(format!("127.0.0.1:{port}"))
        .arg("-e")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    die_with_us(&mut command);
    command
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// Has the kernel kill this child should we be killed.
pub fn die_with_us(command: &mut Command) {
    // SAFETY: Between fork and exec, only a system call.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        })
    };
}
