//! A small 9P server that is right in everything but one step.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use p9::{Attr, Kind, Reply, Statfs};
use socket2::SockRef;

use crate::servers::{linger, request};

/// What the one file holds, and what it is called.
pub(crate) const FILE: &str = "file";
pub(crate) const CONTENTS: &[u8] = b"hello\n";

/// What happens instead of the right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// No answer.
    Silence,
    /// The first bytes of the answer, and no more.
    HalfThenSilence,
    /// The connection is closed.
    HangUp,
    /// The first bytes of the answer, and the connection is closed.
    HalfThenHangUp,
    /// The connection is reset.
    Reset,
    /// Another protocol's answer.
    OtherProtocol,
    /// A message that is shorter than its own header.
    SizeTooSmall,
    /// A message of four gigabytes.
    SizeTooLarge,
    /// The right answer to a request that nobody made.
    OtherTag,
    /// An answer to another kind of request.
    OtherKind,
    /// The request itself.
    Echo,
    /// The right header, and nothing behind it (something behind it where nothing belongs there).
    NoBody,
    /// The right answer, and a byte too many in it.
    ByteTooMany,
    /// A refusal, with this error number.
    Refusal(u32),
    /// This body behind the right header.
    Body(&'static [u8]),
}

/// How many requests have got no answer.
static SILENCES: AtomicUsize = AtomicUsize::new(0);

/// How many requests servers of this process have not answered, on purpose.
pub(crate) fn silences() -> usize {
    SILENCES.load(Ordering::SeqCst)
}

/// The fids that a server has, and which of them are the directory.
#[derive(Default)]
pub(crate) struct Fids {
    live: BTreeSet<u32>,
    connections: usize,
    directories: BTreeSet<u32>,
}

/// Answers as a server does, but for the requests of one kind if one is named, on each connection to a port of the loopback address.
pub(crate) fn serve(step: Option<Kind>, trick: Trick) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // A client that goes away ends it.
                let _ = converse(&mut stream, &Mutex::default(), step, trick);
            });
        }
    });
    Ok(port)
}

/// Says nothing to the requests of one kind on the first connection; on every other, answers as a server does.
pub(crate) fn serve_after_silence(step: Kind) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for (nth, mut stream) in listener.incoming().flatten().enumerate() {
            thread::spawn(move || {
                let step = (nth == 0).then_some(step);
                // A client that goes away ends it.
                let _ = converse(&mut stream, &Mutex::default(), step, Trick::Silence);
            });
        }
    });
    Ok(port)
}

/// Answers as a server does, one connection after the other, and tells of it.
pub(crate) fn serve_telling() -> Result<(u16, Arc<Mutex<Fids>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let fids = Arc::new(Mutex::new(Fids::default()));
    let told = Arc::clone(&fids);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            *locked(&told) = Fids {
                connections: 1,
                ..Fids::default()
            };
            // A client that goes away ends it.
            let _ = converse(&mut stream, &told, None, Trick::Silence);
            locked(&told).connections = 0;
        }
    });
    Ok((port, fids))
}

/// How many fids a server has; those of a connection that has ended without giving them back count.
pub(crate) fn live(fids: &Mutex<Fids>) -> usize {
    locked(fids).live.len()
}

/// How many connections a server has.
pub(crate) fn connections(fids: &Mutex<Fids>) -> usize {
    locked(fids).connections
}

fn locked(fids: &Mutex<Fids>) -> MutexGuard<'_, Fids> {
    fids.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse(
    stream: &mut TcpStream,
    fids: &Mutex<Fids>,
    step: Option<Kind>,
    trick: Trick,
) -> Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let (kind, tag, message) = request(stream)?;
        let body = locked(fids).answer(kind, message.get(7..).unwrap_or_default())?;
        let right = encode(kind + 1, tag, &body);
        if step.is_some_and(|step| step as u8 == kind) {
            play(stream, trick, &message, &right)?;
        } else {
            stream.write_all(&right)?;
        }
    }
}

/// A message.
fn encode(kind: u8, tag: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 7).unwrap_or(u32::MAX);
    let [low, high] = tag.to_le_bytes();
    [&size.to_le_bytes(), &[kind, low, high][..], body].concat()
}

