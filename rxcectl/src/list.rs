//! Lists a directory.

use alloc::{format, string::String, vec::Vec};

use p9::FileKind;
use p9probe_ioctl::Stat;
use serde::Serialize;

use crate::{ExitCode, Problem, System, arguments::Server, json, session};

#[derive(Serialize)]
struct Document<'a> {
    command: &'static str,
    path: &'a str,
    entries: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    kind: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    /// Seconds since 1970.
    modified: u64,
    inode: u64,
}

/// Prints the entries of a directory.
pub(crate) fn run<S: System>(
    system: &mut S,
    server: &Server<'_>,
    path: &str,
    as_json: bool,
) -> Result<ExitCode, Problem> {
    let entries = session::with(system, server, |_, probe| {
        probe
            .list(path)
            .map_err(|problem| problem.during(&format!("cannot list {path}")))
    })?;
    if as_json {
        json::print(
            system,
            &Document {
                command: "list",
                path,
                entries: entries.iter().map(entry).collect(),
            },
        )?;
    } else {
        for (name, stat) in &entries {
            system.print(&format!("{} {:>12}  {name}\n", mode(stat), stat.size))?;
        }
    }
    Ok(ExitCode::Done)
}

fn entry<'a>((name, stat): &'a (String, Stat)) -> Entry<'a> {
    Entry {
        name,
        kind: match stat.kind() {
            FileKind::File => "file",
            FileKind::Directory => "directory",
            FileKind::Link => "link",
            FileKind::Other => "other",
        },
        mode: stat.mode & 0o7777,
        uid: stat.uid,
        gid: stat.gid,
        size: stat.size,
        modified: stat.mtime_sec,
        inode: stat.inode,
    }
}

/// Type and permissions, as `ls -l` writes them.
#[must_use]
pub fn mode(stat: &Stat) -> String {
    let kind = match stat.kind() {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::Link => 'l',
        FileKind::Other => '?',
    };
    let bits = (0..9).rev().map(|bit| {
        if stat.mode >> bit & 1 == 0 {
            '-'
        } else {
            ['x', 'w', 'r'][bit % 3]
        }
    });
    core::iter::once(kind).chain(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_by_ls() {
        let of = |mode| {
            super::mode(&Stat {
                mode,
                ..Stat::default()
            })
        };
        assert_eq!(of(0o100_640), "-rw-r-----");
        assert_eq!(of(0o040_755), "drwxr-xr-x");
        assert_eq!(of(0o120_777), "lrwxrwxrwx");
    }
}
