//! What happens to a source, told as it happens.

use super::{Revision, SyncRecord, SyncTrigger};
use crate::{PipelineName, environment::EnvironmentId, run::Failure};

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
    /// The environment of a pipeline is made ahead of its next run, after a sync or a start. Not told of those that are
    /// there already.
    EnvironmentBegun {
        /// The pipeline.
        pipeline: PipelineName,
        /// Its revision.
        revision: Revision,
    },
    /// Something was said while it is made: by uv, or by the engine that pulls an image.
    EnvironmentProgress {
        /// The pipeline.
        pipeline: PipelineName,
        /// One line, without its end.
        line: String,
    },
    /// The environment is there, or could not be made. A failure stops no sync and no run.
    EnvironmentEnded {
        /// The pipeline.
        pipeline: PipelineName,
        /// Its revision.
        revision: Revision,
        /// The environment, or why there is none.
        outcome: Result<EnvironmentId, Box<Failure>>,
    },
}
