//! How a pipeline's environment stands.

use super::{Environment, EnvironmentId};
use crate::{Timestamp, run::Failure};

/// How the environment that a pipeline's next run needs stands.
///
/// ```
/// use fastflow_core::environment::EnvironmentState;
///
/// fn waits(state: &EnvironmentState) -> bool {
///     !matches!(state, EnvironmentState::Cached { .. } | EnvironmentState::NotNeeded)
/// }
/// assert!(waits(&EnvironmentState::NotCached));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EnvironmentState {
    /// There is nothing to make ready: the pipeline cannot be run as it is or is gone, or its executor has no
    /// environments.
    NotNeeded,
    /// It is not there. The next run builds it.
    NotCached,
    /// It is not there, and will be made ahead of the next run.
    Queued,
    /// It is being made ahead of the next run, which joins if it comes before the end.
    Building {
        /// Since when.
        since: Timestamp,
    },
    /// It is there: the next run starts in it at once.
    Cached {
        /// Which one.
        environment: EnvironmentId,
        /// The full version of its interpreter, such as `3.12.4`.
        python_version: String,
    },
    /// It could not be made ready, or it cannot be seen whether it is: a run would end like this now. What may pass
    /// ([`EnvironmentFailureKind::is_transient`](super::EnvironmentFailureKind::is_transient)) is tried again for a
    /// while, anything else when the pipeline has changed. Runs try on their own.
    Failed(Failure),
}

impl EnvironmentState {
    pub(crate) fn cached(environment: Environment) -> Self {
        Self::Cached { environment: environment.id, python_version: environment.python_version }
    }
}
