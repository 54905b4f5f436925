//! Tests that run the program and read what it prints.

use std::{fs, process::Command};

use libtest_mimic::Failed;
use rxcectl::NtStatus;
use serde_json::Value;
use suites::{diod::Diod, machine::images};
use tempfile::TempDir;

/// One test.
type Test = fn() -> Result<(), Failed>;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("conformance_runs_the_table_in_one_machine", conformance),
    ("conformance_writes_json", conformance_json),
    ("conformance_lists_without_running", conformance_list),
    ("an_unknown_vector_is_told_and_nothing_runs", unknown_vector),
    ("a_wrong_command_line_boots_no_machine", wrong_command_line),
    ("list_prints_a_directory", list),
    ("read_tells_the_hash_and_writes_the_file", read),
    ("what_cannot_be_read_leaves_the_output_alone", unreadable),
    ("a_server_that_is_not_there_is_named", no_server),
    ("cycles_and_counters", cycles),
    ("statuses_have_the_values_of_the_header", statuses),
];

/// Least number of vectors: a table that shrinks by accident is no success.
const LEAST: usize = 160;

/// A run that ended.
struct Ran {
    code: Option<i32>,
    printed: String,
    told: String,
}

fn rxcectl(arguments: &[&str]) -> Result<Ran, Failed> {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "600"])
        .arg(env!("CARGO_BIN_EXE_rxcectl-ntsim"))
        .args(arguments)
        .env("RXCECTL_IMAGES", images("debug"))
        .output()?;
    let [printed, told] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Ran {
        code: output.status.code(),
        printed,
        told,
    })
}

impl Ran {
    fn ends_with(self, code: i32) -> Result<Self, Failed> {
        if self.code == Some(code) {
            return Ok(self);
        }
        Err(format!(
            "exit code {:?}, expected {code}\n{}{}",
            self.code, self.printed, self.told
        )
        .into())
    }

    /// Whether it failed with this code and told of all this.
    fn refuses(self, code: i32, words: &[&str]) -> Result<(), Failed> {
        let ran = self.ends_with(code)?;
        ensure(
            words.iter().all(|word| ran.told.contains(word)) && ran.printed.is_empty(),
            || format!("expected {words:?}: {}{}", ran.printed, ran.told),
        )
    }

    fn json(self) -> Result<Value, Failed> {
        let ran = self.ends_with(0)?;
        serde_json::from_str(&ran.printed)
            .map_err(|error| format!("{error}: {}", ran.printed).into())
    }
}

fn ensure(condition: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if condition {
        Ok(())
    } else {
        Err(what().into())
    }
}

fn conformance() -> Result<(), Failed> {
    let ran = rxcectl(&["conformance"])?.ends_with(0)?;
    let mut lines: Vec<&str> = ran.printed.lines().collect();
    let last = lines.pop().unwrap_or_default().to_owned();
    ensure(
        last == format!("{} passed, 0 failed, 0 skipped", lines.len()) && lines.len() >= LEAST,
        || format!("{} lines, then: {last}", lines.len()),
    )?;
    let odd = lines.iter().find(|line| !line.starts_with("passed  "));
    ensure(odd.is_none(), || format!("{odd:?}"))?;
    let own = lines
        .iter()
        .filter(|line| line.ends_with(" (own choice)"))
        .count();
    ensure(own > 0 && own < lines.len(), || {
        format!("{own} vectors carry the mark of an own choice")
    })
}

fn conformance_json() -> Result<(), Failed> {
    let arguments = [
        "conformance",
        "--json",
        "--only",
        "I1",
        "--only",
        "b6",
        "--repeat",
        "3",
    ];
    let document = rxcectl(&arguments)?.json()?;
    let vectors = document["vectors"].as_array().cloned().unwrap_or_default();
    let seen: Vec<_> = vectors
        .iter()
        .map(|vector| {
            let text = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
            (
                vector["run"].as_u64(),
                text("id"),
                text("basis"),
                text("verdict"),
            )
        })
        .collect();
    let expected: Vec<_> = (1..=3)
        .flat_map(|run| {
            [("I1", "documented"), ("B6", "own choice")].map(|(id, basis)| {
                (
                    Some(run),
                    id.to_owned(),
                    basis.to_owned(),
                    "passed".to_owned(),
                )
            })
        })
        .collect();
    ensure(seen == expected, || format!("{seen:?}"))?;
    ensure(
        document["passed"] == 6 && document["failed"] == 0 && document["skipped"] == 0,
        || document.to_string(),
    )
}

fn conformance_list() -> Result<(), Failed> {
    let ran = rxcectl(&["conformance", "--list"])?.ends_with(0)?;
    let lines = ran.printed.lines().count();
    ensure(
        lines >= LEAST && ran.printed.starts_with("I1     initiate on NULL\n"),
        || ran.printed.clone(),
    )?;
    let document = rxcectl(&["conformance", "--list", "--json"])?.json()?;
    let listed = document["vectors"].as_array().map_or(0, Vec::len);
    ensure(listed == lines, || {
        format!("{listed} in JSON, {lines} lines")
    })
}

fn unknown_vector() -> Result<(), Failed> {
    rxcectl(&["conformance", "--only", "I1", "--only", "Z99"])?.refuses(2, &["`Z99`", "--list"])
}

fn wrong_command_line() -> Result<(), Failed> {
    rxcectl(&["conformance", "--often"])?.refuses(2, &["--often", "--help"])?;
    let help = rxcectl(&["--help"])?.ends_with(0)?;
    ensure(help.printed.contains("Exit codes:"), || help.printed)
}

