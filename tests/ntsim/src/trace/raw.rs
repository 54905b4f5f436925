//! Records as raw lines, for stop reports.

use super::{Record, What, place};

/// One record on one line, with everything.
pub(super) fn line(record: &Record) -> String {
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
        What::Call { routine, .. } => format!("{routine}({args}) -> {}", result(record)),
        What::Callback { name, target } => format!(
            "kernel calls {name} = {}({args}) -> {}",
            place(*target),
            result(record)
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

fn result(record: &Record) -> String {
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
