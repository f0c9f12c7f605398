//! What the suite needs to know of an executor.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    AttemptId, OwnerId,
    executor::{AttemptSpec, Executor},
};

/// What the suite needs to know of an executor.
///
/// Three methods have to be written. The others give cases more to look at: what a runtime cannot do is answered by
/// their defaults, and said to be skipped unless [`does_without`](Self::does_without) names it.
#[async_trait]
pub trait ExecutorFixture: Send + Sync {
    /// The name by which `FASTFLOW_REQUIRE` requires it.
    fn name(&self) -> &'static str;

    /// An executor, or `None` where there cannot be one. Each call gives another one of the same runtime, as
    /// another host would have it.
    async fn executor(&self) -> Option<Arc<dyn Executor>>;

    /// An attempt that runs a shell script. Words that are appended to its `argv` become `$1` and so on. The run
    /// directory and `work` in it are there, made by the user of the tests.
    fn spec(&self, id: AttemptId, owner: OwnerId, script: &str, run_dir: PathBuf) -> AttemptSpec;

    /// Whether it does without this capability by choice, here and everywhere: then its cases do not apply, and
    /// nobody need hear of it. What could be had elsewhere is said to be skipped, which is the default.
    ///
    /// The names are those of the fields of [`Capabilities`](crate::executor::Capabilities), those of
    /// [`Interference`], and two parts of `isolation` that not every runtime can keep: `separation` (attempts that have
    /// a network cannot reach each other on it) and `namespaces` (programs cannot make namespaces of their own).
    fn does_without(&self, capability: &str) -> bool {
        let _ = capability;
        false
    }

    /// How often a case repeats what is done `usual` times where a start takes a few milliseconds. Less than half of
    /// that is raised to the half.
    fn rounds(&self, usual: u32) -> u32 {
        usual
    }

    /// How long one case may take. The longest needs a few seconds where a start takes milliseconds, and nothing
    /// else runs.
    fn case_timeout(&self) -> Duration {
        Duration::from_mins(1)
    }

    /// The folders of this machine in which the executor keeps what it knows, and through which it hands things to
    /// sandboxes: nothing secret may lie there for longer than a start takes.
    fn places(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Every sandbox that the runtime has of this owner, in every state, as it says itself to whoever asks it past
    /// the executor. Named as in [`native_id`](crate::executor::ExecutionHandle::native_id). The cases of
    /// [`Capabilities::warm`](crate::executor::Capabilities::warm) need it.
    async fn sandboxes(&self, owner: &OwnerId) -> Vec<String> {
        let _ = owner;
        Vec::new()
    }

    /// All that the runtime tells of a sandbox (its raw description, its events) to whoever asks it past the
    /// executor. Empty where there is nobody to be asked.
    async fn outside_view(&self, sandbox: &str) -> Vec<String> {
        let _ = sandbox;
        Vec::new()
    }

    /// Does this to a sandbox past the executor, with the runtime's own tools, and returns once it is done. `false`
    /// where the runtime has no such thing.
    async fn interfere(&self, sandbox: &str, how: Interference) -> bool {
        let _ = (sandbox, how);
        false
    }
}

/// What somebody else does to a sandbox with the runtime's own tools.
///
/// ```
/// use fastflow_core::testing::conformance::executor::Interference;
///
/// assert_eq!(Interference::Pause.name(), "pause");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Interference {
    /// Kills it: the first process gets SIGKILL.
    Kill,
    /// Takes it away, killing it first.
    Remove,
    /// Holds all of its processes.
    Pause,
    /// Ends it if it runs, and starts it again.
    Restart,
}

impl Interference {
    /// The name by which an executor does without it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Remove => "remove",
            Self::Pause => "pause",
            Self::Restart => "restart",
        }
    }
}
