//! Repetitions, counted instead of shown: a file of 64 MiB is a thousand times the same.

use super::words::{self, Piece, joined, pieces, shape};
use super::{Line, Part};
use std::collections::{HashMap, HashSet};

/// How often lines of one shape are shown before they are counted.
const SHOWN: usize = 2;
/// Fewer lines than this in a row are shown rather than counted.
const WORTH_IT: usize = 6;

/// Replaces what was seen [`SHOWN`] times before by counts. Calls are shown or hidden with all that happened inside.
pub(super) fn fold(lines: Vec<Line>) -> Vec<Line> {
    let hidden = repeated(&lines);
    let mut out = Vec::new();
    let mut run: Vec<Line> = Vec::new();
    for line in lines {
        if hidden.contains(&line.unit) {
            run.push(line);
        } else {
            end_run(&mut out, &mut run);
            out.push(line);
        }
    }
    end_run(&mut out, &mut run);
    out
}

/// The units that are repetitions.
fn repeated(lines: &[Line]) -> HashSet<usize> {
    let mut shapes: HashMap<usize, String> = HashMap::new();
    let mut order = Vec::new();
    for line in lines {
        let whole = shapes.entry(line.unit).or_insert_with(|| {
            order.push(line.unit);
            String::new()
        });
        whole.push_str(&shape(&text(line)));
        whole.push('\n');
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut hidden = HashSet::new();
    for unit in order {
        if let Some(whole) = shapes.get(&unit) {
            let seen = seen.entry(whole).or_default();
            *seen += 1;
            if *seen > SHOWN {
                hidden.insert(unit);
            }
        }
    }
    hidden
}

/// What a line says, without what differs from one to the next anyway.
fn text(line: &Line) -> String {
    match &line.outcome {
        Some(outcome) if line.part != Part::End => format!("{} -> {outcome}", line.what),
        _ => line.what.clone(),
    }
}

fn end_run(out: &mut Vec<Line>, run: &mut Vec<Line>) {
    if run.len() < WORTH_IT {
        out.append(run);
        return;
    }
    out.extend(summary(run));
    run.clear();
}

/// One line per shape: how often, with ranges where numbers differ.
fn summary(run: &[Line]) -> Vec<Line> {
    let mut groups: Vec<(String, u64, Vec<Piece>, &Line)> = Vec::new();
    for line in run.iter().filter(|line| line.part != Part::End) {
        let text = text(line);
        let (shape, text) = (shape(&text), pieces(&text));
        match groups.iter_mut().find(|(other, ..)| *other == shape) {
            Some((_, count, merged, _)) => {
                *count += 1;
                merge(merged, &text);
            }
            None => groups.push((shape, 1, text, line)),
        }
    }
    let width = groups
        .iter()
        .map(|(_, count, ..)| words::grouped(*count).len())
        .max()
        .unwrap_or(0);
    let mut lines = Vec::new();
    for (_, count, text, first) in groups {
        let text = joined(&text);
        let text = match text.split_once(" -> ") {
            Some((what, outcome)) if count > 1 => format!("{what} -> all {outcome}"),
            _ => text,
        };
        lines.push(Line {
            part: Part::Folded,
            what: format!("{:>width$} × {text}", words::grouped(count)),
            who: first.who.clone(),
            ..Line::default()
        });
    }
    lines
}

fn merge(into: &mut [Piece], other: &[Piece]) {
    for pair in into.iter_mut().zip(other) {
        if let (Piece::Number(_, low, high), Piece::Number(_, other_low, other_high)) = pair {
            *low = (*low).min(*other_low);
            *high = (*high).max(*other_high);
        }
    }
}
