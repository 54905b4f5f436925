//! Records as lines.

use super::super::{EventKind, Record, What, decode, place, status};
use super::name::Names;
use super::pairs::{self, Border, Lives, Request, call_of};
use super::{Detail, Line, Part, Reach, Story, words};
use crate::image;
use std::collections::HashMap;

/// A call of the kernel that takes this long says so: 1 ms.
const LONG_100NS: u64 = 10_000;

/// All lines of a story, before anything is folded.
pub(super) fn lines(records: &[Record], story: &Story<'_>) -> Vec<Line> {
    let borders = pairs::borders(records);
    let indications = pairs::indications(records);
    let told_with_call = indications.values().map(|event| event.number).collect();
    let mut teller = Teller {
        lives: Lives::new(&borders, story.in_steps),
        story,
        indications,
        told_with_call,
        names: Names::default(),
        lines: Vec::new(),
        threads: HashMap::new(),
        sent: HashMap::new(),
        owners: HashMap::new(),
    };
    for Border { record, is_end } in borders {
        match (&record.what, is_end) {
            (What::Event(kind), _) => teller.event(record, *kind),
            (_, false) => teller.begin(record),
            (_, true) => teller.end(record),
        }
    }
    teller.lines
}

/// A call or callback that has not ended yet.
struct Open<'a> {
    record: &'a Record,
    /// Its line, if it is told.
    line: Option<usize>,
    /// Something was told of what happened inside.
    parted: bool,
}

struct Teller<'a> {
    story: &'a Story<'a>,
    lives: Lives,
    indications: HashMap<u64, &'a Record>,
    told_with_call: std::collections::HashSet<u64>,
    names: Names,
    lines: Vec<Line>,
    threads: HashMap<u32, Vec<Open<'a>>>,
    /// Lines of requests that wait for their outcome, by the request's life.
    sent: HashMap<usize, Vec<usize>>,
    /// The drivers that allocated requests, by the request's life.
    owners: HashMap<usize, String>,
}

impl<'a> Teller<'a> {
    fn is_full(&self) -> bool {
        self.story.detail == Detail::Full
    }

    /// Adds a line for a record and returns its position.
    fn push(&mut self, record: &Record, what: String, outcome: Option<String>) -> usize {
        let position = self.lines.len();
        let open = self.threads.entry(record.thread).or_default();
        let around: Vec<usize> = open.iter().filter_map(|open| open.line).collect();
        if let Some(inner) = open.iter_mut().rfind(|open| open.line.is_some()) {
            inner.parted = true;
        }
        self.lines.push(Line {
            time_100ns: record.time_100ns,
            thread: record.thread,
            irql: record.irql,
            who: driver(record.caller),
            depth: around.len(),
            unit: around.first().copied().unwrap_or(position),
            what,
            outcome,
            function: if self.is_full() {
                function(record.caller)
            } else {
                String::new()
            },
            ..Line::default()
        });
        position
    }

    fn begin(&mut self, record: &'a Record) {
        let line = self.call(record);
        let open = self.threads.entry(record.thread).or_default();
        open.push(Open {
            record,
            line,
            parted: false,
        });
    }

    /// Tells of a call or callback that begins, if it belongs into the story.
    fn call(&mut self, record: &Record) -> Option<usize> {
        let took = record
            .end
            .map(|end| end.time_100ns.saturating_sub(record.time_100ns));
        let (what, outcome, who, reach) = match record.what {
            What::Call {
                routine,
                export: true,
            } => {
                let mut signatures = self.story.signatures.iter();
                let signature = signatures.find(|signature| signature.export == routine);
                let arguments = self.names.arguments(signature, &record.args);
                let what = format!("{routine}({arguments})");
                let callee = routine.split('!').next().unwrap_or_default().to_owned();
                let reach = Reach::To(callee);
                (what, Some(result(record)), driver(record.caller), reach)
            }
            What::Call {
                routine,
                export: false,
            } => {
                let (what, outcome) = self.kernel_call(routine, record)?;
                (what, outcome, driver(record.caller), Reach::Nobody)
            }
            What::Callback { name, target } => {
                let (what, outcome) = self.callback(name, target, record)?;
                (what, outcome, String::new(), Reach::To(driver(target)))
            }
            What::Event(_) => return None,
        };
        let position = self.push(record, what, outcome);
        // Calls of the kernel are short, as a rule: their time matters where they are not.
        let matters = call_of(record).is_none() || took.is_some_and(|took| took >= LONG_100NS);
        self.amend(position, |line| {
            line.who = who;
            line.reach = reach;
            line.took_100ns = took.filter(|_| matters);
        });
        Some(position)
    }

    fn end(&mut self, record: &Record) {
        let open = self.threads.entry(record.thread).or_default();
        let position = open
            .iter()
            .rposition(|open| open.record.number == record.number);
        let ended = position.and_then(|position| open.drain(position..).next());
        if let Some(Open {
            line: Some(line),
            parted: true,
            ..
        }) = ended
        {
            self.close(line, record);
        }
        if call_of(record) == Some("IoAllocateIrp") {
            self.step(record);
        }
    }

