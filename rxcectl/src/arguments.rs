//! The command line.

use alloc::{format, vec::Vec};

use getargs::{Arg, Opt, Options};

use crate::{Driver, Problem};

/// What `--help` prints.
pub const HELP: &str = "\
Drives the kernel client and the conformance driver of rxce.

Usage: rxcectl COMMAND [OPTIONS]

Commands:
  conformance      run the acceptance vectors of conform.sys, one line each
  list             list a directory of a 9P2000.L server, through p9probe.sys and rxce.sys
  read             read a file from it: print its SHA-256, or write it
  cycles           connect and disconnect, again and again
  counters         what p9probe.sys and, during a session, the engine have counted

Options of conformance:
  --only ID        only this vector (may be given more than once)
  --repeat N       run the table N times (default 1)
  --list           print the vectors instead of running them

Options of list, read and cycles:
  --server HOST:PORT   the server; needed
  --export NAME        the tree to attach to, as the server calls it (default /)
  --user NAME          the user to attach as (default nobody)
  --uid N              his number, for servers that want it (default 65534)

Options of list and read:
  --path PATH      the directory (default /) or the file, below the tree

Options of read:
  --output FILE    write the file here, complete or not at all

Options of cycles:
  --count N        how often (default 100)

Options of every command:
  --json           one JSON document on the output stream instead of lines for people
  -h, --help       this text
  -V, --version    the version

Exit codes:
  0  done; no vector failed
  1  the command failed, or a vector did
  2  the command line is wrong; nothing was done
  3  a driver cannot be used: not started, access denied, another version, in use; nothing was done
";

/// A parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments<'a> {
    /// What to do.
    pub command: Command<'a>,
    /// Whether to write JSON.
    pub json: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Explain the command line.
    Help,
    /// Tell the version.
    Version,
    /// Run the acceptance vectors.
    Conformance(Conformance<'a>),
    /// List a directory.
    List(Server<'a>, &'a str),
    /// Read a file; where to, if it is to be kept.
    Read(Server<'a>, &'a str, Option<&'a str>),
    /// Connect and disconnect so many times.
    Cycles(Server<'a>, u32),
    /// Tell what was counted.
    Counters,
}

impl Command<'_> {
    /// The driver that the command drives.
    #[must_use]
    pub const fn driver(&self) -> Option<Driver> {
        match self {
            Self::Help | Self::Version => None,
            Self::Conformance(_) => Some(Driver::Conform),
            Self::List(..) | Self::Read(..) | Self::Cycles(..) | Self::Counters => {
                Some(Driver::P9Probe)
            }
        }
    }
}

/// Options of `conformance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conformance<'a> {
    /// Only these vectors; all if empty.
    pub only: Vec<&'a str>,
    /// How often.
    pub repeat: u32,
    /// List instead of run.
    pub list: bool,
}

/// Whom to connect to, and as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server<'a> {
    /// Name or IPv4 address.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// The tree.
    pub export: &'a str,
    /// The user's name.
    pub user: &'a str,
    /// The user's number.
    pub uid: u32,
}

impl<'a> Arguments<'a> {
    /// Parses the command line, without the program's own name.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(arguments: &[&'a str]) -> Result<Self, Problem> {
        let mut options = Options::new(arguments.iter().copied());
        let mut word = None;
        let mut given = Given::default();
        loop {
            let next = options.next_arg();
            let Some(argument) = next.map_err(|error| wrong(&format!("{error}")))? else {
                break;
            };
            let mut value = || options.value().map_err(|error| wrong(&format!("{error}")));
            match argument {
                Arg::Long("help") | Arg::Short('h') => return Ok(Self::of(Command::Help)),
                Arg::Long("version") | Arg::Short('V') => return Ok(Self::of(Command::Version)),
                Arg::Long("json") => given.json = true,
                Arg::Long("only") => given.only.push(value()?),
                Arg::Long("list") => given.list = true,
                Arg::Long("repeat") => given.repeat = Some(number("--repeat", value()?)?),
                Arg::Long("count") => given.count = Some(number("--count", value()?)?),
                Arg::Long("server") => given.server = Some(value()?),
                Arg::Long("export") => given.export = Some(value()?),
                Arg::Long("user") => given.user = Some(value()?),
                Arg::Long("uid") => given.uid = Some(uid(value()?)?),
                Arg::Long("path") => given.path = Some(value()?),
                Arg::Long("output") => given.output = Some(value()?),
                Arg::Positional(first) if word.is_none() => word = Some(first),
                Arg::Positional(more) => {
                    return Err(wrong(&format!("`{more}` is one word too many")));
                }
                Arg::Long(_) | Arg::Short(_) => {
                    let text = Opt::try_from(argument).map(|option| format!("{option}"));
                    let text = text.unwrap_or_default();
                    return Err(wrong(&format!("there is no option `{text}`")));
                }
            }
        }
        let json = given.json;
        let command = given.command(word.ok_or_else(|| wrong("no command is given"))?)?;
        Ok(Self { command, json })
    }

    const fn of(command: Command<'a>) -> Self {
        Self {
            command,
            json: false,
        }
    }
}

/// The options as they were given, whatever the command.
#[derive(Default)]
struct Given<'a> {
    json: bool,
    only: Vec<&'a str>,
    list: bool,
    repeat: Option<u32>,
    count: Option<u32>,
    server: Option<&'a str>,
    export: Option<&'a str>,
    user: Option<&'a str>,
    uid: Option<u32>,
    path: Option<&'a str>,
    output: Option<&'a str>,
}

