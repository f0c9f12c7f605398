//! The masking of a stream.

use std::{fmt, mem, ops::Deref, sync::Arc};

use super::{Patterns, REPLACEMENT, SecretBuffer, trie::ROOT};

/// Up to this depth a beginning of a pattern is left alone again and looked for anew: most are false.
const SHALLOW: usize = 3;

/// Masks one stream as it comes.
///
/// All that cannot be the beginning of an occurrence is given out at once; held back is the longest end of the stream that
/// is a beginning of a pattern and not all of it. Where nothing is found, what is given out is what came in, uncopied.
///
/// ```
/// use std::sync::Arc;
/// use fastflow_shim::mask::{Masker, Patterns};
///
/// let mut masker = Masker::new(Arc::new(Patterns::new([b"hunter2hunter2".as_slice()])?));
/// let mut out = Vec::new();
/// masker.feed(b"my password is hunter2", &mut |bytes| out.extend_from_slice(bytes));
/// assert_eq!(out, b"my password is ");
/// masker.feed(b"hunter2!", &mut |bytes| out.extend_from_slice(bytes));
/// masker.finish(&mut |bytes| out.extend_from_slice(bytes));
/// assert_eq!((out.as_slice(), masker.masked()), (b"my password is ***!".as_slice(), 1));
/// # Ok::<(), fastflow_shim::mask::TooManyPatterns>(())
/// ```
#[derive(Clone)]
pub struct Masker<P = Arc<Patterns>> {
    patterns: P,
    state: u32,
    /// What was held back.
    held: SecretBuffer,
    /// What of it is marked.
    marks: Vec<Span>,
    /// Whether the byte before it was marked: then the run that may go on there has its replacement.
    in_run: bool,
    masked: u64,
}

/// Marked bytes. Positions count from the first byte of the newest chunk; those before it are held.
#[derive(Clone, Copy)]
struct Span {
    start: isize,
    end: isize,
}

impl Span {
    fn shift(&mut self, by: isize) {
        self.start += by;
        self.end += by;
    }
}

impl<P: Deref<Target = Patterns>> Masker<P> {
    /// At the beginning of a stream.
    pub fn new(patterns: P) -> Self {
        Self {
            patterns,
            state: ROOT,
            held: SecretBuffer::default(),
            marks: Vec::new(),
            in_run: false,
            masked: 0,
        }
    }

    /// How many replacements were given out.
    pub fn masked(&self) -> u64 {
        self.masked
    }

    /// How many bytes are held back.
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// What is looked for.
    pub fn patterns(&self) -> &P {
        &self.patterns
    }

    /// Looks for other patterns from now on, also in what is held back.
    pub fn set_patterns(&mut self, patterns: P) {
        self.patterns = patterns;
        self.state = ROOT;
        let held = mem::take(&mut self.held);
        let mut marks = mem::take(&mut self.marks);
        let length = position(held.len());
        // They count from the end of what is held, the new ones from its start.
        for mark in &mut marks {
            mark.shift(length);
        }
        self.scan(&held);
        marks.append(&mut self.marks);
        marks.sort_unstable_by_key(|mark| mark.end);
        for mut mark in marks {
            mark.shift(-length);
            self.mark(mark);
        }
        self.held = held;
    }

    /// Takes the next bytes, and gives out what is certain.
    pub fn feed(&mut self, chunk: &[u8], emit: &mut impl FnMut(&[u8])) {
        if self.patterns.is_empty() {
            if !chunk.is_empty() {
                self.finish(emit);
                emit(chunk);
            }
            return;
        }
        self.scan(chunk);
        self.state = self.patterns.trie.open(self.state);
        let keep = self.patterns.trie.depth(self.state);
        self.release(chunk, position(chunk.len()) - position(keep), emit);
        if keep <= chunk.len() {
            self.held.truncate(0);
            self.held.extend(&chunk[chunk.len() - keep..]);
        } else {
            self.held.drop_front(self.held.len() + chunk.len() - keep);
            self.held.extend(chunk);
        }
        let length = position(chunk.len());
        for mark in &mut self.marks {
            mark.shift(-length);
        }
    }

    /// Gives out what is held back: the stream has ended.
    pub fn finish(&mut self, emit: &mut impl FnMut(&[u8])) {
        self.release(&[], 0, emit);
        self.held.truncate(0);
        (self.state, self.in_run) = (ROOT, false);
    }

    /// Marks every occurrence that ends in `chunk`.
    fn scan(&mut self, chunk: &[u8]) {
        if self.patterns.is_empty() {
            return;
        }
        let (mut state, mut at) = (self.state, 0);
        // Where the oldest beginning of a pattern can be that is still being followed.
        let mut begun = -position(self.held.len()) - 1;
        while at < chunk.len() {
            let start = position(at) - position(self.patterns.trie.depth(state));
            // Going back must never be going in a circle, nor to bytes that are gone.
            if position(at) - start <= position(SHALLOW)
                && start > begun
                && let Ok(from) = usize::try_from(start)
            {
                at = self.patterns.scout.find(chunk, from);
                (state, begun) = (ROOT, position(at));
            }
            state = self.patterns.trie.next(state, chunk[at]);
            at += 1;
            match self.patterns.trie.matched(state) {
                0 => {}
                matched => self.mark(Span { start: position(at) - position(matched), end: position(at) }),
            }
        }
        self.state = state;
    }

    /// Marks bytes that end no earlier than all that are marked.
    fn mark(&mut self, mut span: Span) {
        while let Some(before) = self.marks.pop_if(|before| before.end >= span.start) {
            span.start = span.start.min(before.start);
        }
        self.marks.push(span);
    }

    /// Gives out what lies before `end`, and forgets what was marked there.
    fn release(&mut self, chunk: &[u8], end: isize, emit: &mut impl FnMut(&[u8])) {
        let mut at = -position(self.held.len());
        let mut done = 0;
        for mark in &mut self.marks {
            if mark.start >= end {
                break;
            }
            if mark.start > at {
                give(&self.held, chunk, at..mark.start, emit);
                self.in_run = false;
            }
            if !self.in_run {
                emit(REPLACEMENT);
                self.masked += 1;
                self.in_run = true;
            }
            at = mark.end.min(end);
            if mark.end > end {
                mark.start = end;
                break;
            }
            done += 1;
        }
        self.marks.drain(..done);
        if at < end {
            give(&self.held, chunk, at..end, emit);
            self.in_run = false;
        }
    }
}

/// Gives out bytes of what is held and of the chunk after it.
fn give(held: &[u8], chunk: &[u8], range: std::ops::Range<isize>, emit: &mut impl FnMut(&[u8])) {
    let length = position(held.len());
    let index = |at: isize| usize::try_from(at).unwrap_or(0);
    for part in [
        &held[index(range.start + length).min(held.len())..index(range.end + length).min(held.len())],
        &chunk[index(range.start)..index(range.end)],
    ] {
        if !part.is_empty() {
            emit(part);
        }
    }
}

/// No slice is longer than `isize::MAX`.
fn position(length: usize) -> isize {
    length.cast_signed()
}

impl<P> fmt::Debug for Masker<P> {
    /// Shows nothing of what is held.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("masked", &self.masked).finish_non_exhaustive()
    }
}
