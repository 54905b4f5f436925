//! Which records belong together.

use super::super::{EventKind, Record, What};
use core::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// The begin or the end of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Border<'a> {
    pub(super) record: &'a Record,
    pub(super) is_end: bool,
}

/// Begins and ends in the order in which they happened; of calls that ended together the inner comes first.
pub(super) fn borders(records: &[Record]) -> Vec<Border<'_>> {
    let mut borders: Vec<_> = records
        .iter()
        .flat_map(|record| {
            let begin = ((record.number, false, Reverse(0)), record);
            let end = record
                .end
                .map(|end| ((end.after, true, Reverse(record.number)), record));
            core::iter::once(begin).chain(end)
        })
        .collect();
    borders.sort_by_key(|(order, _)| *order);
    borders
        .into_iter()
        .map(|((_, is_end, _), record)| Border { record, is_end })
        .collect()
}

/// A request in an event's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// Address of the IRP.
    pub(super) irp: u64,
    /// The device it was sent to.
    pub(super) device: &'a str,
    /// What it asks for.
    pub(super) what: &'a str,
    /// What came of it: of a completion.
    pub(super) result: &'a str,
}

impl<'a> Request<'a> {
    /// Of an [`EventKind::IrpSend`] (`IRP 0x1 → device: what`) or [`EventKind::IrpComplete`]
    /// (`IRP 0x1 ← device: what: result`).
    pub(super) fn of(record: &'a Record) -> Option<Self> {
        let text = record.text.as_deref()?;
        let (irp, rest) = irp_in(text)?;
        let (device, what) = rest.get(1..)?.split_once(": ")?;
        let device = device.trim_start_matches(['→', '←', ' ']);
        let (what, result) = match record.what {
            What::Event(EventKind::IrpComplete) => what.rsplit_once(": ")?,
            What::Event(EventKind::IrpSend) => (what, ""),
            _ => return None,
        };
        Some(Self {
            irp,
            device,
            what,
            result,
        })
    }
}

/// The address behind the word IRP that a text begins with, and the rest of the text.
pub(super) fn irp_in(text: &str) -> Option<(u64, &str)> {
    let digits = text.strip_prefix("IRP 0x")?;
    let end = digits
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    Some((u64::from_str_radix(digits, 16).ok()?, rest))
}

/// IRPs by their lives: an address is used again and again.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// Life by the record that is about it.
    of: HashMap<u64, usize>,
    /// Lives in which one of the requests was sent that are to be told in steps.
    stepped: HashSet<usize>,
}

impl Lives {
    pub(super) fn new(borders: &[Border<'_>], in_steps: &[&str]) -> Self {
        let mut lives = Self::default();
        let mut current: HashMap<u64, usize> = HashMap::new();
        // Those that a driver frees; all others end with their completion.
        let mut allocated: HashSet<u64> = HashSet::new();
        let mut count = 0;
        for border in borders {
            let record = border.record;
            let request = Request::of(record);
            let allocates = call_of(record) == Some("IoAllocateIrp");
            let irp = match (&request, call_of(record)) {
                (Some(request), _) => Some(request.irp),
                (None, Some("IoAllocateIrp")) if border.is_end => {
                    record.result.filter(|irp| *irp != 0)
                }
                (None, Some("IoFreeIrp" | "IoCancelIrp")) if !border.is_end => Some(record.args[0]),
                (None, None) => record.text.as_deref().and_then(irp_in).map(|(irp, _)| irp),
                _ => None,
            };
            let Some(irp) = irp else { continue };
            if allocates {
                allocated.insert(irp);
                current.remove(&irp);
            }
            let life = *current.entry(irp).or_insert_with(|| {
                count += 1;
                count
            });
            lives.of.insert(record.number, life);
            if let Some(request) = request
                && in_steps.iter().any(|name| is_request(request.what, name))
            {
                lives.stepped.insert(life);
            }
            let completed = record.what == What::Event(EventKind::IrpComplete);
            if call_of(record) == Some("IoFreeIrp") {
                allocated.remove(&irp);
                current.remove(&irp);
            } else if completed && !allocated.contains(&irp) {
                current.remove(&irp);
            }
        }
        lives
    }

    /// The life that a record is about.
    pub(super) fn of(&self, record: &Record) -> Option<usize> {
        self.of.get(&record.number).copied()
    }

    /// Whether a life is told step by step.
    pub(super) fn is_stepped(&self, life: usize) -> bool {
        self.stepped.contains(&life)
    }
}

/// Whether a request's description begins with this name.
pub(super) fn is_request(what: &str, name: &str) -> bool {
    what.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// The kernel routine that a record is a call of.
pub(super) fn call_of(record: &Record) -> Option<&'static str> {
    match record.what {
        What::Call {
            routine,
            export: false,
        } => Some(routine),
        _ => None,
    }
}

/// Calls of event handlers by their number, with the record that says what was indicated: it is made right before the call
/// (there is nothing to return) or right after it (it has the answer).
pub(super) fn indications(records: &[Record]) -> HashMap<u64, &Record> {
    let mut pairs = HashMap::new();
    let mut called: HashMap<u32, &Record> = HashMap::new();
    let mut told: HashMap<u32, &Record> = HashMap::new();
    for record in records {
        match record.what {
            What::Callback { name, target } if name.starts_with("ClientEvent") => {
                match told.remove(&record.thread) {
                    Some(event) if event.caller == target => {
                        pairs.insert(record.number, event);
                    }
                    _ => {
                        called.insert(record.thread, record);
                    }
                }
            }
            What::Event(EventKind::Indication) => match called.remove(&record.thread) {
                Some(call) if call.caller == record.caller && call.end.is_some() => {
                    pairs.insert(call.number, record);
                }
                _ => {
                    told.insert(record.thread, record);
                }
            },
            _ => {}
        }
    }
    pairs
}
