//! The host's side of the loopback figures: servers, and the same work on plain sockets.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use bench_ioctl::LAST;
use rustix::{
    net::sockopt,
    thread::{CpuSet, sched_setaffinity},
};

/// What a server does with what it gets.
#[derive(Clone, Copy)]
pub(super) enum Manner {
    /// Nothing, but it sends the byte back that ends a stream.
    Swallow,
    /// It sends everything back.
    Echo,
}

/// Bytes that a server's connections have room for, unless the host's limit is lower.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Starts a server that ends with the process, on these processors if they matter; its port.
///
/// # Errors
///
/// The host's.
pub(super) fn serve(manner: Manner, processors: Option<CpuSet>) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // Inherited by what it accepts. The host would choose a size for each connection, by how fast its bytes are read.
    sockopt::set_socket_recv_buffer_size(&listener, RECEIVE_BUFFER)?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        if let Some(processors) = processors {
            // Its connections' threads follow it. Where it has to stay, it shares the machine's processor.
            let _ = sched_setaffinity(None, &processors);
        }
        for stream in listener.incoming().flatten() {
            // A peer that is gone is no concern of the server's.
            thread::spawn(move || attend(stream, manner).ok());
        }
    });
    Ok(port)
}

fn attend(mut stream: TcpStream, manner: Manner) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..length).unwrap_or_default();
        match manner {
            Manner::Swallow if bytes.last() == Some(&LAST) => stream.write_all(&[LAST])?,
            Manner::Swallow => {}
            Manner::Echo => stream.write_all(bytes)?,
        }
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens so many connections for [`stream`].
///
/// # Errors
///
/// The host's.
pub(super) fn open(port: u16, circuits: u32) -> io::Result<Vec<TcpStream>> {
    (0..circuits).map(|_| connect(port)).collect()
}

/// Sends in turn on the connections; the time until the servers have read everything and said so.
///
/// # Errors
///
/// The host's.
pub(super) fn stream(streams: &mut [TcpStream], bytes: u32, sends: u32) -> io::Result<Duration> {
    let message = vec![0; bytes as usize];
    let began = Instant::now();
    let mut left = sends;
    while left > 0 {
        for stream in streams.iter_mut().take(left as usize) {
            stream.write_all(&message)?;
            left -= 1;
        }
    }
    for stream in &mut *streams {
        stream.write_all(&[LAST])?;
    }
    for stream in streams {
        stream.read_exact(&mut [0])?;
    }
    Ok(began.elapsed())
}

/// Times of requests of `bytes` bytes with as long an answer, in nanoseconds.
///
/// # Errors
///
/// The host's.
pub(super) fn echoes(port: u16, bytes: u32, count: u32) -> io::Result<Vec<f64>> {
    let mut stream = connect(port)?;
    let mut message = vec![0; bytes as usize];
    let mut times = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let began = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        times.push(began.elapsed().as_nanos() as f64);
    }
    Ok(times)
}

/// The time of a connect, an orderly end and the wait for the peer's end, in nanoseconds.
///
/// # Errors
///
/// The host's.
pub(super) fn cycle(port: u16) -> io::Result<f64> {
    let began = Instant::now();
    let mut stream = connect(port)?;
    stream.shutdown(Shutdown::Write)?;
    let mut rest = [0];
    while stream.read(&mut rest)? != 0 {}
    drop(stream);
    Ok(began.elapsed().as_nanos() as f64)
}
