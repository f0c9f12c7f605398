//! The log file: its limit, its tail, and what happens when it cannot be written.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fastflow_shim::{LogLimits, LogRecord, LogSummary, Stream, clock, layout, record::Prefix};

use crate::sheet::{Sheet, count_lines};

/// So much is gathered before it is written in the middle of a turn.
const BATCH_BYTES: usize = 256 * 1024;
/// So much waits in memory for a disk that refuses; what comes on top is lost.
const MAX_PENDING_BYTES: usize = 4 * 1024 * 1024;
/// How long a disk that refused is left alone.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How much is moved at a time from the tail to the log.
const COPY_BYTES: usize = 256 * 1024;

/// Where records go. Nothing here ever fails towards the program: what cannot be kept is counted.
#[derive(Debug)]
pub(crate) struct Log {
    run_dir: PathBuf,
    head: Sheet,
    head_limit: u64,
    /// What others had written to it before.
    bytes_before: u64,
    tail: Option<Tail>,
    tail_limit: u64,
    /// Whole records that are not in a file yet.
    pending: Vec<u8>,
    pending_records: u64,
    /// Whether the first of them tells of records that were lost before it.
    pending_has_gap: bool,
    dropped_records: u64,
    dropped_bytes: u64,
    error: Option<String>,
    retry_at: Option<Instant>,
}

/// The newest records, in two files by turns: when the one is full, the other is emptied.
#[derive(Debug)]
struct Tail {
    segments: [Sheet; 2],
    active: usize,
}

impl Log {
    pub(crate) fn open(run_dir: &Path, limits: &LogLimits) -> io::Result<Self> {
        // A tail that leaves no room for a head would make a log that begins with a gap.
        let tail_limit = limits.tail_bytes.min(limits.max_bytes / 2);
        let head = Sheet::open(&run_dir.join(layout::LOG))?;
        Ok(Self {
            run_dir: run_dir.to_owned(),
            bytes_before: head.bytes,
            head,
            head_limit: limits.max_bytes - tail_limit,
            tail: None,
            tail_limit,
            pending: Vec::with_capacity(2 * BATCH_BYTES),
            pending_records: 0,
            pending_has_gap: false,
            dropped_records: 0,
            dropped_bytes: 0,
            error: None,
            retry_at: None,
        })
    }

    /// Takes one record of the program's output.
    pub(crate) fn push(&mut self, prefix: &Prefix, bytes: &[u8], continues: bool) {
        let start = self.pending.len();
        prefix.write_record(&mut self.pending, bytes, continues);
        self.pending_records += 1;
        self.place(start);
    }

    /// Takes one record of the shim's own.
    pub(crate) fn say(&mut self, message: &str) {
        self.push(&Prefix::new(clock::now(), Stream::Shim), message.as_bytes(), false);
    }

