//! The inner process: boots the machine, loads the drivers, holds a session, and closes the account.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use p9::FileKind;
use p9probe_ioctl::{Connect, MAX_READ};
use sha2::{Digest as _, Sha256};

use rxcectl::Probe;
use suites::system::{Device, Machine};

use super::{args::Args, timeline};

const MIB: u64 = 1 << 20;
/// Name of the transport, as p9probe.sys binds it.
const TRANSPORT: &str = r"\Device\Tcp";

/// Runs the machine; the account is closed and printed however the session ended.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let server = resolve(args.server.as_deref().context("--inner needs --server")?)?;
    ntsim::boot(ntsim::Options {
        trace: ntsim::TraceMode::Whole,
        ..ntsim::Options::default()
    });
    ntsim::tcp::install(TRANSPORT);

    let rxce = load(&args.rxce)?;
    let p9probe = load(&args.p9probe)?;
    let outcome = session(args, server);
    let unloaded = [p9probe, rxce].into_iter().try_for_each(unload);

    println!("\nThe life of the circuit:\n");
    timeline::print(args.story);
    if let Some(file) = &args.timeline {
        timeline::draw(file)?;
    }
    let account = ntsim::account();
    println!("\nThe account:\n\n{account}");

    if let Err(error) = &outcome {
        println!();
        eprintln!("demo: {error:#}");
    }
    unloaded?;
    ensure!(
        account.total == ntsim::account::Counts::default(),
        "the drivers left something behind (see the account)"
    );
    println!("\nNothing is left: pool, IRPs, MDLs, references and handles are all zero.");
    Ok(if outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn load(path: &Path) -> Result<ntsim::Driver> {
    let driver = suites::machine::start(path)?;
    println!("loaded: {}", path.file_name().unwrap_or_default().display());
    Ok(driver)
}

fn unload(driver: ntsim::Driver) -> Result<()> {
    driver
        .unload()
        .map_err(|error| anyhow::anyhow!("cannot unload: {error}"))
}

fn resolve(server: &str) -> Result<([u8; 4], u16)> {
    let addresses = server
        .to_socket_addrs()
        .with_context(|| format!("--server {server}: no HOST:PORT that resolves"))?;
    addresses
        .filter_map(|address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => Some((ip.octets(), address.port())),
            IpAddr::V6(_) => None,
        })
        .next()
        .with_context(|| format!("--server {server}: no IPv4 address"))
}

/// Connects, lists, reads, disconnects. Whatever fails, the disconnect is made.
fn session(args: &Args, server: ([u8; 4], u16)) -> Result<()> {
    let probe = Probe::open(&mut Machine::default())?;
    let outcome = use_server(args, server, &probe);
    let statistics = probe.statistics()?;
    let gone = probe.disconnect().context("disconnect");
    if let Ok(gone) = &gone
        && gone.was_connected != 0
    {
        println!(
            "disconnected: initiate {:#010X}, tear-down {:#010X}",
            gone.initiate, gone.tear_down
        );
    }
    println!(
        "circuit: {} synchronous and {} asynchronous sends, {} indications; {} bytes copied from indications, {} bytes \
         written in place by {} receives",
        statistics.sends_synchronous,
        statistics.sends_asynchronous,
        statistics.indications,
        statistics.copied_bytes,
        statistics.in_place_bytes,
        statistics.in_place_receives
    );
    outcome.and(gone.map(|_| ()))
}

