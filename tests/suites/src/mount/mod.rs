//! A directory of the simulated machine as a FUSE file system, so that Linux programs use a Windows redirector.
//!
//! Every call of a program becomes an I/O request: `open` an IRP_MJ_CREATE, `read` an IRP_MJ_READ, `readdir` an
//! IRP_MN_QUERY_DIRECTORY. It is read-only.

pub mod name;
mod tree;

use std::{fs, io, path::Path};

use fuser::{BackgroundSession, Config, MountOption};

use tree::Tree;

/// Threads that serve programs.
const THREADS: usize = 2;

/// A mounted directory; unmounted when it is dropped.
pub struct Mount(BackgroundSession);

/// Whether this host lets us mount at all.
///
/// # Errors
///
/// Why not.
pub fn is_possible() -> io::Result<()> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map(|_| ())
}

impl Mount {
    /// Mounts the directory with this path in the machine (`\Device\Example\server\share`).
    ///
    /// # Errors
    ///
    /// What mount(2) or fusermount3 say.
    pub fn new(root: &str, at: &Path) -> io::Result<Self> {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::RO,
            MountOption::FSName("ntsim".to_owned()),
            MountOption::Subtype("ntsim".to_owned()),
        ];
        config.n_threads = Some(THREADS);
        fuser::spawn_mount(Tree::new(root), at, &config).map(Self)
    }

    /// Unmounts, and waits until nobody is served any more.
    ///
    /// # Errors
    ///
    /// Somebody still has a file open.
    pub fn end(self) -> io::Result<()> {
        self.0.umount_and_join()
    }

    /// Whether it was unmounted by somebody else (`umount`, `fusermount3 -u`).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.guard.is_finished()
    }
}
