//! A delay of a schedule's own, so that many of one instant do not start at once.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::ScheduleId;
use crate::pipeline::Seconds;

/// By how much the runs of a schedule are later than its instants: from nothing to `jitter`, in whole milliseconds, and
/// always the same for one schedule on every machine.
///
/// ```
/// use fastflow_core::{pipeline::Seconds, schedule::jitter_offset};
///
/// let id = "etl/nightly".parse().unwrap();
/// let offset = jitter_offset(&id, Seconds(60));
/// assert_eq!(offset, jitter_offset(&id, Seconds(60)));
/// assert!(offset <= Seconds(60).duration());
/// ```
pub fn jitter_offset(id: &ScheduleId, jitter: Seconds) -> Duration {
    let digest: [u8; 32] = Sha256::digest(id.to_string()).into();
    let (head, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    // The remainder's bias is less than one in 2^28: the longest jitter has 2^35 milliseconds.
    let places = u64::from(jitter.0) * 1000 + 1;
    Duration::from_millis(u64::from_be_bytes(*head) % places)
}
