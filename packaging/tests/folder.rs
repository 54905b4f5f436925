//! The package of the built driver: what is in it, that it holds together, and that nothing is left behind when it cannot be made.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use packaging::{
    catalogue::Version,
    folder::{Source, make, verify},
    sign::Signer,
    stamp::Architecture,
};

const TIME: u64 = 1_795_000_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn source(architecture: Architecture, directory: &str) -> Result<Source> {
    let image = root()
        .join("target/drivers/release")
        .join(directory)
        .join("rxce.sys");
    ensure!(
        image.is_file(),
        "the driver is not built: run `cargo xtask build --all`"
    );
    Ok(Source {
        architecture,
        image,
        inx: root().join("inf/rxce.inx"),
        header: root().join("include/rxce.h"),
        exports: root().join("include/rxce.def"),
        version: concat!(env!("CARGO_PKG_VERSION"), ".0").to_owned(),
        time: TIME,
        catalogue: Version::V2,
    })
}

fn names(folder: &Path) -> Result<BTreeSet<String>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// A message with all its causes.
fn error(result: Result<()>) -> String {
    result
        .err()
        .map_or_else(String::new, |error| format!("{error:#}"))
}

#[test]
fn packages_are_whole_and_the_same_each_time() -> Result<()> {
    let work = tempfile::tempdir()?;
    let signer = Signer::open(&work.path().join("keys"))?;
    for (architecture, directory) in [
        (Architecture::X64, "x86_64"),
        (Architecture::Arm64, "aarch64"),
    ] {
        for version in [Version::V1, Version::V2] {
            let source = Source {
                catalogue: version,
                ..source(architecture, directory)?
            };
            let folder = work.path().join(directory);
            make(&source, &folder, &signer)?;
            let expected = [
                "rxce.cat",
                "rxce-test.cer",
                "rxce.h",
                "rxce.inf",
                "rxce.lib",
                "rxce.pdb",
                "rxce.sys",
            ];
            assert_eq!(names(&folder)?, expected.map(str::to_owned).into());
            let again = work.path().join("again");
            make(&source, &again, &Signer::open(&work.path().join("keys"))?)?;
            for name in expected {
                assert_eq!(
                    fs::read(folder.join(name))?,
                    fs::read(again.join(name))?,
                    "{name}"
                );
            }
        }
    }
    // Nothing beside the packages, and no key in them: the files were counted.
    let beside = ["aarch64", "again", "keys", "x86_64"].map(str::to_owned);
    assert_eq!(names(work.path())?, beside.into());
    Ok(())
}

#[test]
fn a_changed_file_is_noticed() -> Result<()> {
    let work = tempfile::tempdir()?;
    let signer = Signer::open(&work.path().join("keys"))?;
    let folder = work.path().join("x64");
    make(&source(Architecture::X64, "x86_64")?, &folder, &signer)?;
    verify(&folder, &signer)?;
    for (name, place, complaint) in [
        (
            "rxce.sys",
            0x1000,
            "the signature of rxce.sys does not hold",
        ),
        ("rxce.inf", 100, "rxce.cat does not list rxce.inf"),
        ("rxce.cat", 150, "rxce.cat"),
    ] {
        let path = folder.join(name);
        let whole = fs::read(&path)?;
        let mut changed = whole.clone();
        *changed.get_mut(place).context("a short file")? ^= 1;
        fs::write(&path, changed)?;
        let found = error(verify(&folder, &signer));
        assert!(found.contains(complaint), "{name}: {found}");
        fs::write(&path, whole)?;
    }
    let other = Signer::open(&work.path().join("other keys"))?;
    assert!(verify(&folder, &other).is_err(), "another's signature");
    Ok(())
}

