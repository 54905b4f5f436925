//! The servers: started on free loopback ports, in a folder of their own, killed at the end.

use std::{
    fs,
    io::Read as _,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions};
use tempfile::TempDir;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Length of the file that [`Which::Webfs`] serves as `/big.bin`.
pub(crate) const BIG: usize = 4_000_003;
/// The file that it serves as `/small.txt`.
pub(crate) const SMALL: &[u8] = b"Half of this sentence was read, and half of it was not.\n";

/// The servers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// inetd's built-in services: `daytime`, `chargen` and `echo`, over TCP and UDP.
    Xinetd,
    /// A cache, which resets a connection that talks nonsense; over TCP and UDP.
    Memcached,
    /// A file server for HTTP, which closes after each answer.
    Webfs,
    /// None: the port is free.
    Nobody,
}

/// A running server.
pub(crate) struct Server {
    child: Option<Child>,
    /// Its port for TCP and UDP; of xinetd, that of `daytime`.
    pub(crate) port: u16,
    /// xinetd's `chargen`.
    pub(crate) chargen: u16,
    /// xinetd's `echo`.
    pub(crate) echo: u16,
    _folder: TempDir,
}

/// A port that is free for TCP and UDP, until somebody takes it.
fn free_port() -> Result<u16> {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}

impl Server {
    /// Starts a server and waits until it answers. Should somebody take a port before it does, others are tried.
    pub(crate) fn start(which: Which) -> Result<Self> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let folder = tempfile::tempdir().context("no folder for the server")?;
            let mut server = Self {
                child: None,
                port: free_port()?,
                chargen: free_port()?,
                echo: free_port()?,
                _folder: folder,
            };
            let folder = server._folder.path().to_owned();
            let mut command = match which {
                Which::Xinetd => server.xinetd(&folder)?,
                Which::Memcached => server.memcached()?,
                Which::Webfs => server.webfs(&folder)?,
                Which::Nobody => return Ok(server),
            };
            command
                .current_dir(&folder)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            // SAFETY: Between fork and exec, only a system call.
            unsafe {
                command.pre_exec(|| {
                    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                    Ok(())
                })
            };
            let child = command
                .spawn()
                .with_context(|| format!("cannot start {which:?}"))?;
            server.child = Some(child);
            while server.runs() {
                if server.answers(which) {
                    return Ok(server);
                }
                if Instant::now() > deadline {
                    bail!("{which:?} does not answer");
                }
                thread::sleep(Duration::from_millis(10));
            }
            if Instant::now() > deadline {
                bail!("{which:?} ends at once");
            }
        }
    }

    fn runs(&mut self) -> bool {
        let ended = self.child.as_mut().map(Child::try_wait);
        matches!(ended, Some(Ok(None)))
    }

    fn answers(&self, which: Which) -> bool {
        let hello = |port: u16, hello: &[u8]| {
            let asked = || -> std::io::Result<usize> {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.set_read_timeout(Some(Duration::from_millis(500)))?;
                socket.send_to(hello, ("127.0.0.1", port))?;
                socket.recv(&mut [0; 2000])
            };
            asked().is_ok()
        };
        let says = |port: u16| {
            let stream = TcpStream::connect(("127.0.0.1", port));
            stream.is_ok_and(|mut stream| stream.read(&mut [0; 1]).is_ok_and(|length| length > 0))
        };
        match which {
            Which::Xinetd => {
                says(self.port)
                    && says(self.chargen)
                    && hello(self.chargen, b"?")
                    && hello(self.echo, b"?")
            }
            Which::Memcached => hello(self.port, &[&CACHE_HEADER[..], b"version\r\n"].concat()),
            Which::Webfs => TcpStream::connect(("127.0.0.1", self.port)).is_ok(),
            Which::Nobody => true,
        }
    }

    fn xinetd(&self, folder: &Path) -> Result<Command> {
        let mut text = String::from("defaults\n{\n bind = 127.0.0.1\n cps = 1000 1\n}\n");
        for (name, kind, port) in [
            ("daytime", "stream", self.port),
            ("chargen", "stream", self.chargen),
            ("chargen", "dgram", self.chargen),
            ("echo", "dgram", self.echo),
        ] {
            let (protocol, wait) = if kind == "stream" {
                ("tcp", "no")
            } else {
                ("udp", "yes")
            };
            text += &format!(
                "service {name}\n{{\n type = INTERNAL UNLISTED\n id = {name}-{kind}\n port = {port}\n socket_type = {kind}\n \
                 protocol = {protocol}\n wait = {wait}\n disable = no\n}}\n"
            );
        }
        let configuration = folder.join("xinetd.conf");
        fs::write(&configuration, text)?;
        let mut command = program("xinetd")?;
        command
            .arg("-dontfork")
            .arg("-f")
            .arg(configuration)
            .arg("-pidfile")
            .arg(folder.join("pid"))
            .arg("-filelog")
            .arg(folder.join("log"));
        Ok(command)
    }

    fn memcached(&self) -> Result<Command> {
        let mut command = program("memcached")?;
        let port = self.port.to_string();
        command.args(["-l", "127.0.0.1", "-p", &port, "-U", &port]);
        command.args(["-t", "1", "-m", "64", "-I", "16m"]);
        if rustix::process::getuid().is_root() {
            // It refuses to be root unless it is told to.
            command.args(["-u", "root"]);
        }
        Ok(command)
    }

    fn webfs(&self, folder: &Path) -> Result<Command> {
        let files = folder.join("www");
        fs::create_dir(&files)?;
        fs::write(files.join("big.bin"), noise(BIG))?;
        fs::write(files.join("small.txt"), SMALL)?;
        let mut command = program("webfsd")?;
        command
            .args([
                "-F",
                "-4",
                "-i",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-r",
            ])
            .arg(files);
        Ok(command)
    }

    /// Sends the server a signal; a stop has happened when it returns.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("no server runs")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("no process id")?;
        rustix::process::kill_process(pid, signal)?;
        if signal == Signal::STOP {
            // A signal is only on its way when the call returns.
            rustix::process::waitpid(Some(pid), WaitOptions::UNTRACED)?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have been killed already; either way nothing is left of it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What memcached wants in front of a request over UDP: request 1, packet 0 of 1.
pub(crate) const CACHE_HEADER: [u8; 8] = [0, 1, 0, 0, 0, 1, 0, 0];

/// Bytes without a line end, nowhere like their neighbours, the same in each run.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [byte, ..] = state.to_le_bytes();
        if byte == b'\n' { b'.' } else { byte }
    };
    std::iter::repeat_with(byte).take(length).collect()
}

/// A server's program, as `cargo xtask setup` unpacked it or the host has it.
fn program(name: &str) -> Result<Command> {
    let unpacked = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/peers");
    let found = [unpacked.clone(), PathBuf::from("/")]
        .iter()
        .flat_map(|root| ["usr/sbin", "usr/bin"].map(|folder| root.join(folder).join(name)))
        .find(|program| program.is_file());
    let mut command = Command::new(
        found.with_context(|| format!("{name} is missing: `cargo xtask setup` unpacks it"))?,
    );
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
    let libraries = std::env::join_paths(libraries.map(|folder| unpacked.join(folder)))?;
    command.env("LD_LIBRARY_PATH", libraries);
    Ok(command)
}