impl<'a> Given<'a> {
    /// The command, if it knows every option that was given.
    fn command(mut self, name: &str) -> Result<Command<'a>, Problem> {
        let command = match name {
            "conformance" => Command::Conformance(Conformance {
                only: core::mem::take(&mut self.only),
                repeat: self.repeat.take().unwrap_or(1),
                list: core::mem::take(&mut self.list),
            }),
            "list" => Command::List(self.server()?, self.path.take().unwrap_or("/")),
            "read" => {
                let path = self.path.take();
                Command::Read(
                    self.server()?,
                    path.ok_or_else(|| wrong("read needs --path PATH"))?,
                    self.output.take(),
                )
            }
            "cycles" => Command::Cycles(self.server()?, self.count.take().unwrap_or(100)),
            "counters" => Command::Counters,
            other => return Err(wrong(&format!("there is no command `{other}`"))),
        };
        match self.left() {
            Some(option) => Err(wrong(&format!("{name} has no option `{option}`"))),
            None => Ok(command),
        }
    }

    fn server(&mut self) -> Result<Server<'a>, Problem> {
        let server = self.server.take();
        let server = server.ok_or_else(|| wrong("--server HOST:PORT is needed"))?;
        let parts = server.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let (host, port) = parts
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .ok_or_else(|| wrong(&format!("--server takes HOST:PORT, not `{server}`")))?;
        Ok(Server {
            host,
            port,
            export: self.export.take().unwrap_or("/"),
            user: self.user.take().unwrap_or("nobody"),
            uid: self.uid.take().unwrap_or(65_534),
        })
    }

    /// An option that the command did not take.
    fn left(&self) -> Option<&'static str> {
        [
            (!self.only.is_empty(), "--only"),
            (self.list, "--list"),
            (self.repeat.is_some(), "--repeat"),
            (self.count.is_some(), "--count"),
            (self.server.is_some(), "--server"),
            (self.export.is_some(), "--export"),
            (self.user.is_some(), "--user"),
            (self.uid.is_some(), "--uid"),
            (self.path.is_some(), "--path"),
            (self.output.is_some(), "--output"),
        ]
        .into_iter()
        .find_map(|(given, option)| given.then_some(option))
    }
}

fn number(option: &str, text: &str) -> Result<u32, Problem> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| wrong(&format!("{option} takes a number from 1 on, not `{text}`")))
}

fn uid(text: &str) -> Result<u32, Problem> {
    text.parse()
        .map_err(|_| wrong(&format!("--uid takes a number, not `{text}`")))
}

fn wrong(what: &str) -> Problem {
    Problem::usage(format!(
        "{what}; `rxcectl --help` explains the command line"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExitCode;

    fn refusal(arguments: &[&str]) -> alloc::string::String {
        match Arguments::parse(arguments) {
            Ok(parsed) => panic!("{arguments:?} is {parsed:?}"),
            Err(problem) => {
                assert_eq!(problem.code(), ExitCode::Usage);
                problem.text().into()
            }
        }
    }

    #[test]
    fn a_command_takes_its_options_in_any_order() {
        let parsed = Arguments::parse(&[
            "--json",
            "read",
            "--path=/a b",
            "--server",
            "host:564",
            "--uid",
            "0",
        ]);
        let server = Server {
            host: "host",
            port: 564,
            export: "/",
            user: "nobody",
            uid: 0,
        };
        assert_eq!(
            parsed,
            Ok(Arguments {
                command: Command::Read(server, "/a b", None),
                json: true
            })
        );
        let parsed = Arguments::parse(&[
            "conformance",
            "--only",
            "I1",
            "--only",
            "T2",
            "--repeat",
            "3",
        ]);
        let Ok(Command::Conformance(options)) = parsed.map(|parsed| parsed.command) else {
            panic!("no conformance");
        };
        assert_eq!(
            (options.only.as_slice(), options.repeat),
            (["I1", "T2"].as_slice(), 3)
        );
        assert_eq!(
            Arguments::parse(&["x", "--help"]),
            Ok(Arguments::of(Command::Help))
        );
    }

    #[test]
    fn a_wrong_command_line_is_told_by_the_word_that_is_wrong() {
        for (arguments, word) in [
            (&[][..], "no command"),
            (&["fly"], "`fly`"),
            (&["list", "there"], "`there`"),
            (&["list"], "--server"),
            (&["list", "--server", "host"], "`host`"),
            (&["list", "--server", ":1"], "`:1`"),
            (&["list", "--server", "h:65536"], "`h:65536`"),
            (&["read", "--server", "h:1"], "--path"),
            (&["conformance", "--repeat", "0"], "`0`"),
            (&["conformance", "--repeat"], "--repeat"),
            (&["conformance", "--server", "h:1"], "--server"),
            (&["counters", "--path", "/"], "--path"),
            (&["counters", "--json=1"], "--json"),
            (&["cycles", "--server", "h:1", "--count", "-1"], "`-1`"),
            (&["list", "-x"], "`-x`"),
            (&["list", "--bogus"], "`--bogus`"),
        ] {
            let text = refusal(arguments);
            assert!(text.contains(word), "{arguments:?}: {text}");
        }
    }
}
