//! The demo from outside: what it says, its exit code, and that nothing is left, also where the server misbehaves.
//!
//! It needs the driver images (`cargo xtask build`) and diod; where one is missing the tests fail and say so.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
};

use libtest_mimic::{Arguments, Failed, Trial};
use p9::{Attr, Header, Kind, NOTAG, Qid, Reply, VERSION};

/// What every run ends with, good or bad.
const ZERO: &str = "Nothing is left: pool, IRPs, MDLs, references and handles are all zero.";

fn main() -> ExitCode {
    let tests: [(&str, Test); 18] = [
        ("reads_a_file_and_compares_it", reads_a_file),
        ("tells_the_life_of_the_circuit", tells_the_life),
        ("draws_the_life_of_the_circuit", draws_the_life),
        ("a_picture_that_cannot_be_written", no_picture),
        ("reads_a_file_in_a_subdirectory", reads_a_small_file),
        ("a_missing_path_is_reported", missing_path),
        ("a_refused_connection_is_reported", refused),
        ("a_server_that_closes_at_once", closes_at_once),
        ("a_server_that_closes_after_the_attach", closes_after_attach),
        ("a_server_that_sends_garbage", garbage),
        ("a_server_that_speaks_http", http),
        ("a_reply_with_a_wrong_tag", wrong_tag),
        ("a_reply_of_four_gigabytes", giant_reply),
        ("a_server_that_speaks_another_version", other_version),
        ("a_server_that_dies_inside_a_read", dies_inside_a_read),
        (
            "a_server_that_returns_more_than_asked_for",
            more_than_asked_for,
        ),
        ("a_server_that_falls_silent", falls_silent),
        ("a_server_killed_half_way", killed),
    ];
    let trials = tests.map(|(name, test)| Trial::test(name, test)).into();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// One test.
type Test = fn() -> Result<(), Failed>;

/// One run of the demo.
struct Run {
    code: Option<i32>,
    output: String,
}

/// The folder with the driver images.
fn images() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::var_os("RXCE_IMAGES")
        .map_or_else(|| root.join("target/drivers/debug/x86_64"), PathBuf::from)
}

fn demo(arguments: &[&str]) -> Result<Run, Failed> {
    // A machine that hangs is a failure (exit code 124), not a test that never ends.
    let output = Command::new("timeout")
        .args(["--kill-after=5", "600", env!("CARGO_BIN_EXE_demo")])
        .arg("--rxce")
        .arg(images().join("rxce.sys"))
        .arg("--p9probe")
        .arg(images().join("p9probe.sys"))
        // The same files in each run.
        .args(["--seed", "7"])
        .args(arguments)
        .output()?;
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    Ok(Run {
        code: output.status.code(),
        output: text,
    })
}

impl Run {
    /// Exit code, then what the output must contain.
    fn expect(&self, code: i32, texts: &[&str]) -> Result<(), Failed> {
        let missing: Vec<_> = texts
            .iter()
            .chain(&[ZERO])
            .filter(|text| !self.output.contains(**text))
            .collect();
        if self.code == Some(code) && missing.is_empty() {
            return Ok(());
        }
        let output = &self.output;
        Err(format!(
            "exit code {:?}, wanted {code}; not in the output: {missing:?}\n{output}",
            self.code
        )
        .into())
    }
}

fn reads_a_file() -> Result<(), Failed> {
    let run = demo(&["--size-mib", "3"])?;
    run.expect(
        0,
        &[
            "big.bin",
            "hello.txt",
            "subdirectory",
            "the original has the same SHA-256",
            "TDI_DISCONNECT",
        ],
    )?;
    // The receives that the transport fills in place are the interesting ones: they must have happened.
    if run.output.contains(" 0 bytes written in place") {
        return Err(format!("no in-place receive\n{}", run.output).into());
    }
    Ok(())
}

