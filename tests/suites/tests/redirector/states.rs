//! Start, stop, unload.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ntsim::{
    DirectoryFlags, File, HowToOpen,
    io::status,
    ob::registry::{Value, set_parameter},
};
use p9::Kind;

use crate::{
    Scenario,
    machine::{self, Redirector, SERVICE, START, fails, named, open, path, refused},
    scripted::{self, FILE, Trick},
};

pub(crate) const ALL: &[Scenario] = &[
    ("starts_and_stops_answer_as_documented", states),
    ("an_unknown_control_code_is_refused", unknown_code),
    ("a_started_redirector_is_not_unloaded", keeps_itself),
    ("a_stop_with_open_files_ends_their_sessions", open_files),
    ("a_stop_ends_what_waits_for_a_server", waiting),
    ("what_nobody_uses_is_given_up", given_up),
    ("only_administrators_start_and_stop", administrators),
    ("a_start_goes_by_the_parameters", parameters),
];

fn states(profile: &str) -> Result<()> {
    let redirector = Redirector::load(profile)?;
    fails(redirector.stop(), status::REDIRECTOR_NOT_STARTED)?;
    let early = named("127.0.0.1@564", "x", r"\y");
    refused(
        &early,
        &HowToOpen::default(),
        status::REDIRECTOR_NOT_STARTED,
    )?;
    for _ in 0..3 {
        redirector.start().context("start")?;
        fails(redirector.start(), status::REDIRECTOR_STARTED)?;
        redirector.stop().context("stop")?;
        fails(redirector.stop(), status::REDIRECTOR_NOT_STARTED)?;
    }
    redirector.unload()
}

fn unknown_code(profile: &str) -> Result<()> {
    let redirector = Redirector::load(profile)?;
    let device = ntsim::File::open(crate::machine::DEVICE)?;
    fails(
        device.fsctl(0x0014_A008, &[], 0),
        status::INVALID_DEVICE_REQUEST,
    )?;
    fails(
        device.ioctl(0x0014_A008, &[], 0),
        status::INVALID_DEVICE_REQUEST,
    )?;
    drop(device);
    redirector.unload()
}

fn keeps_itself(profile: &str) -> Result<()> {
    let redirector = Redirector::started(profile)?;
    ensure!(
        redirector.driver().may_unload().is_err(),
        "a started redirector may be unloaded"
    );
    redirector.end()
}

fn open_files(profile: &str) -> Result<()> {
    let tree = crate::servers::tree()?;
    let diod = suites::diod::Diod::start(tree.path())?;
    let redirector = Redirector::started(profile)?;
    let hello = path(diod.port(), tree.path(), r"\hello.txt");
    let file = open(&hello)?;
    fails(redirector.stop(), status::REDIRECTOR_HAS_OPEN_HANDLES)?;
    fails(file.read_at(0, 10), status::REDIRECTOR_NOT_STARTED)?;
    drop(file);
    // It starts again, and the server is found again.
    redirector.start().context("start")?;
    let file = open(&hello)?;
    ensure!(file.read_at(0, 100)? == b"hello\n", "another file");
    drop(file);
    redirector.end()
}

/// Reads, listings and opens that wait for servers that say nothing: a stop waits no longer than the driver does.
fn waiting(profile: &str) -> Result<()> {
    // Far more than a server that answers needs on a busy host.
    machine::set_exchange_seconds(4);
    let redirector = Redirector::started(profile)?;
    let server = |step| -> Result<String> {
        Ok(format!(
            "127.0.0.1@{}",
            scripted::serve(Some(step), Trick::Silence)?
        ))
    };
    let (opens, reads, lists) = (
        server(Kind::Tattach)?,
        server(Kind::Tread)?,
        server(Kind::Treaddir)?,
    );
    let how = HowToOpen {
        options: 0,
        ..HowToOpen::default()
    };
    let file = File::create(&named(&reads, "tree", &format!(r"\{FILE}")), &how)?;
    let root = open(&named(&lists, "tree", ""))?;
    let pending: Vec<_> = (0..5).map(|at| file.begin_read(at, 10)).collect();
    thread::scope(|scope| -> Result<()> {
        let listing = scope.spawn(|| {
            // A pattern that "." does not fit: that is there whatever the server says.
            root.query_directory(12, Some("f*"), DirectoryFlags::RESTART, 4096)
                .map(drop)
        });
        let opening = scope.spawn(|| File::create(&named(&opens, "tree", r"\x"), &how).map(drop));
        // Each of the servers has a request that it does not answer.
        let limit = Instant::now() + Duration::from_secs(60);
        while scripted::silences() < 3 {
            ensure!(Instant::now() < limit, "not every server was asked");
            thread::sleep(Duration::from_millis(1));
        }
        let began = Instant::now();
        fails(redirector.stop(), status::REDIRECTOR_HAS_OPEN_HANDLES)?;
        let took = began.elapsed();
        ensure!(took < Duration::from_secs(60), "the stop took {took:?}");
        for waiter in [listing, opening] {
            let result = waiter
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))?;
            fails(result, status::IO_TIMEOUT)?;
        }
        Ok(())
    })?;
    for read in pending {
        fails(read.wait(), status::IO_TIMEOUT)?;
    }
    drop((file, root));
    redirector.unload()
}