    /// Adds the last line of a call inside which something was told.
    fn close(&mut self, begin: usize, record: &Record) {
        let Some(line) = self.lines.get_mut(begin) else {
            return;
        };
        line.part = Part::Begin;
        let mut last = line.clone();
        last.part = Part::End;
        last.what = last
            .what
            .split('(')
            .next()
            .unwrap_or_default()
            .trim_end()
            .to_owned();
        last.time_100ns = record.end.map_or(last.time_100ns, |end| end.time_100ns);
        self.lines.push(last);
    }

    /// A call of a kernel routine: what it is, what came of it.
    fn kernel_call(&mut self, routine: &str, record: &Record) -> Option<(String, Option<String>)> {
        let text = record.text.as_deref().unwrap_or_default();
        let failed_allocation = record.result == Some(0)
            && matches!(
                routine,
                "ExAllocatePool2"
                    | "ExAllocatePoolWithTag"
                    | "IoAllocateIrp"
                    | "IoAllocateMdl"
                    | "IoAllocateWorkItem"
            );
        if failed_allocation {
            return Some((format!("{routine}({text})"), Some("NULL".to_owned())));
        }
        let what = match routine {
            "ZwClose" => format!("close {}", self.names.closed_handle(record.args[0])),
            "IoFreeIrp" => {
                self.step(record);
                return None;
            }
            // Events say more about these.
            "ZwCreateFile" | "ZwOpenFile" | "IoCreateFile" | "IoCancelIrp" => return None,
            "IoCreateSymbolicLink" | "IoDeleteSymbolicLink" => format!("{routine}({text})"),
            "PsCreateSystemThread" => {
                let status = result(record);
                let outcome = record.handle.map_or(status.clone(), |handle| {
                    format!("{status}, {}", self.names.new_handle(handle, "thread"))
                });
                return Some(("create a thread".to_owned(), Some(outcome)));
            }
            "PsTerminateSystemThread" if self.is_full() => routine.to_owned(),
            _ if routine.starts_with("Zw") && self.is_full() => format!("{routine}({text})"),
            _ => return None,
        };
        let outcome = if decode::returns_status(routine) {
            record.result.map(|_| result(record))
        } else {
            None
        };
        Some((what, outcome))
    }

    /// A call of driver code by the kernel or a host driver.
    fn callback(
        &self,
        name: &str,
        target: usize,
        record: &Record,
    ) -> Option<(String, Option<String>)> {
        if let Some(event) = self.indications.get(&record.number) {
            let (what, outcome) = indication(event);
            return Some((what, outcome));
        }
        let stem = driver(target);
        // A return value says something where the caller looks at it.
        let outcome = match name {
            "DriverUnload" => None,
            _ if name.starts_with("ClientEvent") => Some(result(record)),
            "DriverEntry" | "DllInitialize" | "DllUnload" => Some(result(record)),
            _ if name.starts_with("Dispatch") => Some(result(record)),
            _ => None,
        };
        let of_life = ["DriverEntry", "DriverUnload", "DllInitialize", "DllUnload"];
        (self.is_full() || of_life.contains(&name) || name.starts_with("ClientEvent"))
            .then(|| (format!("{name} of {stem}"), outcome))
    }

    fn event(&mut self, record: &'a Record, kind: EventKind) {
        let text = record.text.as_deref().unwrap_or_default();
        match kind {
            EventKind::IrpSend => self.send(record),
            EventKind::IrpComplete => self.complete(record),
            EventKind::Indication if self.told_with_call.contains(&record.number) => {}
            EventKind::Indication => {
                let (what, outcome) = indication(record);
                let line = self.push(record, what, outcome);
                self.amend(line, |line| line.reach = Reach::To(driver(record.caller)));
            }
            EventKind::Object => self.object(record, text),
            EventKind::Wait | EventKind::Thread if !self.is_full() => {}
            EventKind::Driver if !self.is_full() && text.contains(" started: ") => {}
            EventKind::Driver => {
                let text = text.split(" at 0x").next().unwrap_or(text);
                self.push(record, text.to_owned(), None);
            }
            EventKind::Debug => {
                self.push(record, format!("prints \"{text}\""), None);
            }
            _ => {
                let line = self.push(record, String::new(), None);
                let text = match (self.lives.of(record), pairs::irp_in(text)) {
                    (Some(life), Some((_, rest))) => format!("{}{rest}", self.names.irp(life)),
                    _ => text.to_owned(),
                };
                self.amend(line, |line| line.what = text);
            }
        }
    }

    /// An object or handle was created, opened or closed.
    fn object(&mut self, record: &Record, text: &str) {
        let call = self
            .threads
            .get(&record.thread)
            .and_then(|open| open.last())
            .map(|open| open.record);
        let opened = call
            .and_then(call_of)
            .and_then(|routine| text.strip_prefix(routine)?.strip_prefix(' '))
            .and_then(|rest| rest.rsplit_once(": "));
        if let Some((path, status)) = opened {
            let outcome = match call.and_then(|call| call.handle) {
                Some(handle) => format!("{status}, {}", self.names.new_handle(handle, path)),
                None => status.to_owned(),
            };
            self.push(record, format!("open {path}"), Some(outcome));
        } else if self.is_full() || text.starts_with("device ") {
            self.push(record, text.to_owned(), None);
        }
    }