/// The story has its chapters in order, each with its main line, and fits a terminal.
fn tells_the_life() -> Result<(), Failed> {
    let run = demo(&["--size-mib", "3"])?;
    let (_, story) = run
        .output
        .split_once("The life of the circuit:\n")
        .ok_or("no story")?;
    let (story, _) = story.split_once("The account:").ok_or("no account")?;
    let milestones = [
        "rxce.sys loaded",
        "DriverEntry of rxce returns STATUS_SUCCESS",
        "\nBuild a transport and an address\n",
        "rxce!RxCeBuildTransport(transport #1)",
        r"open \Device\Tcp, address -> STATUS_SUCCESS",
        "\nBuild a connection and its circuit\n",
        "rxce!RxCeBuildConnection(address #1, connection #1, circuit #1)",
        "\nConnect\n",
        "TDI_CONNECT to 127.0.0.1:",
        "\nFirst send, first answer\n",
        "rxce!RxCeSend(circuit #1, ",
        "TDI_SEND ",
        "RECEIVE event to rxce, ",
        "\nData, straight into the reader's buffer\n",
        "STATUS_MORE_PROCESSING_REQUIRED",
        " × TDI_RECEIVE ",
        "-> all STATUS_SUCCESS",
        "\nDisconnect\n",
        "rxce!RxCeInitiateVCDisconnect(circuit #1)",
        " allocated, 1 stack location",
        r"sent to \Device\Tcp: TDI_DISCONNECT RELEASE",
        "rxce!RxCeTearDownVC(circuit #1)",
        "rxce!RxCeTearDownVC returns STATUS_SUCCESS",
        "rxce!RxCeTearDownConnection(connection #1) -> STATUS_SUCCESS",
        "rxce!RxCeTearDownAddress returns STATUS_SUCCESS",
        "rxce!RxCeTearDownTransport returns STATUS_SUCCESS",
        "\nUnload the drivers\n",
        "rxce.sys unloaded",
    ];
    let mut rest = story;
    for milestone in milestones {
        let at = rest
            .find(milestone)
            .ok_or_else(|| format!("{milestone:?} is not there, or too early\n{story}"))?;
        rest = &rest[at..];
    }
    // These come whenever the transport is ready. (The peer's own end may come too late to be told of.)
    for text in [" completed: TDI_DISCONNECT RELEASE", " freed"] {
        if !story.contains(text) {
            return Err(format!("{text:?} is not there\n{story}").into());
        }
    }
    let lines = story.lines().count();
    let wide = story.lines().find(|line| line.chars().count() > 120);
    if wide.is_some() || lines > 150 || story.contains("0x6000") || story.contains("(unloaded)") {
        return Err(
            format!("{lines} lines, too wide: {wide:?}, or with addresses\n{story}").into(),
        );
    }
    Ok(())
}

/// The page shows both ends of the connect between the driver and the transport.
fn draws_the_life() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("life.html");
    let name = file.display().to_string();
    let run = demo(&["--size-mib", "1", "--timeline", &name])?;
    run.expect(0, &["drawn: "])?;
    let page = std::fs::read_to_string(&file)?;
    for text in [
        "<!DOCTYPE html>",
        "<svg ",
        r"sent to \Device\Tcp: TDI_CONNECT to 127.0.0.1:",
        "completed: TDI_CONNECT",
        "Tear down and close",
    ] {
        if !page.contains(text) {
            return Err(format!("{text:?} is not in the picture\n{page}").into());
        }
    }
    Ok(())
}

/// A name that no picture can have is refused before anything is run.
fn no_picture() -> Result<(), Failed> {
    for (name, says) in [
        ("life.pdf", "must end in .svg or .html"),
        (
            "no/such/folder/life.svg",
            "there is no folder no/such/folder",
        ),
    ] {
        let run = demo(&["--timeline", name])?;
        if run.code != Some(2) || !run.output.contains(says) || run.output.contains("loaded") {
            return Err(format!("{name}: {:?}\n{}", run.code, run.output).into());
        }
    }
    Ok(())
}

fn reads_a_small_file() -> Result<(), Failed> {
    let run = demo(&["--size-mib", "1", "--path", "/subdirectory/inside.txt"])?;
    run.expect(
        0,
        &["inside.txt, 7 bytes", "the original has the same SHA-256"],
    )
}

fn missing_path() -> Result<(), Failed> {
    let run = demo(&["--size-mib", "1", "--path", "/subdirectory/nothing"])?;
    run.expect(
        1,
        &[
            "cannot find /subdirectory/nothing",
            "STATUS_OBJECT_NAME_NOT_FOUND",
        ],
    )
}

fn refused() -> Result<(), Failed> {
    // Bound and dropped: nobody listens there now.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    demo(&["--server", &address])?
        .expect(1, &["cannot connect to", "the server refuses connections"])
}

