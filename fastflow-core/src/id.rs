//! Names and ids as types that parse: what exists as a value is valid.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Clock, Entropy, Error, ErrorKind, Result, Timestamp};

/// A run's id: a UUID of version 7 (RFC 9562), so ids sort by the time of creation.
///
/// ```
/// use fastflow_core::{OsEntropy, RunId, SystemClock};
///
/// let first = RunId::new(&SystemClock::new(), &OsEntropy);
/// assert_eq!(first.to_string().parse::<RunId>().unwrap(), first);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// A new id. Microseconds fill the first random field, as RFC 9562 section 6.2 method 3 allows.
    pub fn new(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
        let mut random = [0; 10];
        entropy.fill(&mut random);
        let micros = clock.now().as_microsecond().max(0).unsigned_abs();
        let fraction = u16::try_from((micros % 1000) * 4096 / 1000).unwrap_or(0);
        random[0] = (fraction >> 8) as u8;
        random[1] = (fraction & 0xff) as u8;
        Self(uuid::Builder::from_unix_timestamp_millis(micros / 1000, &random).into_uuid())
    }

    /// When it was made, to the millisecond: the first 48 bits, as RFC 9562 section 5.7 says.
    pub fn created_at(&self) -> Timestamp {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.as_bytes()[..6]);
        let millis = i64::from_be_bytes(millis);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// The 16 bytes, in the order in which ids sort.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// An id from the bytes that [`as_bytes`](Self::as_bytes) gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let id = Uuid::try_parse(text).map_err(|error| {
            Error::new(ErrorKind::Invalid, "not a run id").with("found", text).because(error)
        })?;
        Ok(Self(id))
    }
}

/// One try of one run. Displays as `<run>-<number>`, and that is the sandbox's name.
///
/// ```
/// use fastflow_core::AttemptId;
///
/// let id: AttemptId = "019aa2f0-7c3c-7def-8000-000000000001-2".parse().unwrap();
/// assert_eq!(id.number.get(), 2);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct AttemptId {
    /// The run it tries.
    pub run: RunId,
    /// 1 for the first attempt.
    pub number: NonZeroU32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.number)
    }
}

impl FromStr for AttemptId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::new(ErrorKind::Invalid, "not an attempt id").with("found", text);
        let (run, number) = text.rsplit_once('-').ok_or_else(invalid)?;
        Ok(Self { run: run.parse()?, number: number.parse().map_err(|_| invalid())? })
    }
}

macro_rules! name {
    ($(#[$meta:meta])* $type:ident, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// The longest name, in characters.
            pub const MAX_CHARS: usize = 63;

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                if is_name(text, Self::MAX_CHARS) {
                    return Ok(Self(text.into()));
                }
                Err(Error::new(
                    ErrorKind::Invalid,
                    concat!(
                        "not a valid ", $what, ": it begins with a letter or digit, holds only a-z, A-Z, 0-9, ",
                        "`_`, `-` and `.`, and has at most 63 characters"
                    ),
                )
                .with("found", text.escape_debug().take(200).collect::<String>()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A pipeline's name: that of its folder.
    ///
    /// ```
    /// use fastflow_core::PipelineName;
    ///
    /// assert!("nightly-etl".parse::<PipelineName>().is_ok());
    /// assert!("../etc".parse::<PipelineName>().is_err());
    /// ```
    PipelineName,
    "pipeline name"
);

impl PipelineName {
    /// What the names of [`Code`](crate::Code) begin with, which is in no source. No pipeline of a source has such a
    /// name, whatever the case of its letters.
    pub const CODE_PREFIX: &str = "code.";

    /// Whether it is the name of code, and of no pipeline.
    ///
    /// ```
    /// use fastflow_core::PipelineName;
    ///
    /// let is_code = |name: &str| name.parse::<PipelineName>().unwrap().is_code();
    /// assert!(is_code("code.report") && is_code("Code.report"));
    /// assert!(!is_code("code") && !is_code("report") && !is_code("code-report"));
    /// ```
    pub fn is_code(&self) -> bool {
        self.0
            .get(..Self::CODE_PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(Self::CODE_PREFIX))
    }
}

name!(
    /// The installation an execution belongs to: two orchestrators may share one engine.
    ///
    /// ```
    /// assert!("warehouse".parse::<fastflow_core::OwnerId>().is_ok());
    /// ```
    OwnerId,
    "owner id"
);

name!(
    /// The name under which an executor is registered, such as `process`.
    ///
    /// ```
    /// assert!("process".parse::<fastflow_core::ExecutorName>().is_ok());
    /// ```
    ExecutorName,
    "executor name"
);

/// No separator, no leading dot, and so no `..`: a name is always one plain path component.
fn is_name(text: &str, max_chars: usize) -> bool {
    text.len() <= max_chars
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OsEntropy, SystemClock};

    #[test]
    fn names_are_one_plain_path_component() {
        for good in ["a", "A1", "nightly-etl_2", "v1.2"] {
            assert!(good.parse::<PipelineName>().is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", ".", "..", ".git", "-x", "a/b", "a\\b", "a\0", "ä", "a b", "a\n", long.as_str()] {
            assert!(bad.parse::<PipelineName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_sort_by_creation() {
        let clock = SystemClock::new();
        let mut last = RunId::new(&clock, &OsEntropy);
        for _ in 0..100 {
            let began = clock.now();
            while clock.now().as_microsecond() - began.as_microsecond() < 2 {}
            let next = RunId::new(&clock, &OsEntropy);
            assert!(next > last, "{next} after {last}");
            last = next;
        }
    }

    #[test]
    fn an_attempt_id_reads_what_it_writes() {
        let id = AttemptId { run: RunId::new(&SystemClock::new(), &OsEntropy), number: NonZeroU32::MIN };
        assert_eq!(id.to_string().parse::<AttemptId>().unwrap(), id);
        assert!("x-1".parse::<AttemptId>().is_err());
    }
}
