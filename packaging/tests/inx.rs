//! The copy of the INF's source that a build on Windows makes for `cargo make` and `cargo wdk build`.

use std::fs;

use anyhow::Result;

#[path = "../../build/inx.rs"]
mod inx;

#[test]
fn the_source_is_copied_beside_the_manifest() -> Result<()> {
    let root = tempfile::tempdir()?;
    fs::create_dir(root.path().join("inf"))?;
    let (source, copy) = (
        root.path().join("inf/rxce.inx"),
        root.path().join("rxce.inx"),
    );
    let imported = inx::Rdbss::Imported;
    assert!(inx::place(root.path(), imported).is_err(), "no source");
    for text in ["one", "two"] {
        fs::write(&source, text)?;
        inx::place(root.path(), imported)?;
        assert_eq!(fs::read_to_string(&copy)?, text);
    }
    // The same again is not written: a build that does nothing new changes no time of a file.
    let mut permissions = fs::metadata(&copy)?.permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&copy, permissions)?;
    let before = fs::metadata(&copy)?.modified()?;
    inx::place(root.path(), imported)?;
    assert_eq!(fs::metadata(&copy)?.modified()?, before);
    Ok(())
}

#[test]
fn the_copy_for_an_image_without_rdbss_has_no_dependency() -> Result<()> {
    let root = tempfile::tempdir()?;
    fs::create_dir(root.path().join("inf"))?;
    let source = include_str!("../../inf/rxce.inx");
    fs::write(root.path().join("inf/rxce.inx"), source)?;
    inx::place(root.path(), inx::Rdbss::NotImported)?;
    let copy = fs::read_to_string(root.path().join("rxce.inx"))?;
    assert_eq!(copy, packaging::stamp::without_rdbss(source));
    let gone: Vec<&str> = source
        .lines()
        .filter(|line| !copy.lines().any(|other| other == *line))
        .collect();
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(gone.iter().all(|line| line.starts_with("Dependencies")));
    Ok(())
}

#[test]
fn git_ignores_the_copy() {
    let ignored = include_str!("../../.gitignore");
    assert!(ignored.lines().any(|line| line == "/rxce.inx"));
}
