//! From the bytes of a pipe to records.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use fastflow_shim::{
    Stream, clock,
    mask::{AddMask, MAX_COMMAND_BYTES, Masker, Piece},
    record::{MAX_TEXT_BYTES, Prefix},
};
use zeroize::Zeroize as _;

use crate::{log::Log, masking::Masking, program::PIPE_BYTES};

/// What one call of `read` may bring: all that a pipe holds, unless the program may make it larger than others may.
const READ_BYTES: usize = PIPE_BYTES;
/// A turn that brought less lets the pipe fill before the next one: a program that writes many small lines
/// must not wake the shim for each of them.
const FULL_TURN_BYTES: usize = 128 * 1024;
const PAUSE: Duration = Duration::from_millis(1);
/// A line without an end is written so long after its last byte came.
const IDLE: Duration = Duration::from_millis(200);

/// One of the program's two streams.
pub(crate) struct Capture {
    stream: Stream,
    /// `None` once it has ended.
    pipe: Option<OwnedFd>,
    commands: AddMask,
    lines: Lines,
    buffer: ReadBuffer,
    /// What was read and waits for the other stream to be read.
    unfed: Option<Unfed>,
    /// How much came in this turn; `None` where it had none.
    brought: Option<usize>,
    /// When what there is of a line is written without its end.
    idle_at: Option<Instant>,
    /// Until when the pipe is left to fill.
    pause_until: Option<Instant>,
}

/// Where what is read lies. It is wiped in the end, as far as it was ever written to: the rest has no memory yet.
struct ReadBuffer {
    bytes: Vec<u8>,
    used: usize,
}

impl ReadBuffer {
    fn read(&mut self, pipe: &OwnedFd) -> rustix::io::Result<usize> {
        let read = rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut *self.bytes))?;
        self.used = self.used.max(read);
        Ok(read)
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.bytes[..self.used].zeroize();
    }
}

/// What is in the buffer.
struct Unfed {
    bytes: usize,
    /// With the time at which it was read.
    prefix: Prefix,
}

/// From what the program says to records.
struct Lines {
    masker: Masker,
    /// The beginning of a line whose end has not come. It is masked already.
    partial: Vec<u8>,
}

impl Capture {
    pub(crate) fn new(stream: Stream, pipe: OwnedFd, masking: &Masking) -> Self {
        Self {
            stream,
            pipe: Some(pipe),
            commands: AddMask::default(),
            lines: Lines { masker: Masker::new(Arc::clone(masking.patterns())), partial: Vec::new() },
            buffer: ReadBuffer { bytes: vec![0; READ_BYTES], used: 0 },
            unfed: None,
            brought: None,
            idle_at: None,
            pause_until: None,
        }
    }

    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    /// The pipe, if it is to be watched now.
    pub(crate) fn watched(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| self.unfed.is_none() && !self.is_pausing(now)).map(|pipe| pipe.as_fd())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    fn is_pausing(&self, now: Instant) -> bool {
        self.pause_until.is_some_and(|until| until > now)
    }

    pub(crate) fn has_unfed(&self) -> bool {
        self.unfed.is_some()
    }

    /// Whether something has waited long enough for the other stream.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.unfed.is_some() && !self.is_pausing(now)
    }

    /// When this stream has something to do although nothing comes.
    pub(crate) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let pause = self.pause_until.filter(|until| self.pipe.is_some() && *until > now);
        let due = self.is_due(now).then_some(now);
        pause.into_iter().chain(due).chain(self.idle_at).min()
    }

    pub(crate) fn masked(&self) -> u64 {
        self.lines.masker.masked()
    }

    /// Reads what is there. Nothing of it is shown before it is fed, which has to be done before the next reading.
    pub(crate) fn read(&mut self, masking: &mut Masking, log: &mut Log) {
        let Some(pipe) = &self.pipe else { return };
        match self.buffer.read(pipe) {
            Ok(0) => {
                self.pipe = None;
                self.end(masking, log);
            }
            Ok(bytes) => {
                self.unfed = Some(Unfed { bytes, prefix: Prefix::new(clock::now(), self.stream) });
                *self.brought.get_or_insert(0) += bytes;
            }
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => {
                log.say(&format!("cannot read {}: {}", self.stream.as_str(), io::Error::from(error)));
                self.pipe = None;
                self.end(masking, log);
            }
        }
    }

    /// Lets the pipe fill, unless it is filled fast enough. The turn is over.
    pub(crate) fn pause(&mut self, now: Instant) {
        if let Some(brought) = self.brought.take() {
            self.pause_until = (brought < FULL_TURN_BYTES).then(|| now + PAUSE);
        }
    }

    /// Takes the values from what was read, for the other stream.
    pub(crate) fn foresee(&self, masking: &mut Masking) {
        let Some(unfed) = &self.unfed else { return };
        self.commands.clone().feed(&self.buffer.bytes[..unfed.bytes], &mut |piece| {
            if let Piece::Value(value) = piece {
                masking.foresee(value);
            }
        });
    }

    /// Makes records of what was read.
    pub(crate) fn feed(&mut self, masking: &mut Masking, log: &mut Log) {
        let Some(Unfed { bytes, prefix }) = self.unfed.take() else { return };
        // The other stream may have added something.
        self.lines.follow(masking);
        let lines = &mut self.lines;
        self.commands
            .feed(&self.buffer.bytes[..bytes], &mut |piece| lines.take(piece, &prefix, masking, log));
        self.idle_at = (!self.lines.partial.is_empty()).then(|| clock::instant() + IDLE);
    }

    /// Writes the beginning of a line that has waited long enough, but for a character of which only a part has come.
    pub(crate) fn flush_idle(&mut self, now: Instant, log: &mut Log) {
        if self.idle_at.is_some_and(|at| at <= now) {
            self.idle_at = None;
            let partial = &mut self.lines.partial;
            let end = character_boundary(partial);
            if end > 0 {
                log.push(&Prefix::new(clock::now(), self.stream), &partial[..end], true);
                partial.drain(..end);
            }
        }
    }

    /// The stream has ended, or is given up.
    pub(crate) fn end(&mut self, masking: &mut Masking, log: &mut Log) {
        let prefix = Prefix::new(clock::now(), self.stream);
        self.lines.follow(masking);
        let lines = &mut self.lines;
        self.commands.finish(&mut |piece| lines.take(piece, &prefix, masking, log));
        let Lines { masker, partial } = lines;
        masker.finish(&mut |text| split(partial, text, &prefix, log));
        if !partial.is_empty() {
            log.push(&prefix, partial, true);
            partial.clear();
        }
        self.idle_at = None;
    }
}

