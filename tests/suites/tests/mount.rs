//! What `cargo xtask mount` runs, from outside: ordinary Linux programs on the files of a real server, through the release image
//! of the redirector; what is left after a signal, an `umount`, and the end of the server.
//!
//! It needs FUSE, the images (`cargo xtask build --all`), and diod; where `/dev/fuse` cannot be opened it says so.

#[path = "redirector/original.rs"]
mod original;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use suites::diod::{Diod, die_with_us};
use tempfile::TempDir;

use original::{Contents, digest};

/// Seed and size of the tree.
const SEED: u64 = 0xF_05E;
const FILES: usize = 400;
/// How long the program may take for its start, and for its end.
const LIMIT: Duration = Duration::from_secs(300);
/// What it ends with.
const NOTHING_LEFT: &str = "unloaded; nothing is left";
/// A word that a few of the files have, and those files.
const WORD: &str = "a needle in the hay";
const WITH_WORD: [&str; 3] = ["needle one.txt", "needles/two", "needles/näh/drei"];

/// One test.
type Test = fn() -> Result<()>;

fn main() -> ExitCode {
    let tests: [(&str, Test); 5] = [
        ("programs_see_what_is_on_the_server", programs),
        ("programs_cannot_write", writes),
        ("an_umount_ends_it", unmounted),
        ("a_server_that_dies_is_an_io_error", server_dies),
        ("what_cannot_be_mounted_is_told", not_mounted),
    ];
    let why_not = suites::mount::is_possible().err();
    if let Some(error) = &why_not {
        println!("NOT RUN mount: cannot open /dev/fuse: {error}");
    }
    let trials = tests.map(|(name, test)| {
        let run = move || test().map_err(|error| Failed::from(format!("{error:#}")));
        Trial::test(name, run).with_ignored_flag(why_not.is_some())
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// The program, and the directory in which it shows the tree.
struct Mounted {
    child: Child,
    output: BufReader<ChildStdout>,
    at: TempDir,
}

fn command(at: &Path, port: u16, export: &Path) -> Command {
    let image = suites::machine::images("release").join("redirector/rxce.sys");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mount"));
    command
        .arg(at)
        .arg("--server")
        .arg(format!("127.0.0.1:{port}"))
        .arg("--export")
        .arg(export)
        .arg("--user")
        .arg(rustix::process::getuid().as_raw().to_string())
        .arg("--rxce")
        .arg(image);
    die_with_us(&mut command);
    command
}

impl Mounted {
    fn new(port: u16, export: &Path) -> Result<Self> {
        let at = tempfile::Builder::new().prefix("rxce-mount-").tempdir()?;
        let mut child = command(at.path(), port, export)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        ensure!(line.contains("ends with Ctrl-C"), "it says {line:?}");
        Ok(Self { child, output, at })
    }

    fn path(&self) -> &Path {
        self.at.path()
    }

    /// Asks it to end as a terminal or a service manager does.
    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for its end: a success, nothing left in the machine, and nothing mounted.
    fn ended(mut self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(10));
        };
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        ensure!(status.success(), "{status}: {text}");
        ensure!(text.contains(NOTHING_LEFT), "it says {text:?}");
        ensure!(!is_mounted(self.path())?, "it is still mounted");
        ensure!(
            fs::read_dir(self.path())?.next().is_none(),
            "the directory has something in it"
        );
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // After a failure. The kernel takes the mount away with the last of its server's descriptors; until then it is busy.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if is_mounted(self.path()).unwrap_or(false) {
            let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }
}

fn is_mounted(at: &Path) -> Result<bool> {
    let place = at.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(&place)))
}

/// What a program prints; it must succeed.
fn output<S: AsRef<OsStr>>(at: &Path, program: &str, arguments: &[S]) -> Result<Vec<u8>> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(at)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .with_context(|| program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program}: {} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// The tree, with some files more, and its server.
fn served() -> Result<(TempDir, Contents, Diod)> {
    let (tree, mut contents) = original::make(SEED, FILES)?;
    for name in WITH_WORD {
        let path = tree.path().join(name);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        let text = format!("hay\n{WORD}\nhay\n");
        fs::write(path, &text)?;
        contents.insert(name.into(), digest(text.as_bytes()));
    }
    let diod = Diod::start(tree.path())?;
    Ok((tree, contents, diod))
}

/// Paths, each with a NUL behind it and perhaps `./` in front.
fn paths(bytes: &[u8]) -> Vec<PathBuf> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(|path| path.strip_prefix(b"./").unwrap_or(path).to_vec())
        .map(|path| PathBuf::from(OsString::from_vec(path)))
        .collect()
}

/// `sha256sum -z`: digest, two spaces, path.
fn sums(text: &[u8]) -> Result<BTreeMap<PathBuf, String>> {
    text.split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (sum, path) = line.split_at_checked(64).context("a short line")?;
            let path = path.strip_prefix(b"  ").context("no path")?;
            let path = PathBuf::from(OsStr::from_bytes(path));
            Ok((path, String::from_utf8(sum.to_vec())?))
        })
        .collect()
}