fn use_server(args: &Args, (ip, port): ([u8; 4], u16), probe: &Probe<Device>) -> Result<()> {
    let user = std::env::var("USER").unwrap_or_else(|_| "nobody".to_owned());
    let connected = probe
        .connect(&Connect {
            ip,
            port,
            msize: u32::try_from(MIB)? + 24,
            uid: rustix::process::getuid().as_raw(),
            uname: user.as_bytes(),
            aname: args.export.as_bytes(),
        })
        .with_context(|| format!("cannot connect to {}:{port}", std::net::Ipv4Addr::from(ip)))?;
    println!(
        "connected: 9P2000.L, messages of up to {} bytes",
        connected.msize
    );

    let path = args.path.as_str();
    let stat = probe
        .stat(path)
        .with_context(|| format!("cannot find {path}"))?;
    let folder = if stat.kind() == FileKind::Directory {
        path
    } else {
        parent(path)
    };
    let entries = probe
        .list(folder)
        .with_context(|| format!("cannot list {folder}"))?;
    println!("\n{folder}");
    for (name, stat) in &entries {
        println!("  {} {:>12}  {name}", rxcectl::mode(stat), stat.size);
    }
    println!();
    let file = if stat.kind() == FileKind::Directory {
        let largest = entries
            .iter()
            .filter(|(_, stat)| stat.kind() == FileKind::File)
            .max_by_key(|(_, stat)| stat.size);
        match largest {
            Some((name, _)) => format!("{}/{name}", folder.trim_end_matches('/')),
            None => {
                println!("no file to read here");
                return Ok(());
            }
        }
    } else {
        path.to_owned()
    };
    let (size, hash) = read(args, probe, &file).with_context(|| format!("cannot read {file}"))?;
    println!("read: {file}, {size} bytes, SHA-256 {hash}");
    if let Some(folder) = &args.machine.folder {
        let original = hash_of(&folder.join(file.trim_start_matches('/')))?;
        ensure!(
            hash == original,
            "{file} differs from the original, whose SHA-256 is {original}"
        );
        println!("the original has the same SHA-256");
    }
    Ok(())
}

/// Reads a file through the circuit and returns its length and SHA-256.
fn read(args: &Args, probe: &Probe<Device>, path: &str) -> Result<(u64, String)> {
    let opened = probe.open_file(path)?;
    let bar = ProgressBar::new(opened.stat.size).with_style(ProgressStyle::with_template(
        "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    )?);
    let mut kill_at = args.kill_server_after_mib.map(|mib| mib * MIB);
    let started = Instant::now();
    let mut hash = Sha256::new();
    let mut offset = 0;
    loop {
        if kill_at.is_some_and(|at| offset >= at) {
            kill_at = None;
            kill_server(args)?;
        }
        let data = probe.read(opened.file, offset, opened.max_read.min(MAX_READ));
        let data = data.with_context(|| format!("at byte {offset} of {}", opened.stat.size))?;
        if data.is_empty() {
            break;
        }
        hash.update(&data);
        offset += data.len() as u64;
        bar.set_position(offset);
    }
    bar.finish_and_clear();
    probe.close_file(opened.file)?;
    ensure!(
        offset == opened.stat.size || args.machine.folder.is_none(),
        "{offset} bytes were read, but the file has {}",
        opened.stat.size
    );
    let seconds = started
        .elapsed()
        .max(Duration::from_millis(1))
        .as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a speed for the reader")]
    let speed = offset as f64 / MIB as f64 / seconds;
    println!("{offset} bytes in {seconds:.2} s, {speed:.0} MiB/s");
    Ok((offset, hex(&hash.finalize())))
}

fn kill_server(args: &Args) -> Result<()> {
    let pid = args
        .machine
        .server_pid
        .and_then(rustix::process::Pid::from_raw)
        .context("no server of ours to kill")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        .context("cannot kill the server")?;
    println!("the server was killed");
    Ok(())
}

fn hash_of(path: &Path) -> Result<String> {
    let hash = || -> std::io::Result<String> {
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut hash = Sha256::new();
        loop {
            let bytes = reader.fill_buf()?;
            if bytes.is_empty() {
                return Ok(hex(&hash.finalize()));
            }
            hash.update(bytes);
            let used = bytes.len();
            reader.consume(used);
        }
    };
    hash().with_context(|| format!("cannot read {}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}
