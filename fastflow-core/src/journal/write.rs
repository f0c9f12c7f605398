//! Writing log lines without a shim: what precedes a program, and executors that capture output themselves.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use fastflow_shim::record::{MAX_TEXT_BYTES, Prefix};

use super::{LogStream, Offset, read::MAX_RECORD_BYTES};
use crate::{Error, ErrorKind, Result, Timestamp};

/// Appends log lines in the format of the shim. There must be no other writer while it is in use.
///
/// ```
/// use fastflow_core::journal::{LogStream, LogWriter};
///
/// let dir = tempfile::tempdir().unwrap();
/// let mut log = LogWriter::open(&dir.path().join("log.ndjson")).unwrap();
/// log.append("2026-11-20T20:06:16Z".parse().unwrap(), LogStream::Setup, b"building").unwrap();
/// assert_eq!(log.end().bytes(), std::fs::metadata(dir.path().join("log.ndjson")).unwrap().len());
/// ```
#[derive(Debug)]
pub struct LogWriter {
    file: File,
    path: PathBuf,
    end: u64,
    buffer: Vec<u8>,
}

impl LogWriter {
    /// Opens the log for appending, and creates it if there is none. Half a record at its end, left by a
    /// writer that was killed, is cut off.
    ///
    /// # Errors
    ///
    /// As the file system gives them. `Corrupt` when the end of the file is not a journal's.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path);
        let opened = file.map_err(Error::from).and_then(|file| {
            let end = cut_torn_end(&file)?;
            Ok(Self { file, path: path.to_owned(), end, buffer: Vec::new() })
        });
        opened.map_err(|error| error.with("journal", path.display()))
    }

    /// Appends one line, given without its newline, in one write. A very long one becomes several records.
    /// It is not flushed to the disk: it outlives this process, not the machine.
    ///
    /// # Errors
    ///
    /// `StorageFull` and whatever else the file system says. Nothing of the line is in the log then.
    pub fn append(&mut self, time: Timestamp, stream: LogStream, line: &[u8]) -> Result<()> {
        self.buffer.clear();
        let prefix = Prefix::new(time, stream.into());
        let mut rest = line;
        while rest.len() > MAX_TEXT_BYTES {
            let (part, after) = rest.split_at(split_point(rest));
            prefix.write_record(&mut self.buffer, part, true);
            rest = after;
        }
        prefix.write_record(&mut self.buffer, rest, false);
        if let Err(error) = self.file.write_all(&self.buffer) {
            // Half a line must not become the beginning of the next one.
            let cut = self.file.set_len(self.end);
            let error = Error::from(error).with("journal", self.path.display());
            return Err(cut.err().map_or(error, |cut| Error::from(cut).with("journal", self.path.display())));
        }
        self.end += self.buffer.len() as u64;
        Ok(())
    }

    /// The position after the last line.
    pub fn end(&self) -> Offset {
        Offset::from_bytes(self.end)
    }
}

/// Where to split a long line: not inside of a character, if it has such.
fn split_point(bytes: &[u8]) -> usize {
    let is_inside = |at: &usize| bytes[*at] & 0b1100_0000 == 0b1000_0000;
    (MAX_TEXT_BYTES - 3..=MAX_TEXT_BYTES).rev().find(|at| !is_inside(at)).unwrap_or(MAX_TEXT_BYTES)
}

/// Cuts the file behind its last newline, and returns its length.
fn cut_torn_end(file: &File) -> Result<u64> {
    let size = file.metadata()?.len();
    let mut tail = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(MAX_RECORD_BYTES + 1)];
    let begin = size - tail.len() as u64;
    file.read_exact_at(&mut tail, begin)?;
    if tail.is_empty() || tail.ends_with(b"\n") {
        return Ok(size);
    }
    let end = match memchr::memrchr(b'\n', &tail) {
        Some(newline) => begin + newline as u64 + 1,
        None if begin == 0 => 0,
        None => {
            return Err(Error::new(ErrorKind::Corrupt, "the end of the log is not one of a journal")
                .because(io::Error::from(io::ErrorKind::InvalidData)));
        }
    };
    file.set_len(end)?;
    Ok(end)
}
