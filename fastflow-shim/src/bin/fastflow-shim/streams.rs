//! The program's two streams together.

use std::{os::fd::BorrowedFd, time::Instant};

use fastflow_shim::{Stream, clock};

use crate::{capture::Capture, log::Log, masking::Masking, program::Program};

/// How often the streams are read in one turn, before the other things of the loop get theirs.
const MAX_READS: usize = 4;

/// Both streams, each read before the other one is shown.
///
/// A value that a program adds on the one stream is masked in what it writes afterwards on the other. The two pipes do not
/// say what was written first, but what was written before the bytes that were read is in the other pipe when these have
/// been read. So they wait until that one was read too and its values are known. What came of that one has to wait in its
/// turn; this ends when nothing comes, or goes on in the next turn.
pub(crate) struct Streams([Capture; 2]);

impl Streams {
    /// Of a program that was started, and its number.
    pub(crate) fn new(program: Program, masking: &Masking) -> Self {
        Self([
            Capture::new(Stream::Out, program.out, masking),
            Capture::new(Stream::Err, program.err, masking),
        ])
    }

    /// The pipes that are to be watched now.
    pub(crate) fn watched(&self, now: Instant) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        self.0.iter().filter_map(move |capture| Some((capture.stream(), capture.watched(now)?)))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.iter().any(Capture::is_open)
    }

    /// When there is something to do although nothing comes.
    pub(crate) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        self.0.iter().filter_map(|capture| capture.wakes_at(now)).min()
    }

    pub(crate) fn masked(&self) -> u64 {
        self.0.iter().map(Capture::masked).sum()
    }

    /// Reads what is there, beginning with a stream that has something, if one is known to; writes what has waited.
    pub(crate) fn serve(&mut self, ready: Option<Stream>, masking: &mut Masking, log: &mut Log) {
        let now = clock::instant();
        let ready = ready.and_then(|stream| self.0.iter().position(|capture| capture.stream() == stream));
        // What waits, waits for the other one.
        let due = self.0.iter().position(|capture| capture.is_due(now)).map(|index| 1 - index);
        if let Some(first) = ready.or(due) {
            self.read(first, masking, log);
        }
        let now = clock::instant();
        for capture in &mut self.0 {
            capture.flush_idle(now, log);
        }
    }

    /// Reads the one and the other by turns.
    fn read(&mut self, first: usize, masking: &mut Masking, log: &mut Log) {
        let [out, err] = &mut self.0;
        let (mut this, mut other) = if first == 0 { (out, err) } else { (err, out) };
        for _ in 0..MAX_READS {
            this.read(masking, log);
            if other.has_unfed() {
                this.foresee(masking);
                other.feed(masking, log);
            }
            if !other.is_open() {
                this.feed(masking, log);
            }
            if !this.has_unfed() {
                break;
            }
            std::mem::swap(&mut this, &mut other);
        }
        let now = clock::instant();
        this.pause(now);
        other.pause(now);
    }

    /// The streams are given up.
    pub(crate) fn end(&mut self, masking: &mut Masking, log: &mut Log) {
        for capture in &mut self.0 {
            capture.feed(masking, log);
        }
        for capture in &mut self.0 {
            capture.end(masking, log);
        }
    }
}
