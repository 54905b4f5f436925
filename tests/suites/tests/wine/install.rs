//! The package on Wine: made, installed by its INF, started, driven, stopped, removed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use packaging::{
    catalogue::Version,
    folder::{self, Directory, Form, Source},
    sign::Signer,
    stamp::Architecture,
};
use wine::{Session, State};

use super::{Bench, image, place, place_on_shim, place_shim, table, vectors};

/// The section that Windows would choose; Wine does not look at the version in its name, so it is told.
const SECTION: &str = "DefaultInstall.NTamd64.10.0...19041";
/// What one program may take.
const LIMIT: Duration = Duration::from_secs(300);
/// How often the service starts and stops.
const ROUNDS: u32 = 3;
/// Vectors that drive the installed service: a disconnect, a tear-down, a send, a receive.
const DRIVEN: [&str; 4] = ["I1", "T1", "S1", "D1"];

/// Where the service manager keeps what it knows of the service.
const KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\rxce";
/// What the INF makes it know.
const INSTALLED: [(&str, &str); 5] = [
    ("Type", "0x2"),
    ("Start", "0x3"),
    ("ErrorControl", "0x1"),
    ("Group", "Network"),
    ("DisplayName", "rxce connection engine"),
];

/// The whole life of an installed package.
pub(crate) fn life(bench: &Bench) -> Result<()> {
    bench.with_session(|session| {
        let package = session.drive().join("package");
        make(&package)?;
        // On Wine the copy that uses the shim is installed; the rest of the package is as it ships.
        let image = package.join("rxce.sys");
        let signed = fs::read(&image).context("the package has no image")?;
        place(&image, &wine::image::onto_shim(&signed)?)?;
        place_shim(session)?;

        ensure!(
            session.state("rxce")? == State::Absent,
            "rxce is there already"
        );
        let before = session.accidents().len();
        let arguments =
            format!("setupapi.dll,InstallHinfSection {SECTION} 128 C:\\package\\rxce.inf");
        session.run("rundll32", arguments.split(' '), LIMIT)?;
        let installed = installed(session)?;
        for (key, value) in INSTALLED {
            ensure!(
                installed.get(key).is_some_and(|text| text == value),
                "{key} is not {value}: {installed:?}"
            );
        }
        let copy = copied_to(session, &installed)?;
        ensure!(
            fs::read(&copy).ok() == fs::read(&image).ok(),
            "{} is not the image of the package",
            copy.display()
        );
        let conform = Driven::place(session)?;
        for _ in 0..ROUNDS {
            session.start_service("rxce")?;
            conform.drive(session)?;
            session.stop_service("rxce")?;
        }
        conform.remove(session)?;
        session.delete_service("rxce")?;
        fs::remove_file(&copy).context("the installed image cannot be removed")?;
        ensure!(
            session.state("rxce")? == State::Absent,
            "rxce is still there"
        );
        let accidents = session.accidents();
        ensure!(
            accidents.len() == before,
            "Wine reports accidents: {:?}",
            accidents.get(before..)
        );
        Ok(())
    })
}

/// Makes the package as `cargo xtask package` does, with a key of its own.
fn make(folder: &Path) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let keys = tempfile::tempdir().context("no place for a key")?;
    let source = Source {
        architecture: Architecture::X64,
        // Wine has no rdbss.sys.
        form: Form::Export,
        image: image("rxce.sys"),
        directory: Directory::DriverStore,
        inx: root.join("inf/rxce.inx"),
        header: root.join("include/rxce.h"),
        exports: root.join("include/rxce.def"),
        version: concat!(env!("CARGO_PKG_VERSION"), ".0").to_owned(),
        time: 1_700_000_000,
        catalogue: Version::V2,
    };
    folder::make(&source, folder, &Signer::open(&keys.path().join("keys"))?)
}

/// What the service manager knows of rxce; nothing if it does not know it.
fn installed(session: &Session) -> Result<BTreeMap<String, String>> {
    let told = session.run("reg", ["query", KEY], LIMIT)?;
    // `    Type    REG_DWORD    0x2`
    let value = |line: &str| {
        let mut fields = line.trim().splitn(3, "    ");
        let (name, _kind, value) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name.to_owned(), value.trim_end().to_owned()))
    };
    Ok(told.output.lines().filter_map(value).collect())
}

/// Where the service's image is, in this host's terms.
fn copied_to(session: &Session, installed: &BTreeMap<String, String>) -> Result<PathBuf> {
    let path = installed.get("ImagePath").context("no ImagePath")?;
    let inside = path
        .strip_prefix(r"C:\")
        .with_context(|| format!("{path} is not on C:"))?;
    Ok(session.drive().join(inside.replace('\\', "/")))
}

/// conform.sys beside the installed service, in the group that the INF gives it.
struct Driven;

impl Driven {
    fn place(session: &Session) -> Result<Self> {
        place_on_shim(session, "conform")?;
        session.create_driver("conform", "Network")?;
        vectors::place_program(session)?;
        Ok(Self)
    }

    fn drive(&self, session: &Session) -> Result<()> {
        session.start_service("conform")?;
        let only = DRIVEN.iter().flat_map(|id| ["--only", id]);
        let arguments: Vec<&str> = ["conformance", "--json"].into_iter().chain(only).collect();
        let told = session.run(vectors::PROGRAM, arguments, LIMIT)?;
        session.stop_service("conform")?;
        ensure!(
            told.status.success(),
            "{}: {}\n{}",
            told.status,
            told.output,
            session.log()
        );
        let seen = table::read(&told.output)?;
        ensure!(
            seen.len() == DRIVEN.len()
                && seen
                    .iter()
                    .all(|vector| vector.verdict == table::Verdict::Passed),
            "{seen:?}"
        );
        Ok(())
    }

    fn remove(self, session: &Session) -> Result<()> {
        session.delete_service("conform")
    }
}
