//! When each act of a scenario began, first decided something, and ended: which orders an exploration has seen.

use std::collections::HashMap;

use shuttle::thread::{self, ThreadId};

/// One act, in moments that count up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) label: &'static str,
    begin: usize,
    first_hold: Option<usize>,
    end: Option<usize>,
}

impl Span {
    /// Whether its first decision came before the other's.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        let first = |span: &Self| span.first_hold.unwrap_or(span.begin);
        first(self) < first(other)
    }

    /// Whether both were under way at one moment.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let end = |span: &Self| span.end.unwrap_or(usize::MAX);
        self.begin < end(other) && other.begin < end(self)
    }
}

/// The acts so far.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    now: usize,
    spans: Vec<Span>,
    running: HashMap<ThreadId, usize>,
}

impl Moments {
    fn tick(&mut self) -> usize {
        self.now += 1;
        self.now
    }

    /// An act begins on this thread.
    pub(crate) fn begin(&mut self, label: &'static str) {
        let begin = self.tick();
        self.running
            .insert(thread::current().id(), self.spans.len());
        self.spans.push(Span {
            label,
            begin,
            first_hold: None,
            end: None,
        });
    }

    /// This thread has decided something, for its act if it has one.
    pub(crate) fn held(&mut self) {
        let now = self.tick();
        if let Some(&number) = self.running.get(&thread::current().id()) {
            self.spans[number].first_hold.get_or_insert(now);
        }
    }

    /// The act of this thread is over.
    pub(crate) fn end(&mut self) {
        let now = self.tick();
        if let Some(number) = self.running.remove(&thread::current().id()) {
            self.spans[number].end = Some(now);
        }
    }

    /// Every act so far.
    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }
}
