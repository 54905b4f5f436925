//! What the redirector is pointed at: a folder for diod, and servers that are made to be wrong.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result};
use p9::{Kind, NOTAG, Qid, Reply, VERSION};
use tempfile::TempDir;

/// A folder of files with interesting names.
pub(crate) fn tree() -> Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix("rxce-redirector-")
        .tempdir()?;
    let root = folder.path();
    fs::write(root.join("hello.txt"), "hello\n")?;
    fs::write(root.join("empty"), "")?;
    fs::write(root.join("näme with spaces.txt"), "UTF-8\n")?;
    fs::write(root.join("a:b?"), "forbidden\n")?;
    fs::write(root.join("Hello.txt"), "another case\n")?;
    let big: Vec<u8> = (0..300_000_u32)
        .map(|n| n.to_le_bytes()[usize::from(n % 7 == 0)])
        .collect();
    fs::write(root.join("big.bin"), big)?;
    fs::create_dir_all(root.join("one/two/three"))?;
    fs::write(root.join("one/two/three/deep.txt"), "deep\n")?;
    let mut deep = root.join("d");
    for _ in 0..20 {
        deep = deep.join("d");
    }
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("end"), "the end\n")?;
    fs::create_dir(root.join("many"))?;
    for n in 0..300 {
        fs::write(
            root.join(format!("many/file number {n}.txt")),
            format!("{n}"),
        )?;
    }
    std::os::unix::fs::symlink("hello.txt", root.join("link"))?;
    Ok(folder)
}

/// Runs `serve` with each connection to a port of the loopback address, one after the other, until the process ends.
pub(crate) fn serve(serve: fn(&mut TcpStream) -> Result<()>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = stream;
                // A client that goes away ends it.
                let _ = serve(&mut stream);
            });
        }
    });
    Ok(port)
}

/// Reads a request: its type and tag, and the whole message.
pub(crate) fn request(stream: &mut TcpStream) -> Result<(u8, u16, Vec<u8>)> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let length = usize::try_from(u32::from_le_bytes(size))?;
    let mut message = vec![0; length];
    message[..4].copy_from_slice(&size);
    stream.read_exact(&mut message[4..])?;
    Ok((
        message[4],
        u16::from_le_bytes([message[5], message[6]]),
        message,
    ))
}

/// Sends a reply.
pub(crate) fn reply(stream: &mut TcpStream, tag: u16, reply: &Reply<'_>) -> Result<()> {
    let mut buffer = vec![0; 4096];
    let message = reply
        .encode(tag, &mut buffer)
        .ok()
        .context("a reply of the test is too long")?;
    stream.write_all(message)?;
    Ok(())
}

/// Waits until the client goes away.
pub(crate) fn linger(stream: &mut TcpStream) -> Result<()> {
    let mut rest = [0; 4096];
    while stream.read(&mut rest)? != 0 {}
    Ok(())
}

/// Answers version and attach as a server does.
pub(crate) fn begin(stream: &mut TcpStream) -> Result<()> {
    loop {
        let (kind, tag, _) = request(stream)?;
        if kind == Kind::Tversion as u8 {
            let version = Reply::Version {
                msize: 8192,
                version: VERSION,
            };
            reply(stream, NOTAG, &version)?;
        } else {
            let qid = Qid {
                kind: 0x80,
                version: 0,
                path: 1,
            };
            return reply(stream, tag, &Reply::Attach { qid });
        }
    }
}
