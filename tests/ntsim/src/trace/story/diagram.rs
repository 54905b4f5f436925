//! Lines as a sequence diagram.
//!
//! From left to right: time, a column for each thread (a block where it acts, its colour is the IRQL), a column for each layer
//! (drivers, devices, the kernel) with arrows between them, and the text. One row per line of the story.

use super::words::milliseconds;
use super::{Chapter, Line, Part, Reach, layout};
use crate::thread;
use std::collections::HashMap;
use svg::node::element::{
    Definitions, Group, Line as Stroke, Marker, Path, Rectangle, Text, Title,
};
use svg::{Document, Node};

/// Pixels.
const ROW: usize = 17;
const HEAD: usize = 96;
const TIME: usize = 78;
const THREAD: usize = 22;
const LAYER: usize = 104;
const MARGIN: usize = 12;
/// Room for the text; a longer one is cut in the picture and whole in its tool tip.
const TEXT: usize = 620;
/// Characters that fit into it.
const CHARACTERS: usize = 100;

/// What `nt` is called: the kernel, and its own drivers where no device is named.
const KERNEL: &str = "nt";

/// The whole story as a picture.
pub(super) fn svg(lines: &[Line], chapters: &[Chapter<'_>]) -> String {
    let picture = Picture::new(lines);
    let mut headings = layout::headings(lines, &mut chapters.iter())
        .into_iter()
        .peekable();
    let mut rows = Group::new();
    let mut row = 0;
    for (position, line) in lines.iter().enumerate() {
        while let Some((_, title)) = headings.next_if(|(at, _)| *at == position) {
            rows.append(picture.heading(row, title));
            row += 2;
        }
        rows.append(picture.row(row, line));
        row += 1;
    }
    let height = HEAD + row * ROW + MARGIN;
    let width = picture.text() + TEXT;
    Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("width", width)
        .set("height", height)
        .set("font-family", "ui-monospace, Menlo, Consolas, monospace")
        .set("font-size", 11)
        .add(arrow_heads())
        .add(
            Rectangle::new()
                .set("width", width)
                .set("height", height)
                .set("fill", "#ffffff"),
        )
        .add(picture.head(height))
        .add(legend(picture.text()))
        .add(rows)
        .to_string()
}

/// Where the columns are.
struct Picture {
    start_100ns: u64,
    /// Threads in the order in which they appear, with their names.
    threads: Vec<(u32, String)>,
    /// Layers, the callers left of the called.
    layers: Vec<String>,
    names: HashMap<u32, String>,
    /// Threads of host drivers: what they do comes from their device.
    hosts: HashMap<u32, String>,
}

impl Picture {
    fn new(lines: &[Line]) -> Self {
        let names = layout::thread_names(lines);
        let mut threads: Vec<(u32, String)> = Vec::new();
        for line in lines.iter().filter(|line| line.part != Part::Folded) {
            if !threads.iter().any(|(id, _)| *id == line.thread) {
                let name = names.get(&line.thread).cloned().unwrap_or_default();
                threads.push((line.thread, name));
            }
        }
        let layers = layers(lines);
        let hosts = hosts(&layers);
        Self {
            start_100ns: lines.first().map_or(0, |line| line.time_100ns),
            threads,
            layers,
            names,
            hosts,
        }
    }

    fn thread(&self, id: u32) -> usize {
        let position = self.threads.iter().position(|(other, _)| *other == id);
        MARGIN + TIME + position.unwrap_or(0) * THREAD
    }

    /// The middle of a layer's column.
    fn layer(&self, name: &str) -> Option<usize> {
        let position = self.layers.iter().position(|layer| layer == name)?;
        Some(MARGIN + TIME + self.threads.len() * THREAD + position * LAYER + LAYER / 2)
    }

    /// Where the text begins.
    fn text(&self) -> usize {
        MARGIN + TIME + self.threads.len() * THREAD + self.layers.len() * LAYER + MARGIN
    }

    /// The names of the columns, and the life lines below them.
    fn head(&self, height: usize) -> Group {
        let mut head = Group::new();
        for (id, name) in &self.threads {
            let x = self.thread(*id) + THREAD / 2;
            let turned = format!("rotate(-55 {x} {})", HEAD - 14);
            head.append(label(x, HEAD - 14, name).set("transform", turned));
            head.append(life_line(x, height, "#eeeeee"));
        }
        for name in &self.layers {
            let Some(x) = self.layer(name) else { continue };
            head.append(life_line(x, height, "#bbbbbb"));
            head.append(
                Rectangle::new()
                    .set("x", x - LAYER / 2 + 4)
                    .set("y", HEAD - 30)
                    .set("width", LAYER - 8)
                    .set("height", 20)
                    .set("rx", 3)
                    .set("fill", "#f4f6fa")
                    .set("stroke", "#8090a8"),
            );
            head.append(label(x, HEAD - 16, name).set("text-anchor", "middle"));
        }
        head
    }

    fn heading(&self, row: usize, title: &str) -> Text {
        label(self.text(), y(row) + ROW, title).set("font-weight", "bold")
    }

    fn row(&self, row: usize, line: &Line) -> Group {
        let y = y(row) + ROW / 2;
        let text = layout::text(line);
        let mut group = Group::new();
        if line.part == Part::Folded {
            group.append(label(self.text(), y + 4, &cut(&text)).set("fill", "#777777"));
            return group;
        }
        let time = milliseconds(line.time_100ns.saturating_sub(self.start_100ns));
        let irql = layout::irql(line.irql);
        let thread = self.names.get(&line.thread).map_or("-", String::as_str);
        group.append(Title::new(format!("{time} ms, {thread}, {irql}: {text}")));
        group.append(
            label(MARGIN + TIME - 8, y + 4, &time)
                .set("text-anchor", "end")
                .set("fill", "#777777"),
        );
        group.append(
            Rectangle::new()
                .set("x", self.thread(line.thread) + 5)
                .set("y", y - ROW / 2)
                .set("width", THREAD - 10)
                .set("height", ROW)
                .set("fill", colour(line.irql)),
        );
        group.append(self.arrow(y, line));
        let indent = line.depth.min(6) * 10;
        group.append(label(self.text() + indent, y + 4, &cut(&text)));
        group
    }

    /// From the layer that acts to the one it reaches; a dot where it reaches nobody.
    fn arrow(&self, y: usize, line: &Line) -> Group {
        let acts = match self.hosts.get(&line.thread) {
            Some(device) if line.who.is_empty() => self.layer(device),
            _ => self.layer(&acting(line)),
        };
        let acts = acts.unwrap_or(0);
        let mut group = Group::new();
        let (from, to, kind) = match &line.reach {
            Reach::Nobody => (acts, acts, Kind::Call),
            Reach::To(other) if line.part == Part::End => {
                (self.layer(other).unwrap_or(acts), acts, Kind::Return)
            }
            Reach::To(other) => {
                let kind = if is_device(other) {
                    Kind::Request
                } else {
                    Kind::Call
                };
                (acts, self.layer(other).unwrap_or(acts), kind)
            }
            Reach::Completed { device, owner } => {
                let device = self.layer(device).unwrap_or(acts);
                (
                    device,
                    self.layer(owner).unwrap_or(device),
                    Kind::Completion,
                )
            }
        };
        let colour = colour(line.irql);
        if from == to {
            group.append(
                Rectangle::new()
                    .set("x", acts - 3)
                    .set("y", y - 3)
                    .set("width", 6)
                    .set("height", 6)
                    .set("fill", colour),
            );
            return group;
        }
        let (width, dashes) = match kind {
            Kind::Call => (1.2, "none"),
            Kind::Return => (1.2, "3 3"),
            Kind::Request => (2.6, "none"),
            Kind::Completion => (2.6, "6 3"),
        };
        let short = if from < to { to - 4 } else { to + 4 };
        group.append(
            Stroke::new()
                .set("x1", from)
                .set("y1", y)
                .set("x2", short)
                .set("y2", y)
                .set("stroke", colour)
                .set("stroke-width", width)
                .set("stroke-dasharray", dashes)
                .set("marker-end", format!("url(#head-{})", line.irql.min(3))),
        );
        group
    }
}

/// What an arrow stands for.
#[derive(Clone, Copy)]
enum Kind {
    Call,
    Return,
    Request,
    Completion,
}

/// Layers in the order of the picture: each one right of the first that reached it, the kernel last.
fn layers(lines: &[Line]) -> Vec<String> {
    let mut layers: Vec<String> = Vec::new();
    let place = |layers: &mut Vec<String>, name: &str, after: Option<&str>| {
        if name.is_empty() || name == KERNEL || layers.iter().any(|layer| layer == name) {
            return;
        }
        let at = after
            .and_then(|after| layers.iter().position(|layer| layer == after))
            .map_or(layers.len(), |position| position + 1);
        layers.insert(at, name.to_owned());
    };
    // The callers of other drivers first: what they call stands right of them.
    let drivers = |line: &&Line| !line.who.is_empty();
    for line in lines.iter().filter(drivers) {
        if let Reach::To(other) = &line.reach {
            place(&mut layers, &line.who, None);
            place(&mut layers, other, Some(&line.who));
        }
    }
    for line in lines {
        let acting = acting(line);
        place(&mut layers, &acting, None);
        match &line.reach {
            Reach::To(other) => place(&mut layers, other, None),
            Reach::Completed { device, .. } => place(&mut layers, device, None),
            Reach::Nobody => {}
        }
    }
    layers.push(KERNEL.to_owned());
    layers
}

/// The threads that are named after a device of the picture, as those of host drivers are.
fn hosts(layers: &[String]) -> HashMap<u32, String> {
    let threads = thread::all();
    let pairs = threads.iter().filter_map(|thread| {
        let device = layers
            .iter()
            .find(|layer| is_device(layer) && thread.name.ends_with(layer.as_str()))?;
        Some((thread.id, device.clone()))
    });
    pairs.collect()
}

/// The layer that acts: the driver, or the kernel.
fn acting(line: &Line) -> String {
    if line.who.is_empty() {
        KERNEL.to_owned()
    } else {
        line.who.clone()
    }
}

fn is_device(name: &str) -> bool {
    name.starts_with('\\')
}

const fn y(row: usize) -> usize {
    HEAD + row * ROW
}

/// The colour of an IRQL.
const fn colour(irql: u8) -> &'static str {
    match irql {
        0 => "#2a7f3f",
        1 => "#b08900",
        2 => "#c0392b",
        _ => "#6c3483",
    }
}