    /// Finds room for the record that begins at `start` of what is pending.
    fn place(&mut self, start: usize) {
        let target = self.tail.as_ref().map_or(self.head.bytes, |tail| tail.segments[tail.active].bytes);
        let limit = if self.tail.is_some() { self.tail_limit } else { self.head_limit };
        if target + self.pending.len() as u64 > limit {
            let record = self.pending.split_off(start);
            self.pending_records -= 1;
            self.turn_over();
            self.pending.extend_from_slice(&record);
            self.pending_records += 1;
        }
        if self.pending.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// The file of the moment is full: goes on in the next. While the disk refuses it goes on in the same, for what
    /// is pending belongs there; the files may then be larger by that much.
    fn turn_over(&mut self) {
        self.flush();
        if !self.pending.is_empty() {
            return;
        }
        let turned = if let Some(tail) = &mut self.tail {
            let next = &mut tail.segments[1 - tail.active];
            let (records, bytes) = (next.lines, next.bytes);
            next.clear().map(|()| {
                tail.active = 1 - tail.active;
                self.dropped_records += records;
                self.dropped_bytes += bytes;
            })
        } else {
            self.begin_tail()
        };
        if let Err(error) = turned {
            self.refused(&error);
        }
    }

    fn begin_tail(&mut self) -> io::Result<()> {
        let segments = [self.open_segment(0)?, self.open_segment(1)?];
        let message = format!(
            "the log has reached its limit; from here on the last {} bytes are kept and follow when the program has ended",
            self.tail_limit
        );
        let mut line = truncated_line(&message, self.dropped_bytes, self.dropped_records);
        self.head.append(&mut line, 1)?;
        self.tail = Some(Tail { segments, active: 0 });
        Ok(())
    }

    fn open_segment(&self, number: usize) -> io::Result<Sheet> {
        let mut segment = Sheet::open(&self.run_dir.join(layout::LOG_TAIL[number]))?;
        segment.clear()?;
        Ok(segment)
    }

    /// When the disk is to be tried again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Writes what is pending, unless the disk has just refused.
    pub(crate) fn flush(&mut self) {
        if self.retry_at.is_some_and(|at| clock::instant() < at) {
            self.bound_pending();
        } else {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.pending.is_empty() {
            self.retry_at = None;
            return;
        }
        let target = match &mut self.tail {
            Some(tail) => &mut tail.segments[tail.active],
            None => &mut self.head,
        };
        match target.append(&mut self.pending, self.pending_records) {
            Ok(()) => {
                self.pending_records = 0;
                self.pending_has_gap = false;
                self.retry_at = None;
            }
            Err(error) => {
                let left = count_lines(&self.pending);
                self.pending_has_gap &= left == self.pending_records;
                self.pending_records = left;
                self.refused(&error);
            }
        }
    }

    fn refused(&mut self, error: &io::Error) {
        self.error = Some(error.to_string());
        self.retry_at = Some(clock::instant() + RETRY_AFTER);
        self.bound_pending();
    }

    /// Gives up what waits in memory when it is too much, and puts a record of that in its place.
    fn bound_pending(&mut self) {
        if self.pending.len() > MAX_PENDING_BYTES {
            self.drop_pending();
            let message = format!(
                "records are missing: {}",
                self.error.as_deref().unwrap_or("the log cannot be written")
            );
            self.pending = truncated_line(&message, self.dropped_bytes, self.dropped_records);
            self.pending_records = 1;
            self.pending_has_gap = true;
        }
    }

    fn drop_pending(&mut self) {
        let gap_bytes = if self.pending_has_gap {
            memchr::memchr(b'\n', &self.pending).map_or(0, |newline| newline + 1)
        } else {
            0
        };
        self.dropped_bytes += (self.pending.len() - gap_bytes) as u64;
        self.dropped_records += self.pending_records - u64::from(self.pending_has_gap);
        self.pending.clear();
        (self.pending_records, self.pending_has_gap) = (0, false);
    }

    /// Writes the rest, brings the tail home and makes all of it durable.
    pub(crate) fn finish(mut self, whole: bool, masked: u64) -> LogSummary {
        self.write();
        self.drop_pending();
        if let Some(tail) = self.tail.take()
            && let Err(error) = self.merge(&tail)
        {
            self.error = Some(format!("the end of the log is still in its tail files: {error}"));
        }
        if let Err(error) = self.head.sync() {
            self.error = Some(error.to_string());
        }
        LogSummary {
            records: self.head.lines,
            bytes: self.head.bytes - self.bytes_before,
            dropped_records: self.dropped_records,
            dropped_bytes: self.dropped_bytes,
            complete: whole && self.dropped_records == 0 && self.error.is_none(),
            error: self.error,
            masked,
        }
    }

    fn merge(&mut self, tail: &Tail) -> io::Result<()> {
        let order = [1 - tail.active, tail.active];
        let total: u64 = tail.segments.iter().map(|segment| segment.bytes).sum();
        let mut skip = total.saturating_sub(self.tail_limit);
        let mut kept = Vec::new();
        for number in order {
            let segment = &tail.segments[number];
            let mut file = File::open(self.run_dir.join(layout::LOG_TAIL[number]))?;
            let (bytes, records) = if skip >= segment.bytes {
                (segment.bytes, segment.lines)
            } else {
                whole_lines(&file, skip)?
            };
            skip = skip.saturating_sub(bytes);
            self.dropped_bytes += bytes;
            self.dropped_records += records;
            file.seek(SeekFrom::Start(bytes))?;
            kept.push(file);
        }
        let message = format!(
            "{} records ({} bytes) are missing here: the log had reached its limit",
            self.dropped_records, self.dropped_bytes
        );
        let mut buffer = truncated_line(&message, self.dropped_bytes, self.dropped_records);
        self.head.append(&mut buffer, 1)?;
        for file in kept {
            let mut reader = BufReader::with_capacity(COPY_BYTES, file);
            loop {
                // Whole lines, so that a disk that is full in the middle of one does not leave half of it.
                let mut lines = 0;
                while buffer.len() < COPY_BYTES && reader.read_until(b'\n', &mut buffer)? > 0 {
                    lines += 1;
                }
                if lines == 0 {
                    break;
                }
                self.head.append(&mut buffer, lines)?;
            }
        }
        layout::LOG_TAIL.iter().try_for_each(|name| fs::remove_file(self.run_dir.join(name)))
    }
}

fn truncated_line(message: &str, bytes: u64, records: u64) -> Vec<u8> {
    let record = LogRecord::truncated(clock::now(), message, bytes, records);
    let mut line = serde_json::to_vec(&record).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The size and the number of the lines that have a byte among the first `at_least` of the file.
fn whole_lines(file: &File, at_least: u64) -> io::Result<(u64, u64)> {
    let mut reader = BufReader::with_capacity(COPY_BYTES, file);
    let (mut bytes, mut lines) = (0, 0);
    while bytes < at_least {
        // A line may be longer than any buffer.
        match reader.skip_until(b'\n')? {
            0 => break,
            line => bytes += line as u64,
        }
        lines += 1;
    }
    Ok((bytes, lines))
}
