//! Servers that are not there, answer garbage, or fall silent: a status within the time, and nothing left.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
};

use anyhow::{Context as _, Result, bail, ensure};
use ntsim::{File, HowToOpen, NtStatus, io::status};
use p9::{Kind, NOTAG, Reply};
use suites::diod::Diod;

use crate::{
    Scenario,
    machine::{Redirector, named, open, path},
    scripted,
    servers::{begin, linger, reply, request, serve, tree},
};

pub(crate) const ALL: &[Scenario] = &[
    ("nobody_listens", nobody),
    ("a_server_of_another_protocol", other_protocol),
    ("a_server_that_speaks_another_version", other_version),
    ("a_server_that_says_nothing", silent),
    ("a_server_that_falls_silent", falls_silent),
    ("a_session_that_was_late_is_replaced", replaced),
    ("an_answer_that_nobody_asked_for", unsolicited),
    ("a_server_that_hangs_up", hangs_up),
    ("a_server_that_is_killed", killed),
];

/// How long an answer may take in these machines: far more than a server that answers needs on a busy host.
const EXCHANGE_SECONDS: u32 = 4;

/// The status with which an open of a file of this server fails.
fn status_of(port: u16) -> Result<NtStatus> {
    let path = named(&format!("127.0.0.1@{port}"), "tree", r"\file");
    match File::create(&path, &HowToOpen::default()) {
        Ok(_) => bail!("{path} was opened"),
        Err(status) => Ok(status),
    }
}

fn with(profile: &str, answer: fn(&mut TcpStream) -> Result<()>, wanted: &[i32]) -> Result<()> {
    let port = serve(answer)?;
    crate::machine::set_exchange_seconds(EXCHANGE_SECONDS);
    let redirector = Redirector::started(profile)?;
    let NtStatus(status) = status_of(port)?;
    ensure!(wanted.contains(&status), "{}", status::name(status));
    redirector.end()
}

/// STATUS_INVALID_NETWORK_RESPONSE.
const INVALID_RESPONSE: i32 = 0xC000_00C3_u32.cast_signed();
/// STATUS_IO_TIMEOUT.
const TIMEOUT: i32 = 0xC000_00B5_u32.cast_signed();
/// STATUS_CONNECTION_DISCONNECTED, STATUS_CONNECTION_RESET: how a connection ends is the peer's system's matter.
const GONE: &[i32] = &[0xC000_020C_u32.cast_signed(), 0xC000_020D_u32.cast_signed()];

fn nobody(profile: &str) -> Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let redirector = Redirector::started(profile)?;
    let NtStatus(status) = status_of(port)?;
    ensure!(status < 0, "{}", status::name(status));
    redirector.end()
}

fn other_protocol(profile: &str) -> Result<()> {
    let answer = |stream: &mut TcpStream| {
        request(stream)?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        linger(stream)
    };
    with(profile, answer, &[INVALID_RESPONSE])
}

fn other_version(profile: &str) -> Result<()> {
    let answer = |stream: &mut TcpStream| {
        request(stream)?;
        let version = Reply::Version {
            msize: 8192,
            version: b"unknown",
        };
        reply(stream, NOTAG, &version)?;
        linger(stream)
    };
    with(profile, answer, &[INVALID_RESPONSE])
}

fn silent(profile: &str) -> Result<()> {
    with(profile, linger, &[TIMEOUT])
}

fn falls_silent(profile: &str) -> Result<()> {
    let answer = |stream: &mut TcpStream| {
        begin(stream)?;
        // Half of an answer.
        let (_, _, _) = request(stream)?;
        stream.write_all(&[20, 0, 0, 0, 111])?;
        linger(stream)
    };
    with(profile, answer, &[TIMEOUT])
}

/// A late answer makes the session useless: the next open makes another one, which here answers.
fn replaced(profile: &str) -> Result<()> {
    crate::machine::set_exchange_seconds(EXCHANGE_SECONDS);
    let redirector = Redirector::started(profile)?;
    let port = scripted::serve_after_silence(Kind::Tgetattr)?;
    let server = format!("127.0.0.1@{port}");
    let place = named(&server, "tree", &format!(r"\{}", scripted::FILE));
    // The share is attached to, and the file is late.
    let NtStatus(first) = match File::create(&place, &HowToOpen::default()) {
        Ok(_) => bail!("a silent server has files"),
        Err(status) => status,
    };
    ensure!(first == TIMEOUT, "{}", status::name(first));
    let file = open(&place).context("after a late answer")?;
    ensure!(file.read_at(0, 100)? == scripted::CONTENTS, "another file");
    drop(file);
    redirector.end()
}

fn unsolicited(profile: &str) -> Result<()> {
    let answer = |stream: &mut TcpStream| {
        begin(stream)?;
        let (_, tag, _) = request(stream)?;
        reply(stream, tag ^ 1, &Reply::Clunk)?;
        linger(stream)
    };
    with(profile, answer, &[INVALID_RESPONSE])
}

fn hangs_up(profile: &str) -> Result<()> {
    let answer = |stream: &mut TcpStream| {
        begin(stream)?;
        request(stream).map(|_| ())
    };
    with(profile, answer, GONE)
}

fn killed(profile: &str) -> Result<()> {
    let tree = tree()?;
    let first = Diod::start(tree.path())?;
    let redirector = Redirector::started(profile)?;
    let place = path(first.port(), tree.path(), r"\hello.txt");
    let file = open(&place)?;
    ensure!(file.read_at(0, 100)? == b"hello\n", "another file");
    drop(first);
    match file.read_at(0, 100) {
        Ok(_) => bail!("a dead server was read from"),
        Err(NtStatus(status)) => ensure!(GONE.contains(&status), "{}", status::name(status)),
    }
    ensure!(
        File::create(&place, &HowToOpen::default()).is_err(),
        "a dead server has files"
    );
    drop(file);
    redirector.end()
}
