//! Journals: the append-only files in which a sandbox leaves what its program said and used.
//!
//! A journal is one JSON record per line. Whoever writes it is the only writer, and only appends; readers
//! follow it by position, at their own pace, and cost the writer nothing. A position is an [`Offset`], and a
//! reader that comes back with one goes on exactly where it stopped.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> fastflow_core::Result<()> {
//! use fastflow_core::{SystemClock, journal::{Journal, LogLine, LogStream, LogWriter, Offset}};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("log.ndjson");
//! let mut writer = LogWriter::open(&path)?;
//! writer.append(SystemClock::new().now(), LogStream::Setup, b"resolved 3 packages")?;
//!
//! let journal = Journal::<LogLine>::new(&path);
//! let batch = journal.read(Offset::START).await?;
//! assert_eq!(batch.records[0].1.text(), "resolved 3 packages");
//! assert!(journal.read(batch.end).await?.records.is_empty());
//! # use fastflow_core::Clock;
//! # Ok(())
//! # }
//! ```

mod follow;
mod read;
mod record;
#[cfg(test)]
mod tests;
mod write;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    follow::Follower,
    read::{Batch, Journal},
    record::{Dropped, LogLine, LogStream, Record, UsageSample},
    write::LogWriter,
};
use crate::{Error, ErrorKind, Result};

/// A position in a journal: the byte at which a record begins, or the end.
///
/// ```
/// use fastflow_core::journal::Offset;
///
/// let offset: Offset = "4096".parse().unwrap();
/// assert!(offset > Offset::START);
/// assert_eq!(offset.to_string(), "4096");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The first record.
    pub const START: Self = Self(0);

    /// The position at byte `bytes` of the file. Whether a record begins there is found out by reading.
    pub fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The position in bytes from the beginning of the file.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Offset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self).map_err(|error| {
            Error::new(ErrorKind::Invalid, "not a position in a journal: it is a whole number of bytes")
                .with("found", text.escape_debug().take(40).collect::<String>())
                .because(error)
        })
    }
}
