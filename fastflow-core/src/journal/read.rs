//! Reading a journal from a position.

use std::{
    fs::File,
    io,
    marker::PhantomData,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use fastflow_shim::regular;
use rustix::io::{Errno, ReadWriteFlags};

use super::{Offset, Record};
use crate::{Error, ErrorKind, Result};

/// How much of the file is read at once.
const READ_BYTES: usize = 128 * 1024;

/// The longest record. The writers of this crate stay far below it.
pub(super) const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// The reading side of one journal: a path, and how its lines are understood. Any number may read at a time.
///
/// ```
/// use fastflow_core::journal::{Journal, LogLine};
///
/// let journal = Journal::<LogLine>::new("/srv/fastflow/runs/r/1/log.ndjson");
/// assert!(journal.path().ends_with("log.ndjson"));
/// ```
#[derive(Debug)]
pub struct Journal<T> {
    pub(super) path: PathBuf,
    record: PhantomData<fn() -> T>,
}

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), record: PhantomData }
    }
}

/// Some records, in order, each with the position after it.
///
/// ```
/// use fastflow_core::journal::{Batch, LogLine, Offset};
///
/// let nothing: Batch<LogLine> = Batch { records: Vec::new(), end: Offset::START };
/// assert!(nothing.records.is_empty());
/// ```
#[derive(Debug)]
pub struct Batch<T> {
    /// The records. Reading from the position beside one gives what follows it.
    pub records: Vec<(Offset, T)>,
    /// The position after all of them.
    pub end: Offset,
}

impl<T: Record> Journal<T> {
    /// The journal at `path`. The file need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), record: PhantomData }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is there from `from` on: a bounded number of whole records, none when the end is reached.
    /// A last line without its newline is not a record yet.
    ///
    /// # Errors
    ///
    /// `NotFound` while there is no file. `Invalid` when `from` is beyond the end or not the beginning of a
    /// record. `Corrupt` when the record at `from` cannot be understood; the error's `next` is the position
    /// after it, where there is one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future reads nothing and changes nothing.
    pub async fn read(&self, from: Offset) -> Result<Batch<T>> {
        let mut source = Source::open(&self.path).map_err(|error| self.describe(from, error.into()))?;
        source.check(from).map_err(|error| self.describe(from, error))?;
        let mut position = from;
        let (batch, stopped) =
            source.batch(&mut position).await.map_err(|error| self.describe(from, error))?;
        match stopped {
            // What can be understood comes first; the next call begins with what cannot.
            Some(error) if batch.records.is_empty() => Err(self.describe(from, error.with("next", position))),
            _ => Ok(batch),
        }
    }

    pub(super) fn describe(&self, at: Offset, error: Error) -> Error {
        error.with("journal", self.path.display()).with("offset", at)
    }
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<File>,
    buffer: Vec<u8>,
}

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Arc::new(regular::open(path)?), buffer: Vec::new() })
    }

    /// Whether a record may begin at `from`.
    pub(super) fn check(&self, from: Offset) -> Result<()> {
        if from == Offset::START {
            return Ok(());
        }
        let size = self.file.metadata()?.len();
        if from.0 > size {
            return Err(Error::new(ErrorKind::Invalid, "the position is beyond the end of the journal")
                .with("size_bytes", size));
        }
        let mut before = [0];
        self.file.read_exact_at(&mut before, from.0 - 1)?;
        if before != *b"\n" {
            return Err(Error::new(
                ErrorKind::Invalid,
                "no record begins at this position; use one that the journal gave, or 0",
            ));
        }
        Ok(())
    }

    /// Reads the records from `position` on, and moves it behind them. When a record cannot be understood,
    /// the records before it come with the error, and `position` is behind the broken one.
    pub(super) async fn batch<T: Record>(
        &mut self,
        position: &mut Offset,
    ) -> Result<(Batch<T>, Option<Error>)> {
        let mut wanted = READ_BYTES;
        loop {
            let from = position.0;
            self.fill(from, wanted).await?;
            let Some(last) = memchr::memrchr(b'\n', &self.buffer) else {
                if self.buffer.len() < wanted {
                    return Ok((Batch { records: Vec::new(), end: *position }, None));
                }
                if wanted > MAX_RECORD_BYTES {
                    return self.oversized(position).await;
                }
                wanted = (wanted * 2).min(MAX_RECORD_BYTES + 1);
                continue;
            };
            return Ok(parse(&self.buffer[..=last], position));
        }
    }

    /// Moves `position` behind a record that is longer than any may be.
    async fn oversized<T>(&mut self, position: &mut Offset) -> Result<(Batch<T>, Option<Error>)> {
        let start = *position;
        let mut at = start.0;
        loop {
            self.fill(at, READ_BYTES).await?;
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                *position = Offset(at + end as u64 + 1);
                break;
            }
            at += self.buffer.len() as u64;
            if self.buffer.len() < READ_BYTES {
                // It is still being written: not a record yet, and not a broken one either.
                return Ok((Batch { records: Vec::new(), end: start }, None));
            }
        }
        Ok((Batch { records: Vec::new(), end: start }, Some(too_long())))
    }

    /// Reads up to `wanted` bytes at `from` into the buffer.
    async fn fill(&mut self, from: u64, wanted: usize) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.resize(wanted, 0);
        let mut filled = 0;
        while filled < wanted {
            let at = from + filled as u64;
            // What is in the page cache is copied at once; a disk is waited for elsewhere.
            let mut parts = [io::IoSliceMut::new(&mut self.buffer[filled..])];
            let count = match rustix::io::preadv2(&*self.file, &mut parts, at, ReadWriteFlags::NOWAIT) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    let (file, mut part) = (Arc::clone(&self.file), vec![0; wanted - filled]);
                    let (count, part) = tokio::task::spawn_blocking(move || {
                        let count = file.read_at(&mut part, at)?;
                        Ok::<_, io::Error>((count, part))
                    })
                    .await
                    .map_err(io::Error::other)??;
                    self.buffer[filled..filled + count].copy_from_slice(&part[..count]);
                    count
                }
                Err(error) => return Err(error.into()),
            };
            if count == 0 {
                break;
            }
            filled += count;
        }
        self.buffer.truncate(filled);
        Ok(())
    }
}

fn parse<T: Record>(lines: &[u8], position: &mut Offset) -> (Batch<T>, Option<Error>) {
    // A guess that is right for short lines and cheap for long ones.
    let mut records = Vec::with_capacity(lines.len() / 256);
    let mut end = *position;
    let mut begin = 0;
    for newline in memchr::memchr_iter(b'\n', lines) {
        let line = &lines[begin..newline];
        begin = newline + 1;
        *position = Offset(position.0 + line.len() as u64 + 1);
        let parsed = if line.len() > MAX_RECORD_BYTES { Err(too_long()) } else { T::parse(line) };
        match parsed {
            Ok(record) => records.push((*position, record)),
            Err(error) => return (Batch { records, end }, Some(error)),
        }
        end = *position;
    }
    (Batch { records, end }, None)
}

fn too_long() -> Error {
    Error::new(ErrorKind::Corrupt, "a line of the journal is longer than a record may be")
        .with("max_bytes", MAX_RECORD_BYTES)
}
