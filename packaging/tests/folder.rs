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
    folder::{Directory, Form, Source, make, verify},
    sign::Signer,
    stamp::Architecture,
    vm::{self, Vm},
};

const TIME: u64 = 1_795_000_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn source(architecture: Architecture, directory: &str) -> Result<Source> {
    source_of(Form::Export, architecture, directory)
}

fn source_of(form: Form, architecture: Architecture, directory: &str) -> Result<Source> {
    let image = root()
        .join("target/drivers/release")
        .join(directory)
        .join(match form {
            Form::Export => "rxce.sys",
            Form::Redirector => "redirector/rxce.sys",
        });
    ensure!(
        image.is_file(),
        "the driver is not built: run `cargo xtask build --all`"
    );
    Ok(Source {
        architecture,
        form,
        image,
        inx: root().join("inf/rxce.inx"),
        header: root().join("include/rxce.h"),
        exports: root().join("include/rxce.def"),
        version: concat!(env!("CARGO_PKG_VERSION"), ".0").to_owned(),
        time: TIME,
        catalogue: Version::V2,
        directory: Directory::DriverStore,
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
        for (form, version) in [
            (Form::Export, Version::V1),
            (Form::Export, Version::V2),
            (Form::Redirector, Version::V2),
        ] {
            let source = Source {
                catalogue: version,
                ..source_of(form, architecture, directory)?
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
    let lonely = put("b.inx", inx.replace("= rdbss,mup ", "= mup ").as_bytes())?;
    let redirector = source_of(Form::Redirector, Architecture::X64, "x86_64")?.image;
    let part = put("part.sys", &image[..image.len() / 16])?;
    let alone = put("alone.sys", &image)?;
    for (source, complaint) in [
        (spoilt(&|source| source.inx = unlocked.clone())?, "Lockdown"),
        (
            spoilt(&|source| source.form = Form::Redirector)?,
            "disagree on rdbss",
        ),
        (
            spoilt(&|source| source.image = redirector.clone())?,
            "disagree on rdbss",
        ),
        (
            spoilt(&|source| {
                source.image = redirector.clone();
                source.form = Form::Redirector;
                source.inx = lonely.clone();
            })?,
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
            .args(["--architecture", "x64", "--form", "export", "--image"])
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

/// Runs the program for x64, with this output and environment; its exit code and what it told.
fn run(keys: &Path, output: &Path, path: Option<&str>) -> Result<(Option<i32>, String)> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_packaging"));
    program
        .args(["--architecture", "x64", "--form", "export", "--image"])
        .arg(source(Architecture::X64, "x86_64")?.image)
        .arg("--root")
        .arg(root())
        .arg("--keys")
        .arg(keys)
        .arg("--output")
        .arg(output);
    if let Some(path) = path {
        program.env("PATH", path);
    }
    let done = program.output()?;
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    Ok((done.status.code(), told))
}

#[test]
fn a_missing_program_is_told() -> Result<()> {
    let work = tempfile::tempdir()?;
    let (keys, output) = (work.path().join("keys"), work.path().join("x64"));
    // Neither is there: the first that is wanted is named.
    let (code, told) = run(&keys, &output, Some("/nonexistent"))?;
    assert_eq!(code, Some(1));
    assert!(told.contains("openssl"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(names(work.path())?.is_empty());
    // Only the one that signs is missing.
    Signer::open(&keys)?;
    let only = work.path().join("only");
    fs::create_dir(&only)?;
    let openssl = ["/usr/bin/openssl", "/usr/local/bin/openssl"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .context("no openssl")?;
    std::os::unix::fs::symlink(openssl, only.join("openssl"))?;
    let (code, told) = run(&keys, &output, only.to_str())?;
    assert_eq!(code, Some(1));
    assert!(told.contains("osslsigncode"), "{told}");
    assert!(!output.exists());
    Ok(())
}

/// A place where no folder can be made, whoever asks: below a file, and in a file system of the kernel's.
#[test]
fn an_output_that_cannot_be_written_is_told() -> Result<()> {
    let work = tempfile::tempdir()?;
    let keys = work.path().join("keys");
    Signer::open(&keys)?;
    let file = work.path().join("file");
    fs::write(&file, "kept")?;
    for output in [file.join("x64"), PathBuf::from("/proc/rxce/x64")] {
        let (code, told) = run(&keys, &output, None)?;
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("cannot make"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    assert_eq!(fs::read(&file)?, b"kept");
    assert_eq!(
        names(work.path())?,
        ["file", "keys"].map(str::to_owned).into()
    );
    Ok(())
}

#[test]
fn wrong_arguments_are_told() -> Result<()> {
    for arguments in [
        &["--architecture", "x86"][..],
        &["--client", "a.sys"],
        &["--nonsense"],
        &[],
    ] {
        let done = Command::new(env!("CARGO_BIN_EXE_packaging"))
            .args(arguments)
            .output()?;
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
    }
    Ok(())
}

/// The text of a package's INF.
fn inf_of(folder: &Path) -> Result<String> {
    let bytes = fs::read(folder.join("rxce.inf"))?;
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    Ok(String::from_utf16(&units)?)
}

#[test]
fn the_forms_differ_in_what_the_service_depends_on() -> Result<()> {
    let work = tempfile::tempdir()?;
    let signer = Signer::open(&work.path().join("keys"))?;
    let inf = |form| -> Result<String> {
        let folder = work.path().join("x64");
        make(
            &source_of(form, Architecture::X64, "x86_64")?,
            &folder,
            &signer,
        )?;
        inf_of(&folder)
    };
    let (redirector, export) = (inf(Form::Redirector)?, inf(Form::Export)?);
    let more: Vec<&str> = redirector
        .lines()
        .filter(|line| !export.lines().any(|other| other == *line))
        .collect();
    let [line] = more.as_slice() else {
        anyhow::bail!("{more:?}");
    };
    ensure!(line.starts_with("Dependencies   = rdbss,mup"), "{line}");
    ensure!(redirector.lines().count() == export.lines().count() + 1);
    Ok(())
}

#[test]
fn the_variant_for_system32_differs_in_the_directory_only() -> Result<()> {
    let work = tempfile::tempdir()?;
    let signer = Signer::open(&work.path().join("keys"))?;
    let mut texts = Vec::new();
    for directory in [Directory::DriverStore, Directory::System32] {
        let source = Source {
            directory,
            ..source(Architecture::X64, "x86_64")?
        };
        let folder = work.path().join("x64");
        make(&source, &folder, &signer)?;
        texts.push(inf_of(&folder)?);
    }
    let different: Vec<(&str, &str)> = texts[0]
        .lines()
        .zip(texts[1].lines())
        .filter(|(one, other)| one != other)
        .collect();
    assert_eq!(different.len(), 3, "{different:?}");
    for (store, system32) in different {
        assert_eq!(store.replace("13", "12"), system32);
    }
    Ok(())
}

#[test]
fn the_folder_for_a_vm_is_whole() -> Result<()> {
    let work = tempfile::tempdir()?;
    let signer = Signer::open(&work.path().join("keys"))?;
    let source = source(Architecture::X64, "x86_64")?;
    let package = work.path().join("x64");
    make(&source, &package, &signer)?;
    let client = source.image.with_file_name("exchange.sys");
    let program = work.path().join("program.exe");
    fs::write(&program, "MZ")?;
    let mut vm = Vm {
        package,
        clients: vec![client.clone()],
        programs: vec![program],
        scripts: root().join("scripts/windows"),
        time: TIME,
    };
    let folder = work.path().join("vm");
    vm::make(&vm, &folder, &signer)?;
    let inside = ["clients", "package", "scripts"].map(str::to_owned);
    assert_eq!(names(&folder)?, inside.into());
    let clients = ["exchange.sys", "program.exe"].map(str::to_owned);
    assert_eq!(names(&folder.join("clients"))?, clients.into());
    verify(&folder.join("package"), &signer)?;
    signer.verify(&folder.join("clients/exchange.sys"))?;
    assert!(
        signer.verify(&client).is_err(),
        "the original is not signed"
    );

    let before = fs::read(folder.join("clients/exchange.sys"))?;
    vm.clients.push(work.path().join("none.sys"));
    let found = error(vm::make(&vm, &folder, &signer));
    assert!(found.contains("none.sys"), "{found}");
    assert_eq!(fs::read(folder.join("clients/exchange.sys"))?, before);
    let beside = ["keys", "program.exe", "vm", "x64"].map(str::to_owned);
    assert_eq!(names(work.path())?, beside.into());
    Ok(())
}
