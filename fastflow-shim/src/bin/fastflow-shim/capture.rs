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

use crate::{log::Log, masking::Masking};

/// What one call of `read` may bring.
pub(crate) const READ_BYTES: usize = 256 * 1024;
/// What one stream may bring in one turn, before the other things of the loop get theirs.
const TURN_BYTES: usize = 1024 * 1024;
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
    /// When what there is of a line is written without its end.
    idle_at: Option<Instant>,
    /// Until when the pipe is left to fill.
    pause_until: Option<Instant>,
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
            idle_at: None,
            pause_until: None,
        }
    }

    /// The pipe, if it is to be watched now.
    pub(crate) fn watched(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        self.pipe
            .as_ref()
            .filter(|_| self.pause_until.is_none_or(|until| until <= now))
            .map(|pipe| pipe.as_fd())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// When this stream has something to do although nothing comes.
    pub(crate) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let pause = self.pause_until.filter(|until| self.pipe.is_some() && *until > now);
        pause.into_iter().chain(self.idle_at).min()
    }

    pub(crate) fn masked(&self) -> u64 {
        self.lines.masker.masked()
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, buffer: &mut [u8], masking: &mut Masking, log: &mut Log) {
        let mut turn = 0;
        while let Some(pipe) = self.pipe.as_ref().filter(|_| turn < TURN_BYTES) {
            match rustix::io::read(pipe, &mut *buffer) {
                Ok(0) => {
                    self.pipe = None;
                    self.end(masking, log);
                }
                Ok(read) => {
                    turn += read;
                    self.take(&buffer[..read], masking, log);
                    if read < buffer.len() {
                        break;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => {
                    log.say(&format!("cannot read {}: {}", self.stream.as_str(), io::Error::from(error)));
                    self.pipe = None;
                    self.end(masking, log);
                }
            }
        }
        self.pause_until = (turn < FULL_TURN_BYTES).then(|| clock::instant() + PAUSE);
    }

    fn take(&mut self, chunk: &[u8], masking: &mut Masking, log: &mut Log) {
        let prefix = Prefix::new(clock::now(), self.stream);
        // The other stream may have added something.
        self.lines.follow(masking);
        let lines = &mut self.lines;
        self.commands.feed(chunk, &mut |piece| lines.take(piece, &prefix, masking, log));
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
