//! What an attempt uses of the machine.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;

/// One line of `usage.ndjson`.
///
/// ```
/// let line = r#"{"t":"2026-11-20T20:06:16.123456Z","cpu_us":500000,"cpu_millis":980,"memory_bytes":9437184,"processes":2,"soft":{"cpu":true,"memory":false}}"#;
/// let usage: fastflow_shim::UsageRecord = serde_json::from_str(line).unwrap();
/// assert_eq!(usage.cpu_millis, 980);
/// assert_eq!(serde_json::to_string(&usage).unwrap(), line);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UsageRecord {
    /// When the sample was taken.
    #[serde(rename = "t", with = "clock::micros")]
    pub at: Timestamp,
    /// CPU time so far.
    pub cpu_us: u64,
    /// CPU rate since the sample before; 1000 is one core.
    pub cpu_millis: u32,
    /// Memory in use, without what the kernel only keeps in case it is read again.
    pub memory_bytes: u64,
    /// Processes that live, without the shim.
    pub processes: u32,
    /// Which soft limits this sample is above.
    pub soft: SoftLimits,
    /// How much of the time since the sample before the kernel held it back at its limit of CPU, in thousandths; added up
    /// over the processors, at most all of it. None where no such limit is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_millis: Option<u32>,
}

/// Which soft limits a sample is above.
///
/// ```
/// assert!(!fastflow_shim::SoftLimits::default().cpu);
/// ```
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SoftLimits {
    /// The CPU rate.
    pub cpu: bool,
    /// The memory.
    pub memory: bool,
}
