//! The recording as a story that people can read: who asked whom for what, when, and what came of it.
//!
//! What happens inside a call is indented below it; requests, handles and objects have numbers instead of addresses; what
//! repeats itself is counted. The host program may say more about the drivers it knows: [`Story`].
//!
//! ```text
//! pairs   which records belong together: requests by their lives, event handlers and what is known of their calls
//! tell    records -> lines
//! name    numbers for requests, handles and objects
//! words   numbers and texts of records as people write them
//! fold    lines -> fewer lines
//! layout  lines -> columns
//! diagram lines -> a picture, layers and threads as columns
//! ```

mod diagram;
mod fold;
mod layout;
mod name;
mod pairs;
mod tell;
#[cfg(test)]
mod tests;
mod words;

use super::records;

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Calls between drivers, TDI requests, indications, files, failures; repetitions are counted.
    #[default]
    Short,
    /// Also set-up requests, waits, threads and the like; requests step by step, functions by name, and nothing is folded.
    Full,
}

/// What a host program wants told, and what it knows about its drivers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Story<'a> {
    /// How much.
    pub detail: Detail,
    /// Exports whose arguments have a meaning.
    pub signatures: &'a [Signature<'a>],
    /// Requests that are told step by step (allocated, sent, completed, freed), such as `TDI_DISCONNECT`.
    pub in_steps: &'a [&'a str],
    /// Requests that a short story leaves out.
    pub left_out: &'a [&'a str],
    /// Headings, in the order of the story.
    pub chapters: &'a [Chapter<'a>],
}

/// The arguments of an export.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    /// `module!name`.
    pub export: &'a str,
    /// Its arguments, from the first on; later ones are not shown.
    pub parameters: &'a [Parameter<'a>],
}

/// What an argument is.
#[derive(Clone, Copy, Debug)]
pub enum Parameter<'a> {
    /// Nothing for the story.
    Skip,
    /// The address of a structure of this kind: shown with a number of its own.
    Object(&'a str),
    /// A 32-bit number of bytes.
    Bytes,
    /// 32 bits, the known ones with their names.
    Flags(&'a [(u32, &'a str)]),
}

/// A heading.
#[derive(Clone, Copy, Debug)]
pub struct Chapter<'a> {
    /// Its text.
    pub title: &'a str,
    /// It stands before the first line that contains this and comes after the chapter before.
    pub begins: &'a str,
}

impl Story<'_> {
    /// Tells what was recorded so far: columns of at most 120 characters.
    #[must_use]
    pub fn tell(&self) -> String {
        layout::columns(&self.lines(), self.chapters)
    }

    /// Draws what was recorded so far as a sequence diagram, an SVG document: threads and layers are columns, calls and requests
    /// arrows between layers, and colours tell the IRQL.
    #[must_use]
    pub fn draw(&self) -> String {
        diagram::svg(&self.lines(), self.chapters)
    }

    fn lines(&self) -> Vec<Line> {
        let lines = tell::lines(&records(), self);
        match self.detail {
            Detail::Short => fold::fold(lines),
            Detail::Full => lines,
        }
    }
}

/// Everything that belongs into a story, nothing folded.
#[must_use]
pub fn timeline() -> String {
    Story {
        detail: Detail::Full,
        ..Story::default()
    }
    .tell()
}

/// One line of the story.
#[derive(Clone, Debug, Default)]
struct Line {
    time_100ns: u64,
    thread: u32,
    irql: u8,
    /// The driver that acts, empty for the kernel and its host drivers.
    who: String,
    /// Whom it reaches.
    reach: Reach,
    /// How many told calls of the thread it is inside of.
    depth: usize,
    /// Number of the outermost of them, or of the line itself: what is folded together.
    unit: usize,
    part: Part,
    /// Name of the request that it is about, left out where lines are counted.
    subject: String,
    what: String,
    outcome: Option<String>,
    took_100ns: Option<u64>,
    /// The driver's function, where it is wanted.
    function: String,
}

/// Whom a line reaches: the arrow of a diagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Reach {
    /// Nobody: it happens where it is.
    #[default]
    Nobody,
    /// This driver, by a call, or this device, by a request.
    To(String),
    /// The owner of a request, which a device has completed.
    Completed { device: String, owner: String },
}

/// Which part of a call a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// All of it, or something that is not a call.
    #[default]
    Whole,
    /// Its begin; what happened inside follows, then its end.
    Begin,
    /// Its end.
    End,
    /// A count of lines that are not shown.
    Folded,
}
