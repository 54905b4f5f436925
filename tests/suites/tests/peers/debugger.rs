//! The debugger's script, `debugger/rxce.js`, on the memory of a machine in which circuits live.
//!
//! The script is run as it is, by a JavaScript engine, with a debugger made of the few calls that it uses: memory is read through
//! `/proc/self/mem`, so an address that is not there is an error, as in a debugger.

use std::{fs::File, net::TcpListener, os::unix::fs::FileExt as _, path::Path, thread};

use anyhow::{Context as _, Result, anyhow, ensure};
use exchange_ioctl::Kind;
use rquickjs::{CatchResultExt as _, Context, Exception, Function, Object, Runtime};
use serde_json::{Value, json};

use super::client::{Client, TAKE_ALL};
use super::servers::{Server, Which};
use super::{Scenario, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario(
    "a_debugger_that_walks_what_is_built",
    Which::Nobody,
    walks,
)];

/// What WinDbg gives to scripts, as far as this one uses it; 64-bit values are objects there, too.
const HOST: &str = r#"
    class Int64 {
        constructor(value) { this.value = BigInt.asUintN(64, BigInt(value)); }
        static of(value) { return value instanceof Int64 ? value.value : BigInt(value); }
        add(other) { return new Int64(this.value + Int64.of(other)); }
        subtract(other) { return new Int64(this.value - Int64.of(other)); }
        bitwiseAnd(other) { return new Int64(this.value & BigInt.asUintN(64, Int64.of(other))); }
        compareTo(other) { const [a, b] = [this.value, Int64.of(other)]; return a < b ? -1 : a > b ? 1 : 0; }
        asNumber() {
            if (this.value > BigInt(Number.MAX_SAFE_INTEGER)) { throw new Error("no number: " + this.value); }
            return Number(this.value);
        }
        toString(base) { return this.value.toString(base); }
        valueOf() { throw new Error("a 64-bit value in arithmetic"); }
    }
    const host = {
        memory: {
            readMemoryValues(address, count, size) {
                const values = debuggee.read(Int64.of(address).toString(), count * size);
                const out = [];
                for (let at = 0; at < values.length; at += size) {
                    let value = 0n;
                    for (let byte = size - 1; byte >= 0; byte -= 1) { value = value * 256n + BigInt(values[at + byte]); }
                    out.push(size === 8 ? new Int64(value) : Number(value));
                }
                return out;
            },
        },
        getModuleSymbolAddress(module, name) {
            const address = debuggee.symbol(module, name);
            return address === undefined ? null : new Int64(address);
        },
        apiVersionSupport: class { constructor(major, minor) { this.version = [major, minor]; } },
        functionAlias: class { constructor(target, alias) { this.target = target; this.alias = alias; } },
    };
"#;

/// Sessions without traffic, of four blocks each; a table has sixteen shards of sixteen buckets at first.
const SILENT: usize = 80;

/// What `!rxce` shows.
fn shown(entry: Option<usize>) -> Result<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../debugger/rxce.js");
    let script = std::fs::read_to_string(&script).context("debugger/rxce.js")?;
    let memory = File::open("/proc/self/mem").context("this process's memory")?;
    let context = Context::full(&Runtime::new()?)?;
    let text = context.with(|js| -> Result<String> {
        let debuggee = Object::new(js.clone())?;
        let read = Function::new(
            js.clone(),
            move |js: rquickjs::Ctx<'_>, address: String, bytes: usize| {
                let mut content = vec![0; bytes];
                let address = address.parse().unwrap_or(0);
                match memory.read_exact_at(&mut content, address) {
                    Ok(()) => Ok(content),
                    Err(_) => Err(Exception::throw_message(
                        &js,
                        &format!("cannot read {address:#x}"),
                    )),
                }
            },
        )?;
        let symbol = Function::new(js.clone(), move |module: String, name: String| {
            let wanted = module == "rxce" && name == "DriverEntry";
            entry.filter(|_| wanted).map(|address| address.to_string())
        })?;
        debuggee.set("read", read)?;
        debuggee.set("symbol", symbol)?;
        js.globals().set("debuggee", debuggee)?;
        // A `const` of one script is seen by the next.
        let run = |source: &str| {
            js.eval::<(), _>(source)
                .catch(&js)
                .map_err(|error| anyhow!("{error}"))
        };
        run(HOST)?;
        run(&script)?;
        js.eval::<String, _>(
            "JSON.stringify(initializeScript().find(part => part.alias === 'rxce').target())",
        )
        .catch(&js)
        .map_err(|error| anyhow!("{error}"))
    })?;
    Ok(serde_json::from_str(&text)?)
}

/// Three sessions of different traffic, and what the script makes of them; a debugger without the driver gets a message.
fn walks(_: &Server) -> Result<()> {
    let refused = shown(None).err().map(|error| error.to_string());
    ensure!(
        refused
            .as_deref()
            .is_some_and(|text| text.contains("rxce.sys is not loaded")),
        "without the driver: {refused:?}"
    );
    let entry = ntsim::image::by_name("rxce.sys").and_then(|image| image.export("DriverEntry"));
    ensure!(shown(entry)? == json!([]), "something is built already");

    let port = echo()?;
    let mut clients = Vec::new();
    for times in 1..=3_u32 {
        let client = Client::connected(port, 1 << 16, TAKE_ALL)?;
        for time in 1..=times {
            client.say(b"hello")?;
            client.wait(Kind::Received, 5 * time)?;
        }
        clients.push(client);
    }
    // Enough that the registry's tables have grown beyond their first segment.
    for _ in 0..SILENT {
        clients.push(Client::connected(port, 1, TAKE_ALL)?);
    }
    let mut seen = Vec::new();
    let transports = shown(entry)?;
    for transport in transports.as_array().context("no list")? {
        ensure!(transport["name"] == r"\Device\Tcp", "{transport}");
        let [address] = children(transport, "addresses")? else {
            return Err(anyhow!("not one address: {transport}"));
        };
        let [connection] = children(address, "connections")? else {
            return Err(anyhow!("not one connection: {transport}"));
        };
        let [circuit] = children(connection, "circuits")? else {
            return Err(anyhow!("not one circuit: {transport}"));
        };
        ensure!(
            circuit["state"] == "ACTIVE" && circuit["usable"] == true,
            "{circuit}"
        );
        let counters = &circuit["counters"];
        // Circuits count for their transport as they go, and for the others when they end.
        ensure!(&transport["counters"] == counters, "{transport}");
        let counter = |name: &str| counters[name].as_u64().unwrap_or(u64::MAX);
        ensure!(
            counter("bytesReceived") == counter("bytesSent"),
            "{circuit}"
        );
        seen.push((counter("sends"), counter("bytesSent")));
    }
    seen.sort_unstable();
    let silent = vec![(0, 0); SILENT];
    ensure!(
        seen == [silent, vec![(1, 5), (2, 10), (3, 15)]].concat(),
        "{transports}"
    );
    drop(clients);
    ensure!(shown(entry)? == json!([]), "something is left");
    Ok(())
}

/// A server that returns what it gets; its port.
fn echo() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    Ok(port)
}

fn children<'a>(of: &'a Value, what: &str) -> Result<&'a [Value]> {
    Ok(of[what]
        .as_array()
        .with_context(|| format!("no {what}: {of}"))?)
}