fn label(x: usize, y: usize, text: &str) -> Text {
    Text::new(text)
        .set("x", x)
        .set("y", y)
        .set("fill", "#222222")
}

fn life_line(x: usize, height: usize, colour: &str) -> Stroke {
    Stroke::new()
        .set("x1", x)
        .set("y1", HEAD - 8)
        .set("x2", x)
        .set("y2", height)
        .set("stroke", colour)
}

/// One arrow head for each colour: a marker does not take the colour of its line.
fn arrow_heads() -> Definitions {
    (0..=3).fold(Definitions::new(), |heads, irql| {
        heads.add(
            Marker::new()
                .set("id", format!("head-{irql}"))
                .set("viewBox", "0 0 8 8")
                .set("refX", 6)
                .set("refY", 4)
                .set("markerWidth", 8)
                .set("markerHeight", 8)
                .set("markerUnits", "userSpaceOnUse")
                .set("orient", "auto")
                .add(
                    Path::new()
                        .set("d", "M0 0 L8 4 L0 8 z")
                        .set("fill", colour(irql)),
                ),
        )
    })
}

/// What colours and strokes mean.
fn legend(x: usize) -> Group {
    let mut group = Group::new();
    for (position, irql) in [0_u8, 1, 2].into_iter().enumerate() {
        let x = x + position * 110;
        group.append(
            Rectangle::new()
                .set("x", x)
                .set("y", HEAD - 54)
                .set("width", 10)
                .set("height", 10)
                .set("fill", colour(irql)),
        );
        group.append(label(x + 15, HEAD - 45, layout::irql(irql)));
    }
    let strokes = "thin: call; thick: request (IRP); dashed: return, completion; square: in place";
    group.append(label(x, HEAD - 26, strokes).set("fill", "#777777"));
    group
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CHARACTERS {
        return text.to_owned();
    }
    text.chars().take(CHARACTERS - 1).chain(['…']).collect()
}