fn programs() -> Result<()> {
    let (tree, contents, diod) = served()?;
    let mounted = Mounted::new(diod.port(), tree.path())?;
    let began = Instant::now();
    let at = mounted.path();

    let here = output(at, "ls", &["-1A"])?;
    ensure!(here == output(tree.path(), "ls", &["-1A"])?, "ls");

    let mut found = paths(&output(at, "find", &[".", "-type", "f", "-print0"])?);
    found.sort();
    let wanted: Vec<_> = contents.keys().cloned().collect();
    ensure!(
        found == wanted,
        "find: {} files, not {}",
        found.len(),
        wanted.len()
    );

    let mut arguments = vec![OsString::from("-z"), "--".into()];
    arguments.extend(found.into_iter().map(PathBuf::into_os_string));
    let sums = sums(&output(at, "sha256sum", &arguments)?)?;
    for (path, digest) in &contents {
        let wanted: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(
            sums.get(path) == Some(&wanted),
            "sha256sum of {}",
            path.display()
        );
    }

    let arguments = ["-r", "-l", "-Z", "-F", "-x", WORD, "."];
    let mut found = paths(&output(at, "grep", &arguments)?);
    found.sort();
    let mut wanted = WITH_WORD.map(PathBuf::from);
    wanted.sort();
    ensure!(found == wanted, "grep: {found:?}");

    // Everything again, by a program that knows both sides.
    let arguments = [OsStr::new("-r"), tree.path().as_os_str(), OsStr::new(".")];
    ensure!(output(at, "diff", &arguments)?.is_empty(), "diff");

    let (path, _) = contents
        .iter()
        .max_by_key(|(path, _)| fs::metadata(tree.path().join(path)).map_or(0, |file| file.len()))
        .context("no files")?;
    let original = fs::read(tree.path().join(path))?;
    let from = [OsString::from("if="), path.clone().into_os_string()].into_iter();
    let arguments = [
        from.collect(),
        OsString::from("bs=1000"),
        "skip=3".into(),
        "count=70".into(),
        "status=none".into(),
    ];
    let part = output(at, "dd", &arguments)?;
    ensure!(
        original.get(3000..73_000) == Some(&part[..]),
        "dd: {} bytes",
        part.len()
    );
    println!(
        "{} files five times in {:?}",
        contents.len(),
        began.elapsed()
    );

    mounted.signal(Signal::INT)?;
    mounted.ended()
}

fn writes() -> Result<()> {
    let (tree, _, diod) = served()?;
    let mounted = Mounted::new(diod.port(), tree.path())?;
    let file = "needle one.txt";
    for (program, arguments) in [
        ("touch", &["new"][..]),
        ("mkdir", &["new"]),
        ("rm", &["-f", file]),
        ("rmdir", &["needles"]),
        ("mv", &[file, "other"]),
        ("ln", &["-s", file, "link"]),
        ("chmod", &["600", file]),
        ("truncate", &["-s", "1", file]),
        ("dd", &["if=/dev/null", "of=needle one.txt", "status=none"]),
        ("sh", &["-c", "echo x >> 'needle one.txt'"]),
    ] {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(mounted.path())
            .env("LC_ALL", "C")
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success(),
            "{program} {arguments:?} succeeded"
        );
        ensure!(
            text.contains("Read-only file system"),
            "{program} {arguments:?}: {text}"
        );
    }
    let unchanged = fs::read(tree.path().join(file))?;
    ensure!(fs::read(mounted.path().join(file))? == unchanged, "{file}");
    mounted.signal(Signal::TERM)?;
    mounted.ended()
}

fn unmounted() -> Result<()> {
    let (tree, _, diod) = served()?;
    let mounted = Mounted::new(diod.port(), tree.path())?;
    ensure!(is_mounted(mounted.path())?, "it is not mounted");
    // As root there is umount; for others, fusermount3 is what FUSE brings.
    let (program, first) = if rustix::process::getuid().is_root() {
        ("umount", None)
    } else {
        ("fusermount3", Some("-u"))
    };
    let status = Command::new(program)
        .args(first)
        .arg(mounted.path())
        .status()?;
    ensure!(status.success(), "{program}: {status}");
    mounted.ended()
}

fn server_dies() -> Result<()> {
    let (tree, contents, diod) = served()?;
    let mounted = Mounted::new(diod.port(), tree.path())?;
    let few: Vec<_> = contents.keys().take(20).collect();
    let mut open = fs::File::open(mounted.path().join(few.first().context("no files")?))?;
    drop(diod);
    let began = Instant::now();
    for path in few {
        match fs::read(mounted.path().join(path)) {
            Ok(_) => bail!("{} was read from a dead server", path.display()),
            // EIO.
            Err(error) => ensure!(error.raw_os_error() == Some(5), "{error}"),
        }
    }
    let result = open
        .read(&mut [0; 10])
        .map_err(|error| error.raw_os_error());
    ensure!(result == Err(Some(5)), "the open file: {result:?}");
    ensure!(began.elapsed() < LIMIT, "it took {:?}", began.elapsed());
    drop(open);
    mounted.signal(Signal::TERM)?;
    mounted.ended()
}

fn not_mounted() -> Result<()> {
    let (tree, _, diod) = served()?;
    let at = tempfile::tempdir()?;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let nowhere = at.path().join("nowhere");
    for (place, port, export, complaint) in [
        (at.path(), nobody, tree.path(), "STATUS_CONNECTION_REFUSED"),
        (at.path(), diod.port(), nowhere.as_path(), "cannot open"),
        (
            nowhere.as_path(),
            diod.port(),
            tree.path(),
            "is not a directory",
        ),
    ] {
        let output = command(place, port, export).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{}: {text}", output.status);
        ensure!(text.contains(complaint), "{complaint} is not in: {text}");
        ensure!(!is_mounted(at.path())?, "something is mounted");
    }
    Ok(())
}