/// Runs the demo against a server that does this with its one connection.
fn against(
    serve: impl FnOnce(&mut TcpStream) -> std::io::Result<()> + Send + 'static,
) -> Result<Run, Failed> {
    run_against(serve, &[])
}

fn run_against(
    serve: impl FnOnce(&mut TcpStream) -> std::io::Result<()> + Send + 'static,
    arguments: &[&str],
) -> Result<Run, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        drop(listener);
        serve(&mut stream)
    });
    let run = demo(&[&["--server", &address], arguments].concat())?;
    // The client may have left in the middle of what the server said.
    let _ = server.join();
    Ok(run)
}

/// Reads one request.
fn request(stream: &mut TcpStream) -> std::io::Result<Header> {
    message(stream).map(|(header, _)| header)
}

/// Reads one request and what follows its header.
fn message(stream: &mut TcpStream) -> std::io::Result<(Header, Vec<u8>)> {
    let mut header = [0; p9::HEADER_LEN];
    stream.read_exact(&mut header)?;
    let header = Header::decode(&header).map_err(std::io::Error::other)?;
    let mut body = vec![0; header.size as usize - p9::HEADER_LEN];
    stream.read_exact(&mut body)?;
    Ok((header, body))
}

/// Serves a tree in which every name is a file of 1 MiB, up to the first read: returns its tag and count.
fn serve_until_read(stream: &mut TcpStream) -> std::io::Result<(u16, u32)> {
    greet(stream)?;
    let qid = Qid {
        kind: 0,
        version: 0,
        path: 2,
    };
    loop {
        let (header, body) = message(stream)?;
        let tag = header.tag;
        match header.kind {
            Kind::Twalk => {
                // As many qids as there were names (the count follows the two fids).
                let names = body[8];
                let mut reply = vec![0; 4];
                reply.extend([
                    Kind::Rwalk as u8,
                    tag.to_le_bytes()[0],
                    tag.to_le_bytes()[1],
                    names,
                    0,
                ]);
                reply.resize(reply.len() + usize::from(names) * 13, 0);
                let size = u32::try_from(reply.len()).map_err(std::io::Error::other)?;
                reply[..4].copy_from_slice(&size.to_le_bytes());
                stream.write_all(&reply)?;
            }
            Kind::Tgetattr => {
                let attr = Attr {
                    valid: 0x7ff,
                    qid,
                    mode: 0o100_644,
                    size: 1 << 20,
                    ..Attr::default()
                };
                answer(stream, tag, &Reply::Getattr { attr })?;
            }
            Kind::Tlopen => answer(stream, tag, &Reply::Lopen { qid, iounit: 0 })?,
            Kind::Treaddir => answer(
                stream,
                tag,
                &Reply::Readdir {
                    entries: p9::Entries::new(&[]),
                },
            )?,
            Kind::Tclunk => answer(stream, tag, &Reply::Clunk)?,
            Kind::Tread => {
                return Ok((
                    tag,
                    u32::from_le_bytes([body[12], body[13], body[14], body[15]]),
                ));
            }
            other => return Err(std::io::Error::other(format!("unexpected {other:?}"))),
        }
    }
}

