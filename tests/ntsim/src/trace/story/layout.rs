//! Lines as columns: time since the first line, thread, IRQL, who acts, what -> outcome.

use super::words::milliseconds;
use super::{Chapter, Line, Part};
use crate::thread;
use core::fmt::Write as _;
use std::collections::HashMap;

/// Most characters of a line.
const WIDTH: usize = 120;
/// Characters of the time.
const TIME: usize = 10;
/// Characters of the IRQL.
const IRQL: usize = 8;
/// Most characters of a thread's name and of a driver's name before the column gives way.
const NAME: usize = 16;
/// Between what happened and what came of it: the best place for a line to end.
const ARROW: &str = " -> ";
/// Spaces per level of nesting.
const INDENT: usize = 2;
/// Levels of nesting that are shown.
const DEEPEST: usize = 12;

/// Widths that depend on the story.
struct Columns {
    thread: usize,
    who: usize,
}

impl Columns {
    /// Where the text begins.
    const fn text(&self) -> usize {
        TIME + self.thread + IRQL + self.who + 4 * 2
    }
}

/// The whole story as text.
pub(super) fn columns(lines: &[Line], chapters: &[Chapter<'_>]) -> String {
    let threads = thread_names(lines);
    let widest = |title: &str, names: &mut dyn Iterator<Item = &str>| {
        let lengths = names.map(|name| name.chars().count());
        lengths.max().unwrap_or(0).max(title.len()).min(NAME)
    };
    let columns = Columns {
        thread: widest("thread", &mut threads.values().map(String::as_str)),
        who: widest("who", &mut lines.iter().map(|line| line.who.as_str())),
    };
    let mut out = String::new();
    row(
        &mut out,
        &columns,
        ["ms", "thread", "IRQL", "who"],
        0,
        "what -> result",
    );
    let start = lines.first().map_or(0, |line| line.time_100ns);
    let mut chapters = chapters.iter();
    let mut headings = headings(lines, &mut chapters).into_iter().peekable();
    let mut folded = false;
    for (position, line) in lines.iter().enumerate() {
        while let Some((_, title)) = headings.next_if(|(at, _)| *at == position) {
            let _ = writeln!(out, "\n{title}");
        }
        let time = milliseconds(line.time_100ns.saturating_sub(start));
        let thread = threads.get(&line.thread).map_or("-", String::as_str);
        let who = if line.who.is_empty() { "nt" } else { &line.who };
        let cells = match line.part {
            Part::Folded if folded => ["", "", "", who],
            Part::Folded => ["…", "", "", who],
            _ => [time.as_str(), thread, irql(line.irql), who],
        };
        folded = line.part == Part::Folded;
        row(&mut out, &columns, cells, line.depth, &text(line));
    }
    out
}

/// Which line each chapter begins at.
pub(super) fn headings<'a>(
    lines: &[Line],
    chapters: &mut dyn Iterator<Item = &'a Chapter<'a>>,
) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut from = 0;
    for chapter in chapters {
        let rest = lines.iter().enumerate().skip(from);
        let begins = |line: &Line| line.part != Part::Folded && text(line).contains(chapter.begins);
        if let Some((at, _)) = rest.clone().find(|(_, line)| begins(line)) {
            found.push((at, chapter.title));
            from = at + 1;
        }
    }
    found
}

/// What a line says.
pub(super) fn text(line: &Line) -> String {
    let mut text = line.subject.clone();
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(&line.what);
    if line.part == Part::End {
        text.push_str(" returns");
    }
    if line.part != Part::Begin {
        if let Some(outcome) = &line.outcome {
            text.push_str(if line.part == Part::End { " " } else { ARROW });
            text.push_str(outcome);
        }
        if let Some(took) = line.took_100ns {
            let _ = write!(text, " ({} ms)", milliseconds(took));
        }
    }
    if !line.function.is_empty() && line.part != Part::End {
        let _ = write!(text, " [{}]", line.function);
    }
    text
}

/// One row; the text goes on below itself where it is too long, and is broken between words.
fn row(out: &mut String, columns: &Columns, cells: [&str; 4], depth: usize, text: &str) {
    let [time, thread, irql, who] = cells;
    let head = format!(
        "{time:>TIME$}  {:<thread_width$}  {irql:<IRQL$}  {:<who_width$}  ",
        clip(thread, columns.thread),
        clip(who, columns.who),
        thread_width = columns.thread,
        who_width = columns.who
    );
    let indent = depth.min(DEEPEST) * INDENT;
    let continued = columns.text() + indent + 2 * INDENT;
    let mut line = format!("{head}{:indent$}", "");
    let mut used = columns.text() + indent;
    let room = WIDTH.saturating_sub(used);
    let before_outcome = text.chars().count() > room
        && text
            .split_once(ARROW)
            .is_some_and(|(what, _)| what.chars().count() <= room);
    for (position, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        let outcome = before_outcome && word == ARROW.trim();
        if outcome || used + 1 + length > WIDTH && used > continued {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(continued);
            used = continued;
        } else if position > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        text.to_owned()
    } else {
        let kept = text.chars().take(width.saturating_sub(1));
        kept.chain(['…']).collect()
    }
}

/// The name of an IRQL.
pub(super) const fn irql(level: u8) -> &'static str {
    match level {
        0 => "PASSIVE",
        1 => "APC",
        2 => "DISPATCH",
        15 => "HIGH",
        _ => "device",
    }
}

/// Names of the threads that act, without folders; with their number where they act by turns with one of the same name.
pub(super) fn thread_names(lines: &[Line]) -> HashMap<u32, String> {
    let all = thread::all();
    // Thread, name, first and last line.
    let mut acting: Vec<(u32, String, usize, usize)> = Vec::new();
    for (position, line) in lines.iter().enumerate() {
        match acting.iter_mut().find(|(id, ..)| *id == line.thread) {
            Some((.., last)) => *last = position,
            None => {
                let thread = all.iter().find(|thread| thread.id == line.thread);
                let name = thread.map_or_else(|| "-".to_owned(), |one| short(&one.name));
                acting.push((line.thread, name, position, position));
            }
        }
    }
    acting
        .iter()
        .map(|(id, name, first, last)| {
            let with_another = acting.iter().any(|(other, its_name, its_first, its_last)| {
                other != id && its_name == name && its_first < last && first < its_last
            });
            let shown = if with_another {
                format!("{name} {id}")
            } else {
                name.clone()
            };
            (*id, shown)
        })
        .collect()
}

/// `transport \Device\Tcp` as `transport Tcp`; of a long name the first words.
fn short(name: &str) -> String {
    let mut short = String::new();
    for word in name.split(' ') {
        let word = word.rsplit('\\').next().unwrap_or(word);
        if !short.is_empty() && short.chars().count() + 1 + word.chars().count() > NAME {
            break;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
    }
    short
}
