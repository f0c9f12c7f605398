//! What the lines of journals mean.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use fastflow_shim::{LogRecord, UsageRecord};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result, Timestamp};

/// Something that one line of a journal can be read as.
pub trait Record: Sized + Send + 'static {
    /// Reads one line, given without its newline.
    ///
    /// # Errors
    ///
    /// `Corrupt` when the line is not such a record.
    fn parse(line: &[u8]) -> Result<Self>;
}

/// One line of a program's output, or a part of a very long one.
///
/// ```
/// use fastflow_core::journal::{LogLine, LogStream, Record};
///
/// let line = LogLine::parse(br#"{"t":"2026-11-20T20:06:16.123456Z","s":"out","b":"//4="}"#).unwrap();
/// assert_eq!(line.stream, LogStream::Out);
/// assert_eq!(&line.bytes[..], b"\xff\xfe");
/// assert_eq!(line.text(), "\u{fffd}\u{fffd}");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogLine {
    /// When the sandbox read it.
    pub time: Timestamp,
    /// Where it comes from.
    pub stream: LogStream,
    /// Exactly the bytes that were written, without the newline.
    pub bytes: Bytes,
    /// The line goes on in the next record of this stream: there was no newline here.
    pub continues: bool,
    /// Of a [`Truncated`](LogStream::Truncated) record: how much is missing so far.
    pub dropped: Option<Dropped>,
}

impl LogLine {
    /// A whole line, of which nothing is missing.
    pub fn new(time: Timestamp, stream: LogStream, bytes: impl Into<Bytes>) -> Self {
        Self { time, stream, bytes: bytes.into(), continues: false, dropped: None }
    }

    /// The text, with U+FFFD in place of what is not UTF-8.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// Where a log line comes from.
///
/// ```
/// assert_eq!(fastflow_core::journal::LogStream::Err.as_str(), "err");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogStream {
    /// The program's standard output.
    Out,
    /// The program's standard error.
    Err,
    /// What came before the program, such as the making of its environment.
    Setup,
    /// The sandbox's own words.
    Shim,
    /// A place where lines are missing.
    Truncated,
}

impl LogStream {
    /// Its name, as in the file.
    pub fn as_str(self) -> &'static str {
        fastflow_shim::Stream::from(self).as_str()
    }
}

/// How much of a log is missing.
///
/// ```
/// assert_eq!(fastflow_core::journal::Dropped::default().lines, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// The size of the missing records, in bytes.
    pub bytes: u64,
    /// Their number.
    pub lines: u64,
}

/// What an attempt used of the machine at one time.
///
/// ```
/// use fastflow_core::journal::{Record, UsageSample};
///
/// let sample = UsageSample::parse(
///     br#"{"t":"2026-11-20T20:06:16Z","cpu_us":500000,"cpu_millis":980,"memory_bytes":9437184,"processes":2,"soft":{"cpu":true,"memory":false}}"#,
/// ).unwrap();
/// assert_eq!((sample.cpu_millis, sample.above_soft_cpu), (980, true));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UsageSample {
    /// When the sample was taken.
    pub time: Timestamp,
    /// CPU time so far.
    pub cpu_time: Duration,
    /// CPU rate since the sample before, in thousandths of a core.
    pub cpu_millis: u32,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
    /// Living processes.
    pub processes: u32,
    /// Whether the CPU rate is above the soft limit.
    pub above_soft_cpu: bool,
    /// Whether the memory is above the soft limit.
    pub above_soft_memory: bool,
    /// How much of the time since the sample before the kernel held it back at its CPU limit, in thousandths. None where
    /// no such limit is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_millis: Option<u32>,
}

impl Record for LogLine {
    fn parse(line: &[u8]) -> Result<Self> {
        let record: LogRecord<'_> = serde_json::from_slice(line).map_err(corrupt)?;
        let bytes = match record.bytes().map_err(corrupt)? {
            Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        let dropped = match (record.dropped_bytes, record.dropped_records) {
            (None, None) => None,
            (bytes, lines) => {
                Some(Dropped { bytes: bytes.unwrap_or_default(), lines: lines.unwrap_or_default() })
            }
        };
        Ok(Self {
            time: record.at,
            stream: record.stream.into(),
            bytes,
            continues: record.continues,
            dropped,
        })
    }
}

impl Record for UsageSample {
    fn parse(line: &[u8]) -> Result<Self> {
        let record: UsageRecord = serde_json::from_slice(line).map_err(corrupt)?;
        Ok(Self {
            time: record.at,
            cpu_time: Duration::from_micros(record.cpu_us),
            cpu_millis: record.cpu_millis,
            memory_bytes: record.memory_bytes,
            processes: record.processes,
            above_soft_cpu: record.soft.cpu,
            above_soft_memory: record.soft.memory,
            throttled_millis: record.throttled_millis,
        })
    }
}

fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Corrupt, "a line of the journal is not a record").because(error)
}

impl From<fastflow_shim::Stream> for LogStream {
    fn from(stream: fastflow_shim::Stream) -> Self {
        match stream {
            fastflow_shim::Stream::Out => Self::Out,
            fastflow_shim::Stream::Err => Self::Err,
            fastflow_shim::Stream::Setup => Self::Setup,
            fastflow_shim::Stream::Shim => Self::Shim,
            fastflow_shim::Stream::Truncated => Self::Truncated,
        }
    }
}

impl From<LogStream> for fastflow_shim::Stream {
    fn from(stream: LogStream) -> Self {
        match stream {
            LogStream::Out => Self::Out,
            LogStream::Err => Self::Err,
            LogStream::Setup => Self::Setup,
            LogStream::Shim => Self::Shim,
            LogStream::Truncated => Self::Truncated,
        }
    }
}
