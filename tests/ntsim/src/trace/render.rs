//! Records as text: raw lines for stop reports, and the timeline for people.

use super::{EventKind, Record, What, decode, place, records, status};
use crate::thread;
use std::collections::HashMap;

/// One record on one line, with everything.
pub(super) fn raw(record: &Record) -> String {
    let indent = "  ".repeat(usize::from(record.depth / 2).min(12));
    let args = record.args.iter().take(usize::from(record.arg_count));
    let args = args
        .map(|arg| format!("{arg:x}"))
        .collect::<Vec<_>>()
        .join(", ");
    let text = record
        .text
        .as_deref()
        .map(|text| format!("  ; {text}"))
        .unwrap_or_default();
    let what = match &record.what {
        What::Call { routine, .. } => format!("{routine}({args}) -> {}", raw_result(record)),
        What::Callback { name, target } => format!(
            "kernel calls {name} = {}({args}) -> {}",
            place(*target),
            raw_result(record)
        ),
        What::Event(kind) => format!("{kind:?}"),
    };
    format!(
        "#{:<6} {:>11} t{:<4} irql{} {indent}{} {what}{text}",
        record.number,
        seconds(record.time_100ns),
        record.thread,
        record.irql,
        place(record.caller)
    )
}

fn raw_result(record: &Record) -> String {
    record
        .result
        .map_or_else(|| "…".to_owned(), |result| format!("{result:x}"))
}

fn seconds(time_100ns: u64) -> String {
    format!(
        "{}.{:06}",
        time_100ns / 10_000_000,
        time_100ns % 10_000_000 / 10
    )
}

/// What a human needs to follow a circuit, a file, a device through its life: calls between drivers, requests, indications,
/// handles, waits, failures. One line each: time, thread, IRQL, who, what -> result.
#[must_use]
pub fn timeline() -> String {
    let names: HashMap<u32, String> = thread::all()
        .into_iter()
        .map(|thread| (thread.id, thread.name.clone()))
        .collect();
    let mut out = format!(
        "{:>11}  {:<22} {:<4} {:<34} what -> result\n",
        "seconds", "thread", "IRQL", "who"
    );
    for record in records() {
        let Some(what) = interesting(&record) else {
            continue;
        };
        let thread = names.get(&record.thread).map_or("-", String::as_str);
        let line = format!(
            "{:>11}  {:<22} {:<4} {:<34} {what}",
            seconds(record.time_100ns),
            clip(&format!("{} {thread}", record.thread), 22),
            irql(record.irql),
            clip(&place(record.caller), 34),
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        text.to_owned()
    } else {
        text.chars().take(width - 1).chain(['…']).collect()
    }
}

fn irql(level: u8) -> String {
    match level {
        0 => "PASS".to_owned(),
        1 => "APC".to_owned(),
        2 => "DISP".to_owned(),
        other => other.to_string(),
    }
}

/// The text of a record that belongs into the timeline.
fn interesting(record: &Record) -> Option<String> {
    let text = record.text.as_deref();
    match &record.what {
        What::Call {
            routine,
            export: true,
        } => Some(format!(
            "{routine}({}) -> {}",
            short_args(record),
            export_result(record)
        )),
        What::Call {
            routine,
            export: false,
        } => kernel_call(routine, record),
        What::Callback { name, target } => Some(format!(
            "kernel calls {name} = {} -> {}",
            place(*target),
            export_result(record)
        )),
        What::Event(EventKind::Debug) => Some(format!("\"{}\"", text.unwrap_or_default())),
        What::Event(_) => text.map(ToOwned::to_owned),
    }
}

fn short_args(record: &Record) -> String {
    let arguments: Vec<String> = record
        .args
        .iter()
        .take(4)
        .map(|arg| format!("{arg:x}"))
        .collect();
    arguments.join(", ")
}

/// Exports of drivers mostly return a status; what looks like none is printed as a number.
fn export_result(record: &Record) -> String {
    match record.result {
        None => "(still running)".to_owned(),
        Some(result) => match u32::try_from(result & 0xFFFF_FFFF) {
            Ok(low) if status::name(low).is_some() => status::describe(low),
            _ => format!("0x{result:X}"),
        },
    }
}

fn kernel_call(routine: &str, record: &Record) -> Option<String> {
    let text = record.text.as_deref().unwrap_or_default();
    let low = u32::try_from(record.result? & 0xFFFF_FFFF).unwrap_or(0);
    let shown = match routine {
        "IoAllocateIrp" => {
            return Some(format!(
                "IoAllocateIrp({} locations) -> IRP {:x}",
                record.args[0] & 0xFF,
                record.result?
            ));
        }
        "IoFreeIrp" => return Some(format!("IoFreeIrp(IRP {:x})", record.args[0])),
        "IoCancelIrp" => return Some(format!("IoCancelIrp(IRP {:x})", record.args[0])),
        // The object manager's and the I/O manager's own events say more about these.
        "ZwCreateFile" | "ZwOpenFile" | "IoCreateFile" => false,
        _ if routine.starts_with("Zw") => true,
        "IoCreateSymbolicLink" | "IoDeleteSymbolicLink" => true,
        "PsCreateSystemThread" | "PsTerminateSystemThread" => true,
        "ExAllocatePool2" | "ExAllocatePoolWithTag" | "IoAllocateMdl" | "IoAllocateWorkItem" => {
            record.result == Some(0)
        }
        _ => false,
    };
    if !shown {
        return None;
    }
    let result = if decode::returns_status(routine) {
        format!(" -> {}", status::describe(low))
    } else if decode::returns_nothing(routine) {
        String::new()
    } else {
        format!(" -> 0x{:X}", record.result?)
    };
    Some(format!("{routine}({text}){result}"))
}
