//! What becomes of a request whose server goes wrong, at each step of the protocol and in each way: the documented status,
//! within the time, and nothing left. All at once on one redirector, each with a server of its own.

use std::{
    collections::VecDeque,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ntsim::{DirectoryFlags, File, HowToOpen, NtStatus, io::status};
use p9::Kind;

use crate::{
    Scenario,
    machine::{Redirector, named},
    scripted::{self, CONTENTS, FILE, Trick},
};

pub(crate) const ALL: &[Scenario] = &[("a_server_may_go_wrong_at_each_step", each_step)];

/// How long an answer may take in this machine: far more than a server that answers needs on a busy host. And how long a whole use
/// of a server that keeps silent.
const EXCHANGE_SECONDS: u32 = 4;
const LIMIT: Duration = Duration::from_secs(60);
/// Rows that are tried at the same time.
const THREADS: usize = 12;

/// What a row may end with.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// As if nothing had happened.
    Fine,
    /// One of these.
    Fails(&'static [i32]),
}

/// STATUS_INVALID_NETWORK_RESPONSE.
const INVALID: Outcome = Outcome::Fails(&[0xC000_00C3_u32.cast_signed()]);
/// STATUS_IO_DEVICE_ERROR, STATUS_UNEXPECTED_NETWORK_ERROR.
const IO_DEVICE_ERROR: i32 = 0xC000_0185_u32.cast_signed();
const UNEXPECTED_NETWORK_ERROR: i32 = 0xC000_00C4_u32.cast_signed();
const TIMEOUT: Outcome = Outcome::Fails(&[status::IO_TIMEOUT]);
/// STATUS_CONNECTION_DISCONNECTED, STATUS_CONNECTION_RESET: which of them, is the peer's system's matter.
const GONE: Outcome =
    Outcome::Fails(&[0xC000_020C_u32.cast_signed(), 0xC000_020D_u32.cast_signed()]);
const fn fails(status: &'static [i32; 1]) -> Outcome {
    Outcome::Fails(status)
}

/// The ways that every step has.
const EVERYWHERE: &[(Trick, Outcome)] = &[
    (Trick::Silence, TIMEOUT),
    (Trick::HalfThenSilence, TIMEOUT),
    (Trick::HangUp, GONE),
    (Trick::HalfThenHangUp, GONE),
    (Trick::Reset, GONE),
    (Trick::OtherProtocol, INVALID),
    (Trick::SizeTooSmall, INVALID),
    (Trick::SizeTooLarge, INVALID),
    (Trick::OtherTag, INVALID),
    (Trick::OtherKind, INVALID),
    (Trick::Echo, INVALID),
    (Trick::NoBody, INVALID),
    (Trick::ByteTooMany, INVALID),
];

const STEPS: &[Kind] = &[
    Kind::Tversion,
    Kind::Tattach,
    Kind::Twalk,
    Kind::Tgetattr,
    Kind::Tlopen,
    Kind::Tread,
    Kind::Tstatfs,
    Kind::Treaddir,
    Kind::Tclunk,
];

const ENOENT: u32 = 2;
const EIO: u32 = 5;
const EACCES: u32 = 13;
const ENOTDIR: u32 = 20;

/// The ways that one step has.
const SOMEWHERE: &[(Kind, Trick, Outcome)] = &[
    // A version that is not ours; the smallest and the largest size of a message.
    (
        Kind::Tversion,
        Trick::Body(b"\0\x20\0\0\x06\09P2000"),
        INVALID,
    ),
    (
        Kind::Tversion,
        Trick::Body(b"\0\0\0\0\x08\09P2000.L"),
        INVALID,
    ),
    (
        Kind::Tversion,
        Trick::Body(b"\xFF\xFF\xFF\xFF\x08\09P2000.L"),
        INVALID,
    ),
    (
        Kind::Tversion,
        Trick::Refusal(EIO),
        fails(&[IO_DEVICE_ERROR]),
    ),
    (
        Kind::Tattach,
        Trick::Refusal(ENOENT),
        fails(&[status::BAD_NETWORK_NAME]),
    ),
    (
        Kind::Tattach,
        Trick::Refusal(EACCES),
        fails(&[status::ACCESS_DENIED]),
    ),
    // The root of a tree is a directory.
    (Kind::Tattach, Trick::Body(&[0; 13]), INVALID),
    (
        Kind::Twalk,
        Trick::Refusal(ENOENT),
        fails(&[status::OBJECT_NAME_NOT_FOUND]),
    ),
    (
        Kind::Twalk,
        Trick::Refusal(ENOTDIR),
        fails(&[status::OBJECT_NAME_NOT_FOUND]),
    ),
    (
        Kind::Twalk,
        Trick::Refusal(EACCES),
        fails(&[status::ACCESS_DENIED]),
    ),
    // Two steps for one name, more of them than any walk has, and none.
    (
        Kind::Twalk,
        Trick::Body(b"\x02\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0"),
        INVALID,
    ),
    (Kind::Twalk, Trick::Body(b"\xFF\xFF"), INVALID),
    (
        Kind::Twalk,
        Trick::Body(b"\0\0"),
        fails(&[status::OBJECT_NAME_NOT_FOUND]),
    ),
    (
        Kind::Tgetattr,
        Trick::Refusal(EACCES),
        fails(&[status::ACCESS_DENIED]),
    ),
    (
        Kind::Tlopen,
        Trick::Refusal(EACCES),
        fails(&[status::ACCESS_DENIED]),
    ),
    // An error number that no system has.
    (
        Kind::Tlopen,
        Trick::Refusal(0),
        fails(&[UNEXPECTED_NETWORK_ERROR]),
    ),
    (
        Kind::Tlopen,
        Trick::Refusal(u32::MAX),
        fails(&[UNEXPECTED_NETWORK_ERROR]),
    ),
    (Kind::Tread, Trick::Refusal(EIO), fails(&[IO_DEVICE_ERROR])),
    // A count that is not that of the bytes, and more bytes than were asked for.
    (Kind::Tread, Trick::Body(b"\xFF\0\0\0hello"), INVALID),
    (
        Kind::Tread,
        Trick::Body(b"\x14\0\0\0twenty bytes of data"),
        INVALID,
    ),
    (
        Kind::Tstatfs,
        Trick::Refusal(EACCES),
        fails(&[status::ACCESS_DENIED]),
    ),
    (
        Kind::Treaddir,
        Trick::Refusal(EACCES),
        fails(&[status::ACCESS_DENIED]),
    ),
    // Half of an entry; an entry whose name ends outside.
    (
        Kind::Treaddir,
        Trick::Body(b"\x05\0\0\0\0\0\0\0\0"),
        INVALID,
    ),
    (
        Kind::Treaddir,
        Trick::Body(b"\x19\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x08\xFF\0a"),
        INVALID,
    ),
    // A refused clunk: the fid is free all the same.
    (Kind::Tclunk, Trick::Refusal(EIO), Outcome::Fine),
];

/// Uses a server so far that it is asked for this.
fn reach(step: Kind, server: &str) -> Result<(), NtStatus> {
    let how = HowToOpen::default();
    let file = || File::create(&named(server, "tree", &format!(r"\{FILE}")), &how);
    match step {
        Kind::Tread => {
            let file = file()?;
            file.read_at(0, 10).map(drop)
        }
        Kind::Tstatfs => {
            let file = file()?;
            file.query_volume(3, 24).map(drop)
        }
        Kind::Treaddir => {
            let root = File::create(&named(server, "tree", ""), &how)?;
            root.query_directory(12, Some("f*"), DirectoryFlags::RESTART, 4096)
                .map(drop)
        }
        _ => file().map(drop),
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
struct Row {
    step: Kind,
    trick: Trick,
    outcome: Outcome,
}

impl Row {
    fn check(self) -> Result<()> {
        let server = format!(
            "127.0.0.1@{}",
            scripted::serve(Some(self.step), self.trick)?
        );
        let began = Instant::now();
        let result = reach(self.step, &server);
        let took = began.elapsed();
        ensure!(took < LIMIT, "it took {took:?}");
        match (self.outcome, result) {
            (Outcome::Fine, Ok(())) => Ok(()),
            (Outcome::Fine, Err(NtStatus(other))) => bail!("{}", status::name(other)),
            (Outcome::Fails(_), Ok(())) => bail!("it succeeded"),
            (Outcome::Fails(wanted), Err(NtStatus(other))) => {
                ensure!(wanted.contains(&other), "{}", status::name(other));
                Ok(())
            }
        }
    }
}

fn rows() -> Vec<Row> {
    let everywhere = STEPS.iter().flat_map(|step| {
        EVERYWHERE.iter().map(|(trick, outcome)| Row {
            step: *step,
            trick: *trick,
            // Whoever closes a file has nothing to fear from its server.
            outcome: match step {
                Kind::Tclunk => Outcome::Fine,
                _ => *outcome,
            },
        })
    });
    let somewhere = SOMEWHERE.iter().map(|(step, trick, outcome)| Row {
        step: *step,
        trick: *trick,
        outcome: *outcome,
    });
    everywhere.chain(somewhere).collect()
}

fn each_step(profile: &str) -> Result<()> {
    crate::machine::set_exchange_seconds(EXCHANGE_SECONDS);
    let redirector = Redirector::started(profile)?;
    // The server is right where it plays no trick.
    let right = format!("127.0.0.1@{}", scripted::serve(None, Trick::Silence)?);
    for step in STEPS {
        reach(*step, &right).with_context(|| format!("{step:?} of a good server"))?;
    }
    let file = File::create(
        &named(&right, "tree", &format!(r"\{FILE}")),
        &HowToOpen::default(),
    )?;
    ensure!(file.read_at(0, 100)? == CONTENTS, "another file");
    drop(file);

    let waiting = Mutex::new(VecDeque::from(rows()));
    let wrong = Mutex::new(Vec::new());
    let take = || waiting.lock().ok().and_then(|mut rows| rows.pop_front());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(row) = take() {
                    if let (Err(error), Ok(mut wrong)) = (row.check(), wrong.lock()) {
                        wrong.push(format!("{row:?}: {error:#}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_default();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} rows", rows().len());
    redirector.end()
}