/// The bytes in front of the data of an `Rread`.
fn read_header(tag: u16, count: u32) -> Vec<u8> {
    let mut bytes = (count + 11).to_le_bytes().to_vec();
    bytes.push(Kind::Rread as u8);
    bytes.extend(tag.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes
}

/// As [`against`], reading a file.
fn reading(
    serve: impl FnOnce(&mut TcpStream) -> std::io::Result<()> + Send + 'static,
) -> Result<Run, Failed> {
    run_against(serve, &["--path", "/file"])
}

fn answer(stream: &mut TcpStream, tag: u16, reply: &Reply<'_>) -> std::io::Result<()> {
    let mut buffer = [0; 512];
    stream.write_all(
        reply
            .encode(tag, &mut buffer)
            .map_err(std::io::Error::other)?,
    )
}

/// Version and attach as they should be.
fn greet(stream: &mut TcpStream) -> std::io::Result<()> {
    request(stream)?;
    answer(
        stream,
        NOTAG,
        &Reply::Version {
            msize: 65_536,
            version: VERSION,
        },
    )?;
    let attach = request(stream)?;
    answer(
        stream,
        attach.tag,
        &Reply::Attach {
            qid: Qid {
                kind: 0x80,
                version: 0,
                path: 1,
            },
        },
    )
}

/// Keeps the connection until the client closes it.
fn linger(stream: &mut TcpStream) -> std::io::Result<()> {
    std::io::copy(stream, &mut std::io::sink()).map(|_| ())
}

fn closes_at_once() -> Result<(), Failed> {
    let run = against(|_| Ok(()))?;
    run.expect(1, &["cannot connect to", "STATUS_CONNECTION_"])
}

fn closes_after_attach() -> Result<(), Failed> {
    let run = against(|stream| {
        greet(stream)?;
        request(stream).map(|_| ())
    })?;
    run.expect(
        1,
        &["connected: 9P2000.L", "cannot find /", "STATUS_CONNECTION_"],
    )
}

fn garbage() -> Result<(), Failed> {
    let run = against(|stream| {
        request(stream)?;
        let noise: Vec<u8> = (0..100_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        stream.write_all(&noise)?;
        linger(stream)
    })?;
    run.expect(1, &["cannot connect to", "STATUS_INVALID_NETWORK_RESPONSE"])
}

fn http() -> Result<(), Failed> {
    let run = against(|stream| {
        request(stream)?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    })?;
    // What comes first decides: the nonsense or the close.
    run.expect(1, &["cannot connect to", "STATUS_"])
}

fn wrong_tag() -> Result<(), Failed> {
    let run = against(|stream| {
        greet(stream)?;
        let walk = request(stream)?;
        answer(stream, walk.tag.wrapping_add(1), &Reply::Clunk)?;
        linger(stream)
    })?;
    run.expect(1, &["cannot find /", "STATUS_INVALID_NETWORK_RESPONSE"])
}

fn giant_reply() -> Result<(), Failed> {
    let run = against(|stream| {
        greet(stream)?;
        let [low, high] = request(stream)?.tag.to_le_bytes();
        stream.write_all(&[
            0xff,
            0xff,
            0xff,
            0xff,
            Kind::Rwalk as u8,
            low,
            high,
            0,
            0,
            0,
        ])?;
        linger(stream)
    })?;
    run.expect(1, &["cannot find /", "STATUS_INVALID_NETWORK_RESPONSE"])
}

fn other_version() -> Result<(), Failed> {
    let run = against(|stream| {
        request(stream)?;
        answer(
            stream,
            NOTAG,
            &Reply::Version {
                msize: 8192,
                version: b"unknown",
            },
        )?;
        linger(stream)
    })?;
    run.expect(1, &["cannot connect to", "STATUS_INVALID_NETWORK_RESPONSE"])
}

fn dies_inside_a_read() -> Result<(), Failed> {
    let run = reading(|stream| {
        let (tag, count) = serve_until_read(stream)?;
        stream.write_all(&read_header(tag, count))?;
        stream.write_all(&vec![7; count as usize / 2])
    })?;
    // The reason that the transport gave for the receive, or the disconnect indication: whichever p9probe.sys saw first.
    run.expect(
        1,
        &[
            "cannot read /file",
            "at byte 0",
            "the server closed the connection (STATUS_",
        ],
    )
}

fn more_than_asked_for() -> Result<(), Failed> {
    let run = reading(|stream| {
        let (tag, count) = serve_until_read(stream)?;
        stream.write_all(&read_header(tag, count + 1))?;
        stream.write_all(&vec![7; count as usize + 1])?;
        linger(stream)
    })?;
    run.expect(
        1,
        &[
            "cannot read /file",
            "at byte 0",
            "STATUS_INVALID_NETWORK_RESPONSE",
        ],
    )
}

fn falls_silent() -> Result<(), Failed> {
    // In the middle of the data, so that the engine holds a buffer of the client when the time is up.
    let run = reading(|stream| {
        let (tag, count) = serve_until_read(stream)?;
        stream.write_all(&read_header(tag, count))?;
        stream.write_all(&vec![7; count as usize / 2])?;
        linger(stream)
    })?;
    run.expect(1, &["cannot read /file", "at byte 0", "STATUS_IO_TIMEOUT"])
}

fn killed() -> Result<(), Failed> {
    let run = demo(&["--size-mib", "8", "--kill-server-after-mib", "3"])?;
    run.expect(
        1,
        &[
            "the server was killed",
            "cannot read /big.bin",
            "at byte 3",
            "STATUS_CONNECTION_",
        ],
    )
}
