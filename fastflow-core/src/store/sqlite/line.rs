//! The order in which queued runs are looked at, merged from sources of which each is in that order.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use super::specs::SpecId;
use crate::{RunId, run::Gate};

/// One queued run that may be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: RunId,
    pub(super) priority: i16,
    pub(super) turn: i64,
    pub(super) spec: SpecId,
}

/// A place in the queue.
type Place = (Reverse<i16>, i64, [u8; 16]);

const NOBODY: [u8; 16] = [0; 16];
/// The place before all others.
const FIRST: Place = (Reverse(i16::MAX), i64::MIN, NOBODY);

impl Candidate {
    fn place(&self) -> Place {
        (Reverse(self.priority), self.turn, *self.id.as_bytes())
    }
}

/// Where candidates come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum From {
    /// Those whose time has just come: all are known.
    Later,
    /// The head of the queue of one gate, whatever they execute.
    Head(Gate),
    /// Those of one gate that execute one content.
    Content(Gate, SpecId),
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) from: From,
    rows: VecDeque<Candidate>,
    /// Whether there may be more behind the rows.
    more: bool,
    /// How many were read.
    pub(super) read: u32,
    /// The last one that was read.
    pub(super) last: Option<Candidate>,
    /// Whether one of them was not let in.
    pub(super) refused: bool,
}

impl Source {
    fn new(from: From) -> Self {
        Self { from, rows: VecDeque::new(), more: true, read: 0, last: None, refused: false }
    }

    /// A place that none of its candidates is before; none when it has no more.
    fn place(&self) -> Option<Place> {
        match (self.rows.front(), &self.last) {
            (Some(row), _) => Some(row.place()),
            (None, _) if !self.more => None,
            (None, None) => Some(FIRST),
            // Runs of one pipeline have turns of their own.
            (None, Some(last)) if matches!(self.from, From::Content(..)) => {
                Some((Reverse(last.priority), last.turn.saturating_add(1), NOBODY))
            }
            (None, Some(last)) => Some(last.place()),
        }
    }

    /// Takes rows in, of which `wanted` were asked for.
    pub(super) fn fill(&mut self, mut rows: Vec<Candidate>, wanted: u32) {
        rows.sort_unstable_by_key(Candidate::place);
        let found = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        self.more = found >= wanted;
        self.read = self.read.saturating_add(found);
        self.last = rows.last().copied().or(self.last);
        self.rows.extend(rows);
    }
}

/// All sources, and whose next candidate comes first.
#[derive(Debug, Default)]
pub(super) struct Line {
    sources: Vec<Source>,
    order: BinaryHeap<Reverse<(Place, usize)>>,
}

impl Line {
    pub(super) fn add(&mut self, from: From) {
        self.put(Source::new(from));
    }

    /// A source that is known as a whole.
    pub(super) fn add_all(&mut self, rows: Vec<Candidate>) {
        let mut source = Source::new(From::Later);
        source.fill(rows, u32::MAX);
        self.put(source);
    }

    /// Puts a source in its place; one that has no more is gone.
    pub(super) fn put(&mut self, source: Source) {
        if let Some(place) = source.place() {
            self.order.push(Reverse((place, self.sources.len())));
            self.sources.push(source);
        }
    }

    /// Takes out the sources that must be read before it is known who comes next.
    pub(super) fn unread(&mut self) -> Vec<Source> {
        let mut unread = Vec::new();
        while let Some(Reverse((_, index))) = self.order.peek()
            && self.sources[*index].rows.is_empty()
        {
            let index = *index;
            self.order.pop();
            let from = self.sources[index].from;
            unread.push(std::mem::replace(&mut self.sources[index], Source::new(from)));
        }
        unread
    }

    /// The next candidate, with its source. None of the sources before it is unread.
    pub(super) fn next(&mut self) -> Option<(usize, Candidate)> {
        let Reverse((_, index)) = self.order.pop()?;
        let candidate = self.sources[index].rows.pop_front()?;
        Some((index, candidate))
    }

    /// Says what became of a source's candidate. What one content is refused for keeps back all of it.
    pub(super) fn went(&mut self, index: usize, refused: bool) {
        let source = &mut self.sources[index];
        source.refused |= refused;
        if refused && matches!(source.from, From::Content(..)) {
            return;
        }
        if let Some(place) = source.place() {
            self.order.push(Reverse((place, index)));
        }
    }
}