/// A folder, and a server of it.
struct Served {
    folder: TempDir,
    diod: Diod,
    user: String,
}

impl Served {
    fn new() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("sub"))?;
        fs::write(folder.path().join("sub/inside"), "")?;
        fs::write(folder.path().join("hello.txt"), "hello\n")?;
        let big: Vec<u8> = (0..3_000_001_u32)
            .map(|at| at.to_le_bytes()[at as usize % 3])
            .collect();
        fs::write(folder.path().join("big"), big)?;
        let diod = Diod::start(folder.path()).map_err(|error| format!("{error:#}"))?;
        Ok(Self {
            diod,
            user: rustix::process::getuid().as_raw().to_string(),
            folder,
        })
    }

    /// Runs a command with this server.
    fn run(&self, command: &[&str]) -> Result<Ran, Failed> {
        let address = self.diod.address();
        let export = self.folder.path().to_string_lossy();
        let server = [
            "--server", &address, "--export", &export, "--uid", &self.user,
        ];
        rxcectl(&[command, &server].concat())
    }
}

fn list() -> Result<(), Failed> {
    let served = Served::new()?;
    let ran = served.run(&["list"])?.ends_with(0)?;
    let names: Vec<&str> = ran
        .printed
        .lines()
        .filter_map(|line| line.rsplit("  ").next())
        .collect();
    ensure(names == ["big", "hello.txt", "sub"], || ran.printed.clone())?;
    ensure(
        ran.printed.contains("drwx") && ran.printed.contains(" 3000001  big"),
        || ran.printed.clone(),
    )?;
    let document = served.run(&["list", "--json", "--path", "/sub"])?.json()?;
    let entry = &document["entries"][0];
    ensure(
        entry["name"] == "inside" && entry["kind"] == "file" && entry["size"] == 0,
        || document.to_string(),
    )
}

fn read() -> Result<(), Failed> {
    // sha256sum of "hello\n".
    const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let served = Served::new()?;
    let ran = served.run(&["read", "--path", "hello.txt"])?.ends_with(0)?;
    ensure(
        ran.printed == format!("{HELLO}  hello.txt, 6 bytes\n"),
        || ran.printed.clone(),
    )?;
    let output = served.folder.path().join("copy");
    fs::write(&output, "older")?;
    let place = output.to_string_lossy();
    let arguments = ["read", "--path", "/big", "--json", "--output", &place];
    let document = served.run(&arguments)?.json()?;
    ensure(
        document["bytes"] == 3_000_001 && document["output"] == *place,
        || document.to_string(),
    )?;
    let same = fs::read(&output)? == fs::read(served.folder.path().join("big"))?;
    ensure(same, || "the copy differs".to_owned())
}

fn unreadable() -> Result<(), Failed> {
    let served = Served::new()?;
    let output = served.folder.path().join("copy");
    fs::write(&output, "older")?;
    let place = output.to_string_lossy();
    served
        .run(&["read", "--path", "/missing", "--output", &place])?
        .refuses(1, &["cannot read /missing", "STATUS_OBJECT_NAME_NOT_FOUND"])?;
    served
        .run(&["read", "--path", "/sub", "--output", &place])?
        .refuses(1, &["cannot read /sub"])?;
    served
        .run(&["read", "--path", "/big", "--output", "/nonexistent/copy"])?
        .refuses(1, &["cannot write /nonexistent/copy"])?;
    ensure(fs::read_to_string(&output)? == "older", || {
        "the older file is gone".to_owned()
    })?;
    let files = fs::read_dir(served.folder.path())?.count();
    ensure(files == 4, || format!("{files} files: something is left"))
}

fn no_server() -> Result<(), Failed> {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.local_addr()?.to_string()
    };
    rxcectl(&["list", "--server", &address])?
        .refuses(1, &[&address, "cannot connect", "refuses connections"])?;
    rxcectl(&["list", "--server", "no.such.host.invalid:564"])?
        .refuses(1, &["no.such.host.invalid"])
}

fn cycles() -> Result<(), Failed> {
    let served = Served::new()?;
    let document = served.run(&["cycles", "--count", "7", "--json"])?.json()?;
    ensure(
        document["cycles"] == 7 && document["connect_microseconds"]["least"].as_u64() > Some(0),
        || document.to_string(),
    )?;
    let text = served.run(&["cycles", "--count", "2"])?.ends_with(0)?;
    ensure(text.printed.starts_with("2 cycles\nconnect"), || {
        text.printed.clone()
    })?;
    let document = rxcectl(&["counters", "--json"])?.json()?;
    ensure(
        document["client"]["circuits"] == 0 && document["engine"].is_null(),
        || document.to_string(),
    )?;
    let text = rxcectl(&["counters"])?.ends_with(0)?;
    ensure(text.printed.contains("  sends synchronous "), || {
        text.printed.clone()
    })
}

/// The names and values that rxcectl prints are those of mingw-w64's ntstatus.h.
fn statuses() -> Result<(), Failed> {
    let header = fs::read_to_string("/usr/share/mingw-w64/include/ntstatus.h")?;
    for status in NtStatus::NAMED {
        let name = status.name().unwrap_or_default();
        let line = header
            .lines()
            .find(|line| line.split_whitespace().nth(1) == Some(name))
            .ok_or_else(|| format!("{name} is not in ntstatus.h"))?;
        let value = format!("{:#010x}", status.0);
        ensure(line.to_ascii_lowercase().contains(&value), || {
            format!("{name} is not {value}: {line}")
        })?;
    }
    Ok(())
}