#[test]
fn what_cannot_be_packed_leaves_the_old_package() -> Result<()> {
    let work = tempfile::tempdir()?;
    let signer = Signer::open(&work.path().join("keys"))?;
    let folder = work.path().join("x64");
    let good = || source(Architecture::X64, "x86_64");
    make(&good()?, &folder, &signer)?;
    let before = fs::read(folder.join("rxce.cat"))?;

    let inputs = tempfile::tempdir()?;
    let put = |name: &str, contents: &[u8]| -> Result<PathBuf> {
        let path = inputs.path().join(name);
        fs::write(&path, contents)?;
        Ok(path)
    };
    let inx = fs::read_to_string(root().join("inf/rxce.inx"))?;
    let image = fs::read(good()?.image)?;
    let spoilt = |change: &dyn Fn(&mut Source)| -> Result<Source> {
        let mut source = good()?;
        change(&mut source);
        Ok(source)
    };
    let unlocked = put(
        "a.inx",
        inx.replace("Lockdown = 1", "Lockdown = 0").as_bytes(),
    )?;
    let rdbss = put(
        "b.inx",
        inx.replace("LoadOrderGroup", "Dependencies = rdbss\nLoadOrderGroup")
            .as_bytes(),
    )?;
    let part = put("part.sys", &image[..image.len() / 16])?;
    let alone = put("alone.sys", &image)?;
    for (source, complaint) in [
        (spoilt(&|source| source.inx = unlocked.clone())?, "Lockdown"),
        (
            spoilt(&|source| source.inx = rdbss.clone())?,
            "disagree on rdbss",
        ),
        (
            spoilt(&|source| source.inx = inputs.path().join("none"))?,
            "cannot read",
        ),
        (spoilt(&|source| source.image = part.clone())?, "part.sys"),
        (spoilt(&|source| source.image = alone.clone())?, "alone.pdb"),
        (
            spoilt(&|source| source.architecture = Architecture::Arm64)?,
            "another processor",
        ),
        (
            spoilt(&|source| source.version = "9.9.9.0".to_owned())?,
            "not of version",
        ),
    ] {
        let found = error(make(&source, &folder, &signer));
        assert!(found.contains(complaint), "{complaint}: {found}");
        assert_eq!(fs::read(folder.join("rxce.cat"))?, before, "{complaint}");
        let beside = ["keys", "x64"].map(str::to_owned);
        assert_eq!(names(work.path())?, beside.into(), "{complaint}");
    }
    Ok(())
}

#[test]
fn a_damaged_certificate_is_told() -> Result<()> {
    let work = tempfile::tempdir()?;
    let keys = work.path().join("keys");
    Signer::open(&keys)?;
    fs::write(keys.join("rxce-test.pem"), "nothing")?;
    let found = error(Signer::open(&keys).map(|_| ()));
    assert!(found.contains("expired or is damaged"), "{found}");
    Ok(())
}

/// What `openssl ca` needs to date a certificate.
const AUTHORITY: &str = "\
[ca]
default_ca=a
[a]
database=index
serial=serial
new_certs_dir=.
policy=p
[p]
commonName=optional
organizationName=optional
";

#[test]
fn an_expired_certificate_is_told() -> Result<()> {
    let work = tempfile::tempdir()?;
    let keys = work.path().join("keys");
    Signer::open(&keys)?;
    fs::write(keys.join("ca.cnf"), AUTHORITY)?;
    fs::write(keys.join("index"), "")?;
    fs::write(keys.join("serial"), "01\n")?;
    let script = "openssl req -new -key rxce-test.key -config request.cnf -out request && \
        openssl ca -config ca.cnf -batch -selfsign -keyfile rxce-test.key -md sha256 -notext \
        -startdate 20200101000000Z -enddate 20210101000000Z -in request -out rxce-test.pem";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(&keys)
        .output()?;
    ensure!(made.status.success(), "{made:?}");
    let found = error(Signer::open(&keys).map(|_| ()));
    assert!(found.contains("expired"), "{found}");
    assert!(
        found.contains("will expire"),
        "openssl's own words: {found}"
    );
    Ok(())
}

/// A limit on the size of files stands in for a full disk: a write fails in its middle.
#[test]
fn a_full_disk_leaves_nothing() -> Result<()> {
    let work = tempfile::tempdir()?;
    let keys = work.path().join("keys");
    Signer::open(&keys)?;
    let source = source(Architecture::X64, "x86_64")?;
    let run = |limit: &str| -> Result<std::process::Output> {
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        Ok(Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_packaging")])
            .args(["--architecture", "x64", "--image"])
            .arg(&source.image)
            .arg("--root")
            .arg(root())
            .arg("--keys")
            .arg(&keys)
            .arg("--output")
            .arg(work.path().join("x64"))
            .output()?)
    };
    let full = run("64")?;
    let told = String::from_utf8_lossy(&full.stderr).into_owned();
    assert!(!full.status.success());
    assert!(told.contains("cannot write"), "{told}");
    assert_eq!(names(work.path())?, ["keys".to_owned()].into());
    let room = run("unlimited")?;
    assert!(room.status.success(), "{room:?}");
    Ok(())
}
