//! What the pages take for granted: a 9P server with a tree, an empty directory, a driver of one's own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::table;
use crate::workspace;

/// How long the server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A driver that is there after `cargo xtask build --all`.
const SOME_DRIVER: &str = "target/drivers/c/queue.sys";
/// The folder for what the commands count: the figures of the test command stay as they are.
const FIGURES: &str = "evidence";

/// The folders, and the server. It goes with this.
pub(super) struct World {
    folder: PathBuf,
    server: Child,
    port: u16,
}

impl World {
    /// Makes the folders anew and starts the server with the command that a page has for it.
    pub(super) fn start() -> Result<Self> {
        let folder = workspace::root().join("target/documented");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("target/documented")?;
        }
        for name in ["tree/some", "mount"] {
            fs::create_dir_all(folder.join(name)).context("target/documented")?;
        }
        fs::write(folder.join("tree/some/file"), "A file.\n")?;
        copy_figures(&folder.join(FIGURES))?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            // The port is free now; should somebody else take it before the server does, another one is tried.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut world = Self {
                server: Command::new("true").spawn()?,
                folder: folder.clone(),
                port,
            };
            let mut server = Command::new("sh");
            // It goes with this program, however that ends.
            server
                .args([
                    "-c",
                    &format!(
                        "exec setpriv --pdeathsig KILL {}",
                        world.put_in(table::SERVER)
                    ),
                ])
                .env("PATH", path_with_servers())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            world.server.wait()?;
            world.server = server.spawn()?;
            if world.listens(deadline)? {
                return Ok(world);
            }
        }
    }

    fn listens(&mut self, deadline: Instant) -> Result<bool> {
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline {
                bail!("`{}` does not listen", table::SERVER);
            }
            if self.server.try_wait()?.is_some() {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    }

    /// Where what a command counts goes: beside what the test command has counted.
    pub(super) fn figures(&self) -> PathBuf {
        self.folder.join(FIGURES)
    }

    /// Puts this world's names into a command, in the place of those that a reader is to replace by his own. All traffic is on the
    /// loopback interface.
    pub(super) fn put_in(&self, command: &str) -> String {
        let server = format!("127.0.0.1:{}", self.port);
        let path = |name: &str| self.folder.join(name).display().to_string();
        [
            ("127.0.0.1:564 ", format!("{server} ")),
            ("192.0.2.1:5640", server.clone()),
            ("0.0.0.0:5640", server),
            ("/srv/tree", path("tree")),
            ("/mnt/tree", path("mount")),
            ("life.svg", path("life.svg")),
            ("path/to/some.sys", SOME_DRIVER.to_owned()),
            ("some.sys", SOME_DRIVER.to_owned()),
        ]
        .iter()
        .fold(command.to_owned(), |command, (from, to)| {
            command.replace(from, to)
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Copies what the test command has counted, if it has run.
fn copy_figures(to: &Path) -> Result<()> {
    fs::create_dir_all(to).context("target/documented")?;
    for entry in fs::read_dir(::evidence::directory()).into_iter().flatten() {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name())).context("target/evidence")?;
    }
    Ok(())
}

/// Servers are for root on Debian, and lie where others do not look.
fn path_with_servers() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin"
}