impl Lines {
    fn take(&mut self, piece: Piece<'_>, prefix: &Prefix, masking: &mut Masking, log: &mut Log) {
        match piece {
            Piece::Text(text) => self.masker.feed(text, &mut |text| split(&mut self.partial, text, prefix, log)),
            Piece::Value(value) => {
                masking.add(value, log);
                self.follow(masking);
            }
            Piece::TooLong => log.say(&format!(
                "a value of ::add-mask:: is not masked and was not written: its line has more than {MAX_COMMAND_BYTES} bytes"
            )),
        }
    }

    /// Masks what is known by now.
    fn follow(&mut self, masking: &Masking) {
        if !Arc::ptr_eq(self.masker.patterns(), masking.patterns()) {
            self.masker.set_patterns(Arc::clone(masking.patterns()));
        }
    }
}

/// Makes a record of each line in `rest`, and keeps the beginning of the last one in `partial`.
fn split(partial: &mut Vec<u8>, mut rest: &[u8], prefix: &Prefix, log: &mut Log) {
    while !rest.is_empty() {
        let newline = memchr::memchr(b'\n', rest);
        let line = newline.unwrap_or(rest.len());
        if partial.is_empty() {
            match newline {
                Some(end) if end <= MAX_TEXT_BYTES => {
                    log.push(prefix, &rest[..end], false);
                    rest = &rest[end + 1..];
                }
                _ if line > MAX_TEXT_BYTES => {
                    let end = character_boundary(&rest[..MAX_TEXT_BYTES]);
                    log.push(prefix, &rest[..end], true);
                    rest = &rest[end..];
                }
                _ => {
                    partial.extend_from_slice(rest);
                    return;
                }
            }
            continue;
        }
        let taken = line.min(MAX_TEXT_BYTES - partial.len());
        partial.extend_from_slice(&rest[..taken]);
        rest = &rest[taken..];
        if taken == line && newline.is_some() {
            log.push(prefix, partial, false);
            partial.clear();
            rest = &rest[1..];
        } else if partial.len() == MAX_TEXT_BYTES {
            let end = character_boundary(partial);
            log.push(prefix, &partial[..end], true);
            partial.drain(..end);
        }
    }
}

/// The end of the last whole character of `bytes`; all of them, where they do not look like UTF-8.
fn character_boundary(bytes: &[u8]) -> usize {
    let last = bytes.len().saturating_sub(3);
    for (index, byte) in bytes.iter().enumerate().skip(last).rev() {
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => break,
        };
        if index + length > bytes.len() {
            return index;
        }
        break;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_goes_through_a_character() {
        for (text, whole) in [
            (&b"abc"[..], 3),
            ("aé".as_bytes(), 3),
            (&"aé".as_bytes()[..2], 1),
            (&"a🦀".as_bytes()[..2], 1),
            (&"a🦀".as_bytes()[..4], 1),
            ("a🦀".as_bytes(), 5),
            (&b"\x80\x80\x80\x80\x80"[..], 5),
            (&b"a\xff\xfe"[..], 3),
            (&b"\xe2\x82"[..], 0),
            (&b""[..], 0),
        ] {
            assert_eq!(character_boundary(text), whole, "{text:?}");
        }
    }
}
