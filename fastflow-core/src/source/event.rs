//! What happens to a source, told as it happens.

use super::{SyncRecord, SyncTrigger};

/// Something that happens to a source. Events are for whoever watches; the log of syncs is what lasts.
///
/// ```
/// use fastflow_core::source::SourceEvent;
///
/// fn is_over(event: &SourceEvent) -> bool {
///     matches!(event, SourceEvent::SyncEnded(_))
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SourceEvent {
    /// A sync begins to look.
    SyncStarted {
        /// What it was made for.
        trigger: SyncTrigger,
        /// The branch that was asked for, if one was.
        branch: Option<String>,
    },
    /// A sync has ended, well or not. What it published is shown.
    SyncEnded(Box<SyncRecord>),
}
