//! What a run may use.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ByteSize, CpuMillis};

/// What an attempt may use, and from where on it is noticed. None is no limit, everywhere: there are no defaults.
///
/// ```
/// use fastflow_core::pipeline::{ByteSize, Limits};
///
/// let limits = Limits { memory: Some(ByteSize(512 << 20)), ..Limits::default() };
/// assert_eq!(serde_json::to_string(&limits).unwrap(), r#"{"memory":536870912}"#);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// The most processor time. None: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuMillis>,
    /// The most memory; there is no swap beyond it. None: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// The processor time above which its use is marked and noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_cpu: Option<CpuMillis>,
    /// The memory above which its use is marked and noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_memory: Option<ByteSize>,
    /// How long one attempt may take. None: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
}

impl Limits {
    /// The least memory limit: less than Docker accepts, and than any Python needs.
    pub const MIN_MEMORY: ByteSize = ByteSize(6 << 20);
}

/// A whole number of seconds.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(fastflow_core::pipeline::Seconds(2).duration(), Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u32);

impl Seconds {
    /// The longest time any field takes: 366 days.
    pub const MAX: Self = Self(366 * 24 * 60 * 60);

    /// The same time.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

/// How long one attempt may take: stored as whole seconds, where 0 is no limit.
///
/// ```
/// use fastflow_core::pipeline::Timeout;
///
/// assert_eq!(Timeout::from(0), Timeout::Unlimited);
/// assert_eq!(Timeout::from(60).duration().unwrap().as_secs(), 60);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub enum Timeout {
    /// No limit, stated explicitly.
    Unlimited,
    /// Seconds of run time.
    Seconds(NonZeroU32),
}

impl Timeout {
    /// The limit, or `None` for no limit.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Unlimited => None,
            Self::Seconds(seconds) => Some(Duration::from_secs(seconds.get().into())),
        }
    }
}

impl From<u32> for Timeout {
    fn from(seconds: u32) -> Self {
        NonZeroU32::new(seconds).map_or(Self::Unlimited, Self::Seconds)
    }
}

impl From<Timeout> for u32 {
    fn from(timeout: Timeout) -> Self {
        match timeout {
            Timeout::Unlimited => 0,
            Timeout::Seconds(seconds) => seconds.get(),
        }
    }
}