/// RDBSS finalises shares and servers that nobody uses, 10 s and 10 s later: the server gets the root back, and the connection
/// ends, without a stop.
fn given_up(profile: &str) -> Result<()> {
    let (port, told) = scripted::serve_telling()?;
    let redirector = Redirector::started(profile)?;
    let server = format!("127.0.0.1@{port}");
    let file = open(&named(&server, "tree", &format!(r"\{FILE}")))?;
    ensure!(scripted::live(&told) == 2, "the root and the file");
    drop(file);
    ensure!(scripted::live(&told) == 1, "the root");
    let began = Instant::now();
    while scripted::connections(&told) != 0 {
        ensure!(
            began.elapsed() < Duration::from_secs(300),
            "a server that nobody uses is still connected"
        );
        thread::sleep(Duration::from_millis(100));
    }
    ensure!(scripted::live(&told) == 0, "the root was not given back");
    redirector.end()
}

/// The device's security: users read, and nothing else.
fn administrators(profile: &str) -> Result<()> {
    let tree = crate::servers::tree()?;
    let diod = suites::diod::Diod::start(tree.path())?;
    let redirector = Redirector::started(profile)?;
    ntsim::se::set_user_admin(false);
    if let Ok(device) = File::open(machine::DEVICE) {
        bail!("a user opened the device for writing: {device:?}");
    }
    let reading = open(machine::DEVICE)?;
    fails(reading.fsctl(START, &[], 0), status::ACCESS_DENIED)?;
    fails(reading.ioctl(machine::STOP, &[], 0), status::ACCESS_DENIED)?;
    let hello = path(diod.port(), tree.path(), r"\hello.txt");
    ensure!(open(&hello)?.read_at(0, 100)? == b"hello\n", "another file");
    let writing = HowToOpen {
        access: 0x2,
        ..HowToOpen::default()
    };
    refused(&hello, &writing, status::ACCESS_DENIED)?;
    drop(reading);
    ntsim::se::set_user_admin(true);
    refused(&hello, &writing, status::MEDIA_WRITE_PROTECTED)?;
    redirector.end()
}

/// Values that help, values that are of no use, and a provider that is not there.
fn parameters(profile: &str) -> Result<()> {
    let tree = crate::servers::tree()?;
    let diod = suites::diod::Diod::start(tree.path())?;
    // Read by the load: names are offered to MUP.
    set_parameter(SERVICE, "ProvideUnc", Value::Number(1));
    let redirector = Redirector::load(profile)?;
    set_parameter(SERVICE, "Transport", Value::Text(r"\Device\Nothing".into()));
    fails(redirector.start(), status::OBJECT_NAME_NOT_FOUND)?;
    fails(redirector.stop(), status::REDIRECTOR_NOT_STARTED)?;
    for (transport, seconds) in [
        (Value::Text(r"\Device\Tcp".into()), Value::Number(0)),
        (Value::Number(7), Value::Text("soon".into())),
        (Value::Text("x".repeat(400)), Value::Number(u32::MAX)),
    ] {
        set_parameter(SERVICE, "Transport", transport);
        set_parameter(SERVICE, "ExchangeSeconds", seconds);
        redirector.start().context("start")?;
        let device = path(diod.port(), tree.path(), r"\hello.txt");
        let unc = device
            .strip_prefix(machine::DEVICE)
            .map(|rest| format!(r"\{rest}"))
            .context("another device")?;
        for name in [device, unc] {
            let file = open(&name)?;
            ensure!(file.read_at(0, 100)? == b"hello\n", "another file: {name}");
        }
        redirector.stop().context("stop")?;
    }
    redirector.unload()
}