/// Does something else than answering.
fn play(stream: &mut TcpStream, trick: Trick, asked: &[u8], right: &[u8]) -> Result<()> {
    let (kind, tag) = (right[4], u16::from_le_bytes([right[5], right[6]]));
    let half = &right[..right.len() / 2];
    match trick {
        Trick::Silence => {
            SILENCES.fetch_add(1, Ordering::SeqCst);
            linger(stream)?;
        }
        Trick::HalfThenSilence => {
            stream.write_all(half)?;
            linger(stream)?;
        }
        Trick::HangUp => stream.shutdown(Shutdown::Both)?,
        Trick::HalfThenHangUp => {
            stream.write_all(half)?;
            stream.shutdown(Shutdown::Both)?;
        }
        Trick::Reset => {
            SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            // It is closed where this ends.
            bail!("reset");
        }
        Trick::OtherProtocol => stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?,
        Trick::SizeTooSmall => stream.write_all(&[3, 0, 0, 0, kind, right[5], right[6]])?,
        Trick::SizeTooLarge => stream.write_all(&[255, 255, 255, 255, kind, right[5], right[6]])?,
        Trick::OtherTag => stream.write_all(&encode(kind, tag ^ 1, &right[7..]))?,
        Trick::OtherKind => {
            let other = if kind == Kind::Rclunk as u8 {
                Kind::Rstatfs
            } else {
                Kind::Rclunk
            };
            stream.write_all(&encode(other as u8, tag, &[]))?;
        }
        Trick::Echo => stream.write_all(asked)?,
        Trick::NoBody if right.len() == 7 => stream.write_all(&encode(kind, tag, b"?"))?,
        Trick::NoBody => stream.write_all(&encode(kind, tag, &[]))?,
        Trick::ByteTooMany => {
            stream.write_all(&encode(kind, tag, &[&right[7..], b"?"].concat()))?
        }
        Trick::Refusal(errno) => {
            stream.write_all(&encode(Kind::Rlerror as u8, tag, &errno.to_le_bytes()))?;
        }
        Trick::Body(body) => stream.write_all(&encode(kind, tag, body))?,
    }
    Ok(())
}

fn word(body: &[u8], at: usize) -> Result<u32> {
    let bytes = body.get(at..).and_then(<[u8]>::first_chunk);
    Ok(u32::from_le_bytes(*bytes.context("a request is cut")?))
}

/// A qid: of the directory, or of the file.
fn qid(is_directory: bool) -> [u8; 13] {
    let mut qid = [0; 13];
    qid[0] = if is_directory { 0x80 } else { 0 };
    qid[5] = if is_directory { 1 } else { 2 };
    qid
}

impl Fids {
    /// The body of the right answer.
    fn answer(&mut self, kind: u8, body: &[u8]) -> Result<Vec<u8>> {
        Ok(match kind {
            _ if kind == Kind::Tversion as u8 => {
                let mut version = 8192_u32.to_le_bytes().to_vec();
                version.extend(u16::try_from(p9::VERSION.len())?.to_le_bytes());
                version.extend(p9::VERSION);
                version
            }
            _ if kind == Kind::Tattach as u8 => {
                let fid = word(body, 0)?;
                self.live.insert(fid);
                self.directories.insert(fid);
                qid(true).into()
            }
            _ if kind == Kind::Twalk as u8 => {
                let (new, names) = (word(body, 4)?, body.get(8).copied().unwrap_or(0));
                self.live.insert(new);
                if names == 0 {
                    self.directories.insert(new);
                } else {
                    self.directories.remove(&new);
                }
                let mut walked = vec![names, 0];
                walked.extend((0..names).flat_map(|_| qid(false)));
                walked
            }
            _ if kind == Kind::Tlopen as u8 => {
                let is_directory = self.directories.contains(&word(body, 0)?);
                [&qid(is_directory)[..], &[0; 4]].concat()
            }
            _ if kind == Kind::Tread as u8 => {
                let offset = usize::try_from(word(body, 4)?)?.min(CONTENTS.len());
                let data = &CONTENTS[offset..];
                [&u32::try_from(data.len())?.to_le_bytes(), data].concat()
            }
            _ if kind == Kind::Treaddir as u8 => {
                let mut entries = Vec::new();
                if word(body, 4)? == 0 {
                    entries.extend(entry(FILE.as_bytes(), 1));
                }
                [&u32::try_from(entries.len())?.to_le_bytes(), &entries[..]].concat()
            }
            _ if kind == Kind::Tgetattr as u8 => {
                let mode = if self.directories.contains(&word(body, 0)?) {
                    0o040_755
                } else {
                    0o100_644
                };
                let attr = Attr {
                    valid: 0x7ff,
                    mode,
                    size: CONTENTS.len() as u64,
                    ..Attr::default()
                };
                body_of(&Reply::Getattr { attr })?
            }
            _ if kind == Kind::Tstatfs as u8 => body_of(&Reply::Statfs {
                statfs: Statfs {
                    block_size: 4096,
                    blocks: 10,
                    name_length: 255,
                    ..Statfs::default()
                },
            })?,
            _ => {
                if kind == Kind::Tclunk as u8 {
                    self.live.remove(&word(body, 0)?);
                }
                Vec::new()
            }
        })
    }
}

/// An entry of a directory.
pub(crate) fn entry(name: &[u8], cookie: u64) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    [
        &qid(false)[..],
        &cookie.to_le_bytes(),
        &[8],
        &length.to_le_bytes(),
        name,
    ]
    .concat()
}

fn body_of(reply: &Reply<'_>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 512];
    let message = reply
        .encode(0, &mut buffer)
        .ok()
        .context("a reply of the test is too long")?;
    Ok(message.get(7..).unwrap_or_default().to_vec())
}