    /// Whether a request belongs into the story.
    fn tells(&self, request: &Request<'_>) -> bool {
        let left_out = |name: &&str| pairs::is_request(request.what, name);
        self.is_full()
            || (request.what.starts_with("TDI_") && !self.story.left_out.iter().any(left_out))
    }

    fn send(&mut self, record: &Record) {
        let (Some(request), Some(life)) = (Request::of(record), self.lives.of(record)) else {
            return;
        };
        if !self.tells(&request) {
            return;
        }
        // The call that sends it knows the peer.
        let calls = self.threads.get(&record.thread);
        let peer = calls
            .and_then(|open| open.last())
            .filter(|open| call_of(open.record) == Some("IofCallDriver"))
            .and_then(|open| open.record.text.as_deref());
        let mut what = words::tidy(request.what);
        if let Some(peer) = peer {
            what = format!("{what} {peer}");
        }
        let steps = self.in_steps(life);
        if steps {
            what = format!("sent to {}: {what}", request.device);
        }
        let outcome = (!steps).then(|| "not completed".to_owned());
        let line = self.push(record, what, outcome);
        let name = self.names.irp(life);
        self.amend(line, |line| {
            line.subject = name;
            line.reach = Reach::To(request.device.to_owned());
        });
        self.sent.entry(life).or_default().push(line);
    }

    fn complete(&mut self, record: &Record) {
        let (Some(request), Some(life)) = (Request::of(record), self.lives.of(record)) else {
            return;
        };
        if !self.tells(&request) {
            return;
        }
        let outcome = words::outcome_of(request.what, request.result);
        let what = words::tidy(request.what);
        let sent = self.sent.get_mut(&life).and_then(Vec::pop);
        let since = sent.and_then(|line| self.lines.get(line));
        let took = since.map(|line| record.time_100ns.saturating_sub(line.time_100ns));
        match sent {
            Some(line) if !self.in_steps(life) => self.amend(line, |line| {
                line.outcome = Some(outcome);
                line.took_100ns = took;
            }),
            _ => {
                let what = match sent {
                    Some(_) => format!("completed: {what}"),
                    // A receive handler handed it to the transport.
                    None => format!("{what} from the event handler"),
                };
                let line = self.push(record, what, Some(outcome));
                let name = self.names.irp(life);
                let owner = self.owners.get(&life).cloned().unwrap_or_default();
                self.amend(line, |line| {
                    line.subject = name;
                    line.took_100ns = took;
                    line.reach = Reach::Completed {
                        device: request.device.to_owned(),
                        owner,
                    };
                });
            }
        }
    }

    fn in_steps(&self, life: usize) -> bool {
        self.is_full() || self.lives.is_stepped(life)
    }

    /// The allocation or release of a request that is told step by step.
    fn step(&mut self, record: &Record) {
        let Some(life) = self.lives.of(record) else {
            return;
        };
        let freed = call_of(record) == Some("IoFreeIrp");
        if !freed {
            self.owners.insert(life, driver(record.caller));
        }
        if !self.in_steps(life) {
            return;
        }
        let what = match record.args[0] & 0xFF {
            _ if freed => "freed".to_owned(),
            1 => "allocated, 1 stack location".to_owned(),
            locations => format!("allocated, {locations} stack locations"),
        };
        let line = self.push(record, what, None);
        let name = self.names.irp(life);
        self.amend(line, |line| line.subject = name);
    }

    fn amend(&mut self, position: usize, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.lines.get_mut(position) {
            change(line);
        }
    }
}

/// `RECEIVE event, 21 bytes: STATUS_SUCCESS, 21 taken` as what happened and what came of it.
fn indication(event: &Record) -> (String, Option<String>) {
    let text = words::tidy(event.text.as_deref().unwrap_or_default());
    let stem = driver(event.caller);
    let text = match text.split_once(" event") {
        Some((name, rest)) if !stem.is_empty() => format!("{name} event to {stem}{rest}"),
        _ => text,
    };
    match text.split_once(": ") {
        Some((what, outcome)) => (what.to_owned(), Some(outcome.to_owned())),
        None => (text, None),
    }
}

/// A result as a status if it is a known one: exports of drivers mostly return one.
fn result(record: &Record) -> String {
    match record.result {
        None => "does not return".to_owned(),
        Some(result) => match u32::try_from(result & 0xFFFF_FFFF) {
            Ok(low) if status::name(low).is_some() => status::describe(low),
            _ => format!("0x{result:X}"),
        },
    }
}

/// The driver whose code this is, without `.sys`; nothing for other code.
fn driver(address: usize) -> String {
    image::find(address).map_or_else(String::new, |image| {
        image.name.trim_end_matches(".sys").to_owned()
    })
}

/// The function of a driver, loaded or not.
fn function(address: usize) -> String {
    match image::find(address) {
        Some(_) => words::without_generics(&place(address)),
        None => String::new(),
    }
}
