//! Which Windows has what the drivers import: `xwdk/lib/since.txt`, held against mingw-w64's headers and against the images.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// Versions of Windows, oldest first, as `NTDDI_VERSION` names them.
const VERSIONS: [&str; 10] = [
    "WIN2K", "WINXP", "WS03", "WS03SP1", "VISTA", "WIN7", "WIN8", "WINBLUE", "WIN10", "WIN10_VB",
];
/// Windows 10, version 2004: the oldest that the shipped form is for.
pub(super) const SHIPPED: &str = "WIN10_VB";
/// Windows Server 2003 x64, which is Service Pack 1 from the start.
pub(super) const LEGACY: &str = "WS03SP1";

/// Where mingw-w64 is, on Debian.
const MINGW: &str = "/usr/x86_64-w64-mingw32";

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    since: usize,
    source: String,
}

/// The list.
pub(super) struct Since(BTreeMap<String, Entry>);

fn rank(version: &str) -> Option<usize> {
    VERSIONS.iter().position(|one| *one == version)
}

impl Since {
    /// Reads the list.
    pub(super) fn read() -> Result<Self> {
        let path = workspace::root().join("xwdk/lib/since.txt");
        let text = fs::read_to_string(&path).context("xwdk/lib/since.txt")?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entry = |line: &str| {
            let (name, rest) = line.split_once(' ')?;
            let (since, source) = rest.split_once(' ')?;
            let since = rank(since)?;
            let source = source.to_owned();
            Some((name.to_owned(), Entry { since, source }))
        };
        let entries: Option<BTreeMap<_, _>> = lines.map(entry).collect();
        entries
            .context("a line of since.txt is malformed")
            .map(Self)
    }

    /// Every import can be had from `version` on.
    pub(super) fn check<'a>(
        &self,
        imports: impl Iterator<Item = &'a str>,
        version: &str,
    ) -> Result<()> {
        let limit = rank(version).context("an unknown version")?;
        for name in imports {
            let entry = self.0.get(name).with_context(|| {
                format!(
                    "{name} is not in xwdk/lib/since.txt: which Windows has it, and who says so?"
                )
            })?;
            let since = VERSIONS.get(entry.since).unwrap_or(&"?");
            ensure!(
                entry.since <= limit,
                "{name} came with {since}, after {version}"
            );
        }
        Ok(())
    }

    /// What the list says of headers and of the import library is there.
    pub(super) fn check_sources(&self) -> Result<()> {
        let library = |name: &str| fs::read(Path::new(MINGW).join("lib").join(name));
        let mut archives = library("libntoskrnl.a").context("libntoskrnl.a")?;
        archives.extend(library("libhal.a").context("libhal.a")?);
        let names: std::collections::BTreeSet<&[u8]> = archives.split(|byte| *byte == 0).collect();
        let mut headers = BTreeMap::new();
        for (name, entry) in &self.0 {
            match entry.source.as_str() {
                "reference page" | "-" => {}
                "library" => {
                    let variable = format!("__imp_{name}");
                    let there =
                        names.contains(name.as_bytes()) || names.contains(variable.as_bytes());
                    ensure!(there, "{name} is in no import library of mingw-w64");
                }
                header => {
                    if !headers.contains_key(header) {
                        let path = Path::new(MINGW).join("include/ddk").join(header);
                        // Not all of it is UTF-8.
                        let bytes = fs::read(&path).with_context(|| header.to_owned())?;
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        headers.insert(header.to_owned(), text);
                    }
                    let text = headers.get(header).map_or("", String::as_str);
                    let guard = guard(text, name);
                    ensure!(
                        guard == Some(entry.since),
                        "{name}: {header} says {:?}",
                        guard.and_then(|guard| VERSIONS.get(guard))
                    );
                }
            }
        }
        Ok(())
    }
}

/// The newest version that guards the declaration of a routine in a header.
fn guard(header: &str, name: &str) -> Option<usize> {
    let mut guards: Vec<Option<usize>> = Vec::new();
    for line in header.lines() {
        let line = line.trim();
        if let Some(directive) = line.strip_prefix('#').map(str::trim) {
            if directive.starts_with("if") {
                let version = directive.split_once("NTDDI_VERSION >= NTDDI_");
                let version = version.and_then(|(_, rest)| {
                    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                    rank(rest.get(..end.unwrap_or(rest.len()))?)
                });
                guards.push(version);
            } else if directive.starts_with("el") {
                guards.pop();
                guards.push(None);
            } else if directive.starts_with("endif") {
                guards.pop();
            }
            continue;
        }
        let declared = line
            .split_once('(')
            .map(|(before, _)| before.trim_end())
            .is_some_and(|before| before.rsplit([' ', '*']).next() == Some(name));
        let newest = guards.iter().flatten().max();
        if let (true, Some(&newest)) = (declared, newest) {
            return Some(newest);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_that_of_the_declaration() {
        let header = "#if (NTDDI_VERSION >= NTDDI_VISTA)\nNTKERNELAPI\nKAFFINITY\nNTAPI\nOne(\n  VOID);\n#else\n\
                      VOID Two(VOID);\n#endif\n#if (NTDDI_VERSION >= NTDDI_WIN2K)\nVOID * Three (int);\n#endif\n";
        assert_eq!(guard(header, "One"), rank("VISTA"));
        assert_eq!(guard(header, "Two"), None);
        assert_eq!(guard(header, "Three"), rank("WIN2K"));
        assert_eq!(guard(header, "Four"), None);
    }

    #[test]
    fn what_is_newer_or_unknown_is_refused() {
        let since = Since::parse("# x\nOld WIN2K wdm.h\nNew WIN10_VB reference page\n").unwrap();
        assert!(since.check(["Old", "New"].into_iter(), SHIPPED).is_ok());
        assert!(since.check(["Old", "New"].into_iter(), LEGACY).is_err());
        assert!(since.check(["Unknown"].into_iter(), SHIPPED).is_err());
    }
}
